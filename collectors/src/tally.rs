//! What the kernel counts beside the packets that it hands over.

use std::io;

use flowtap_flow::ledger::DropReason;

use crate::Interface;
use crate::afpacket::place;
use crate::bpf::KernelFilter;
use crate::feed::Feed;
use crate::packet_socket::PacketSocket;

/// The kernel's counters of one capture. It forgets them when they are read, so they are summed up here.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Sees what the filter refuses.
    refused: Option<PacketSocket>,
    packets: u64,
    drops: u64,
}

impl Tally {
    /// With a socket of [`refused`].
    pub(crate) fn new(refused: Option<PacketSocket>) -> Self {
        Self {
            refused,
            packets: 0,
            drops: 0,
        }
    }

    /// Begins to count refused packets.
    pub(crate) fn bind(&self, index: u32) -> io::Result<()> {
        self.refused.as_ref().map_or(Ok(()), |socket| socket.bind(index))
    }

    /// Reads the kernel's counters of `socket` and puts down what is new.
    pub(crate) fn read(&mut self, socket: &PacketSocket, feed: &Feed) -> io::Result<()> {
        let new = socket.statistics()?;
        self.packets += u64::from(new.packets);
        self.drops += u64::from(new.drops);
        feed.dropped(DropReason::Kernel, new.drops.into());
        self.read_refused(feed)
    }

    /// Puts down what the filter has refused since the last call.
    pub(crate) fn read_refused(&mut self, feed: &Feed) -> io::Result<()> {
        if let Some(refused) = &self.refused {
            feed.filtered(refused.statistics()?.packets.into(), 0);
        }
        Ok(())
    }

    /// How many packets the kernel has put into the ring, up to the last [`Tally::read`].
    pub(crate) fn queued(&self) -> u64 {
        self.packets - self.drops
    }
}

/// A socket that counts the packets which `filter` refuses: its own filter is the inverse, and its
/// buffer is the smallest there is, so the kernel drops them there, and counts. Nobody reads it. This
/// costs the interface some 10 ns a packet, where taking refused packets into the ring to count them
/// would cost 200. `None` if the kernel does not take the filter.
pub(crate) fn refused(interface: &Interface, filter: &KernelFilter) -> io::Result<Option<PacketSocket>> {
    let Some(program) = filter.inverse().for_socket() else {
        return Ok(None);
    };
    let (socket, _) = place(interface)?;
    socket.attach(&program)?;
    // The kernel makes the least it can of it.
    socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?;
    Ok(Some(socket))
}

//! What the kernel counts beside the packets that it hands over.

use std::io;

use flowtap_flow::ledger::DropReason;

use crate::Interface;
use crate::afpacket::place;
use crate::bpf::KernelFilter;
use crate::feed::Feed;
use crate::packet_socket::PacketSocket;

/// The kernel's counters of one capture.
///
/// Nothing in the kernel counts what a filter refuses. So where there is one a second socket counts every
/// packet of the interface: its buffer is the smallest there is and nobody reads it, so the kernel drops
/// packets there, which is the cheapest that it can do with them, and counts. What the first socket did
/// not see of them was refused. The two begin and end one after the other: what passes in the
/// microseconds between is not counted as refused, nor twice.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    everything: Option<Everything>,
    /// Packets that the filter let pass, the dropped ones included.
    passed: u64,
    /// Those of them that came before the filter did.
    forgone: u64,
    drops: u64,
    refused: u64,
}

impl Tally {
    /// Without a filter.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With a filter that the kernel runs.
    pub(crate) fn of_filtered(interface: &Interface) -> io::Result<Self> {
        Ok(Self {
            everything: Some(Everything::new(interface)?),
            ..Self::default()
        })
    }

    /// Begins to count; the filter is in force already.
    pub(crate) fn bind(&self, index: u32) -> io::Result<()> {
        let everything = self.everything.as_ref();
        everything.map_or(Ok(()), |everything| everything.socket.bind(index))
    }

    /// Ends the count of what is refused; do so just before the first socket is closed to packets.
    pub(crate) fn end(&self) -> io::Result<()> {
        match (&self.everything, KernelFilter::nothing().for_socket()) {
            (Some(everything), Some(nothing)) => everything.socket.attach(&nothing),
            _ => Ok(()),
        }
    }

    /// Puts down what the kernel counted since the last call, `ask` telling how many packets passed the
    /// filter and how many were dropped of them.
    pub(crate) fn read(
        &mut self,
        feed: &Feed,
        ask: impl FnOnce() -> io::Result<(u64, u64)>,
    ) -> io::Result<()> {
        // In this order: a packet that comes in between has passed and is not thought refused.
        let seen = match &mut self.everything {
            Some(everything) => Some(everything.count()?),
            None => None,
        };
        let (passed, drops) = ask()?;
        self.passed += passed;
        self.drops += drops;
        feed.dropped(DropReason::Kernel, drops);
        if let Some(seen) = seen {
            let passed = self.passed.saturating_sub(self.forgone);
            let refused = seen.saturating_sub(passed).max(self.refused);
            feed.filtered(refused - self.refused, 0);
            self.refused = refused;
        }
        Ok(())
    }

    /// Says that packets in the ring do not count: they came before the filter did.
    pub(crate) fn forgo(&mut self, packets: u64) {
        self.forgone += packets;
    }

    /// How many packets the kernel has put into the ring, up to the last [`Tally::read`].
    pub(crate) fn queued(&self) -> u64 {
        self.passed.saturating_sub(self.drops + self.forgone)
    }
}

/// A socket that counts.
#[derive(Debug)]
struct Everything {
    socket: PacketSocket,
    total: u64,
}

impl Everything {
    fn new(interface: &Interface) -> io::Result<Self> {
        let (socket, _) = place(interface)?;
        // The kernel makes the least it can of it.
        socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?;
        Ok(Self { socket, total: 0 })
    }

    fn count(&mut self) -> io::Result<u64> {
        self.total += u64::from(self.socket.statistics()?.packets);
        Ok(self.total)
    }
}

//! From the early socket to the ring, without a packet lost or taken twice.
//!
//! For a moment both sockets see every packet. The ring is bound first. Then a grace period passes: a
//! processor that was just delivering a packet when the ring was bound may not have seen it, and has
//! delivered the packet to the early socket by the end of the period. So what the early socket queued up
//! to then and what the ring takes from its binding on are everything; packets that are in both have the
//! same time stamp and the same bytes, and are taken from the early socket.

use std::io;

use arrayvec::ArrayVec;
use flowtap_flow::ledger::DropReason;
use flowtap_flow::packet::{BATCH, LinkType, Packet};
use flowtap_flow::timestamp::Timestamp;

use super::cut;
use crate::bpf::KernelFilter;
use crate::early::{Covered, Covering, Duplicates, EarlyPacket, EarlyPackets};
use crate::feed::Feed;
use crate::packet_socket::PacketSocket;

/// What came before the ring was bound.
pub(super) struct Handover {
    packets: Vec<EarlyPacket>,
    /// Packets that neither socket had room for.
    dropped: u64,
    /// From when on the counter of refused packets counts, too.
    bound: Timestamp,
    duplicates: Duplicates,
    covering: Option<Covering>,
}

impl Handover {
    /// Binds by `bind` and takes over from `early`.
    ///
    /// # Errors
    /// Those of `bind` and of the sockets.
    pub(super) fn new(
        early: &EarlyPackets,
        snaplen: u32,
        bind: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Self> {
        let (covered, covering) = early.begin();
        // Room for what comes while both see it. What is lost up to here is lost; later packets are in
        // the ring.
        let lost = early.drain()?;
        let bound = Timestamp::now();
        bind()?;
        grace_period()?;
        let (packets, dropped) = match covered {
            Covered::All => (Vec::new(), 0),
            Covered::Until { time, dropped } => {
                let mut packets = early.take()?;
                packets.retain(|packet| packet.timestamp > time);
                (packets, lost.saturating_sub(dropped))
            }
        };
        Ok(Self {
            packets,
            dropped,
            bound,
            duplicates: Duplicates::new(snaplen),
            covering,
        })
    }

    /// Hands the early packets on, as the ring would have, and returns what to leave out of the ring, and
    /// where to say how far the ring came.
    pub(super) fn deliver(
        mut self,
        filter: Option<&KernelFilter>,
        snaplen: u32,
        link_type: LinkType,
        feed: &mut Feed,
    ) -> (Duplicates, Option<Covering>) {
        feed.dropped(DropReason::Kernel, self.dropped);
        for chunk in self.packets.chunks(BATCH) {
            let mut wires = ArrayVec::<(Timestamp, Vec<u8>, u32), BATCH>::new();
            for packet in chunk {
                let frame = packet.frame();
                if filter.is_some_and(|filter| filter.run(&frame) == 0) {
                    if packet.timestamp < self.bound {
                        feed.filtered(1, packet.wire_len().into());
                    }
                } else {
                    self.duplicates.add(&frame);
                    wires.push((packet.timestamp, packet.to_wire(), packet.wire_len()));
                }
            }
            let batch: ArrayVec<Packet<'_>, BATCH> = wires
                .iter()
                .map(|(time, data, len)| Packet::new(*time, *len, link_type, cut(data, snaplen)))
                .collect();
            feed.give(&batch);
        }
        (self.duplicates, self.covering)
    }
}

/// Waits until every delivery that has begun is over: closing a packet socket does (`synchronize_net`).
fn grace_period() -> io::Result<()> {
    PacketSocket::new().map(drop)
}

//! From the early socket to the ring, without a packet lost or taken twice.
//!
//! For a moment both sockets see every packet. The ring is bound first. Then a grace period passes: a
//! processor that was just delivering a packet when the ring was bound may not have seen it, and has
//! delivered the packet to the early socket by the end of the period. So what the early socket queued up
//! to then and what the ring takes from its binding on are everything; packets that are in both have the
//! same time stamp and the same bytes, and are taken from the early socket.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::io;
use std::time::Duration;

use ahash::RandomState;
use arrayvec::ArrayVec;
use flowtap_flow::ledger::DropReason;
use flowtap_flow::packet::{BATCH, LinkType, Packet};
use flowtap_flow::timestamp::Timestamp;

use super::cut;
use crate::bpf::KernelFilter;
use crate::early::{EarlyPacket, EarlyPackets};
use crate::feed::Feed;
use crate::packet_socket::{Frame, PacketSocket, Tag};

/// How long after the last early packet the ring may still hold one of the same: they are in order but
/// for what processors do at the same time.
const OVERLAP: Duration = Duration::from_secs(1);

/// What came before the ring was bound.
pub(super) struct Handover {
    packets: Vec<EarlyPacket>,
    /// Packets that neither socket had room for.
    dropped: u64,
    /// From when on the counter of refused packets counts, too.
    bound: Timestamp,
    duplicates: Duplicates,
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
        // Room for what comes while both see it. What is lost up to here is lost; later packets are in
        // the ring.
        let dropped = early.drain()?;
        let bound = Timestamp::now();
        bind()?;
        grace_period()?;
        Ok(Self {
            packets: early.take()?,
            dropped,
            bound,
            duplicates: Duplicates::new(snaplen),
        })
    }

    /// Hands the early packets on, as the ring would have, and returns what to leave out of the ring.
    pub(super) fn deliver(
        mut self,
        filter: Option<&KernelFilter>,
        snaplen: u32,
        link_type: LinkType,
        feed: &mut Feed,
    ) -> Duplicates {
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
                    self.duplicates.add(packet.timestamp, &frame);
                    wires.push((packet.timestamp, packet.to_wire(), packet.wire_len()));
                }
            }
            let batch: ArrayVec<Packet<'_>, BATCH> = wires
                .iter()
                .map(|(time, data, len)| Packet::new(*time, *len, link_type, cut(data, snaplen)))
                .collect();
            feed.give(&batch);
        }
        self.duplicates
    }
}

impl EarlyPacket {
    fn frame(&self) -> Frame<'_> {
        Frame {
            timestamp: Some(self.timestamp),
            len: self.len,
            tag: self.tag,
            direction: self.direction,
            protocol: self.protocol,
            data: &self.data,
        }
    }

    fn wire_len(&self) -> u32 {
        let tag = if self.tag.is_some() { 4 } else { 0 };
        self.len.saturating_add(tag)
    }

    fn to_wire(&self) -> Vec<u8> {
        let mut data = self.data.to_vec();
        if let Some(tag) = self.tag.filter(|_| data.len() >= Tag::OFFSET) {
            data.splice(Tag::OFFSET..Tag::OFFSET, tag.bytes());
        }
        data
    }
}

/// Waits until every delivery that has begun is over: closing a packet socket does (`synchronize_net`).
fn grace_period() -> io::Result<()> {
    PacketSocket::new().map(drop)
}

/// Packets that have been handed on, and come again out of the ring.
pub(super) struct Duplicates {
    /// How often a packet of this hash is still expected. Of packets that are none, one in 2⁵⁰ is taken
    /// for one, with the 10,000 that are held at most.
    expected: HashMap<u64, u32, RandomState>,
    hasher: RandomState,
    /// Bytes of a packet that go into its hash: what the ring has cut does not.
    told_by: usize,
    last: Timestamp,
}

/// Bytes that tell packets of one instant and length apart.
const TOLD_BY: usize = 256;

impl Duplicates {
    /// None, for a ring that cuts packets to `snaplen` bytes unless that is 0.
    pub(super) fn new(snaplen: u32) -> Self {
        let snaplen = usize::try_from(snaplen).unwrap_or(TOLD_BY);
        Self {
            expected: HashMap::default(),
            hasher: RandomState::new(),
            told_by: if snaplen == 0 {
                TOLD_BY
            } else {
                snaplen.min(TOLD_BY)
            },
            last: Timestamp::ZERO,
        }
    }

    fn add(&mut self, timestamp: Timestamp, frame: &Frame<'_>) {
        *self.expected.entry(self.hash(timestamp, frame)).or_default() += 1;
        self.last = self.last.max(timestamp);
    }

    /// True for a packet of the ring that has been handed on; each is one but once.
    pub(super) fn take(&mut self, timestamp: Timestamp, frame: &Frame<'_>) -> bool {
        if self.expected.is_empty() {
            return false;
        }
        if timestamp > self.last.plus(OVERLAP) {
            self.expected = HashMap::default();
            return false;
        }
        let hash = self.hash(timestamp, frame);
        let Some(count) = self.expected.get_mut(&hash) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.expected.remove(&hash);
        }
        true
    }

    fn hash(&self, timestamp: Timestamp, frame: &Frame<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (timestamp, frame.len, frame.tag).hash(&mut hasher);
        let told_by = frame.data.get(..self.told_by).unwrap_or(frame.data);
        told_by.hash(&mut hasher);
        hasher.finish()
    }
}

//! Fragmented packets on their way into the table.

use crate::decode::{Part, decode, decode_reassembled};
use crate::defrag::Datagram;
use crate::flow::{FlowId, IpMetric};
use crate::packet::Packet;
use crate::timestamp::Timestamp;

use super::sink::PointSink;
use super::state::Seen;

impl PointSink {
    /// True if `part` is of a fragment that waits for its siblings now, or has just completed a
    /// packet, which then is counted.
    pub(super) fn defragment(&mut self, part: &Part, packet: &Packet<'_>) -> bool {
        let (Some(fragment), Some(defragmenter)) = (&part.fragment, &mut self.defragmenter) else {
            return false;
        };
        if part.level > 0 {
            return false;
        }
        if let Some(datagram) = defragmenter.push(fragment, part, packet) {
            self.whole(&datagram);
        }
        true
    }

    /// Counts what is given up by the time of the newest packet; all of it when the source has ended.
    pub(super) fn give_up_fragments(&mut self, now: Timestamp) {
        while let Some(datagram) = self.defragmenter.as_mut().and_then(|d| d.give_up(now)) {
            self.pieces(&datagram);
        }
    }

    /// One packet that came in several: all of them count in its flow, and are kept there.
    fn whole(&mut self, datagram: &Datagram) {
        let Some(payload) = datagram.payload() else {
            return self.pieces(datagram);
        };
        let mut part = datagram.part;
        part.fragment = None;
        let mut parts = Vec::new();
        decode_reassembled(&payload, datagram.protocol, part, &self.decode, &mut parts);
        let (clock, exact) = (self.table.clock(), self.point.options.exact_times);
        let mut parent = FlowId::NONE;
        for (i, mut part) in parts.into_iter().enumerate() {
            part.key.set_parent(parent);
            let hash = self.table.flows.hash(&part.key);
            let Some((first, last)) = datagram.packets.first().zip(datagram.packets.last()) else {
                return;
            };
            let sampling_rate = first.packet().sampling_rate;
            if i > 0 {
                let seen = Seen {
                    at: first.timestamp.nanos(),
                    packets: 1,
                    bytes: part.len.into(),
                    sampling_rate,
                    clock,
                    exact,
                };
                parent = self.account(&part, hash, &last.packet(), &seen);
                continue;
            }
            let seen = Seen {
                at: first.timestamp.nanos(),
                packets: u32::try_from(datagram.packets.len()).unwrap_or(u32::MAX),
                bytes: datagram.packets.iter().map(|packet| u64::from(packet.len)).sum(),
                sampling_rate,
                clock,
                exact,
            };
            parent = self.account(&part, hash, &first.packet(), &seen);
            let table = std::sync::Arc::clone(&self.table);
            let mut shard = table.flows.shard(hash);
            let Some(state) = shard.get(hash, &part.key) else {
                continue;
            };
            state.complete(&part, last.timestamp.nanos());
            let metric = state.rare_mut().ip.get_or_insert_with(IpMetric::default);
            metric.fragments += i64::from(seen.packets);
            for held in &datagram.packets {
                let mut piece = part;
                (piece.offset, piece.len, piece.reassembled) = (0, held.len, false);
                self.keep_if_wanted(state, &piece, hash, &held.packet());
            }
        }
    }

    /// Fragments that stay fragments.
    fn pieces(&mut self, datagram: &Datagram) {
        let (clock, exact) = (self.table.clock(), self.point.options.exact_times);
        for held in &datagram.packets {
            let packet = held.packet();
            let mut parts = Vec::new();
            decode(&packet, 0, &self.decode, &mut parts);
            for part in parts {
                let hash = self.table.flows.hash(&part.key);
                let (bytes, sampling_rate) = (u64::from(part.len), packet.sampling_rate);
                let seen = Seen {
                    at: held.timestamp.nanos(),
                    packets: 1,
                    bytes,
                    sampling_rate,
                    clock,
                    exact,
                };
                self.account(&part, hash, &packet, &seen);
                if let Some(state) = self.table.flows.shard(hash).get(hash, &part.key) {
                    state
                        .rare_mut()
                        .ip
                        .get_or_insert_with(IpMetric::default)
                        .fragment_errors += 1;
                }
            }
        }
    }
}

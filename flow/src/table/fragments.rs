//! Fragmented packets on their way into the table.

use crate::decode::{Part, decode, decode_reassembled};
use crate::defrag::Datagram;
use crate::flow::FlowId;
use crate::packet::Packet;
use crate::timestamp::Timestamp;

use super::FlowTable;
use super::map::Shards;
use super::sink::PointSink;
use super::state::FlowState;

impl PointSink {
    /// True if `part` is of a fragment that waits for its siblings now, or has just completed a
    /// packet, which then is counted.
    pub(super) fn defragment(
        &mut self,
        table: &FlowTable,
        shards: &mut Shards<'_>,
        part: &Part,
        packet: &Packet<'_>,
    ) -> bool {
        let (Some(fragment), Some(defragmenter)) = (&part.fragment, &mut self.defragmenter) else {
            return false;
        };
        if part.level > 0 {
            return false;
        }
        if let Some(datagram) = defragmenter.push(fragment, part, packet) {
            self.whole(table, shards, &datagram);
        }
        true
    }

    /// Counts what is given up by the time of the newest packet; all of it when the source has ended.
    pub(super) fn give_up_fragments(&mut self, table: &FlowTable, shards: &mut Shards<'_>, now: Timestamp) {
        while let Some(datagram) = self.defragmenter.as_mut().and_then(|d| d.give_up(now)) {
            self.pieces(table, shards, &datagram);
        }
    }

    /// One packet that came in several: all of them count in its flow, and are kept there.
    fn whole(&mut self, table: &FlowTable, shards: &mut Shards<'_>, datagram: &Datagram) {
        let Some(payload) = datagram.payload() else {
            return self.pieces(table, shards, datagram);
        };
        let (Some(first), Some(last)) = (datagram.packets.first(), datagram.packets.last()) else {
            return;
        };
        let mut part = datagram.part;
        part.fragment = None;
        let mut parts = Vec::new();
        decode_reassembled(&payload, datagram.protocol, part, &self.decode, &mut parts);
        let mut parent = FlowId::NONE;
        for mut part in parts {
            part.key.set_parent(parent);
            let hash = table.flows.hash(&part.key);
            let is_outermost = parent == FlowId::NONE;
            let mut seen = self.seen(&first.packet(), &part);
            if is_outermost {
                seen.packets = u32::try_from(datagram.packets.len()).unwrap_or(u32::MAX);
                seen.bytes = datagram.packets.iter().map(|packet| u64::from(packet.len)).sum();
            }
            let packet = first.packet();
            parent = self.account_one(table, shards, &part, hash, &packet, seen);
            if let Some(state) = shards.shard_of(hash).get(hash, &part.key)
                && is_outermost
            {
                state.complete(&part, last.timestamp.nanos(), &seen);
                self.keep_pieces(state, &part, datagram);
            }
        }
    }

    fn keep_pieces(&mut self, state: &mut FlowState, part: &Part, datagram: &Datagram) {
        for held in &datagram.packets {
            let mut piece = *part;
            (piece.offset, piece.len, piece.reassembled) = (0, held.len, false);
            self.keep_if_wanted(state, &piece, &held.packet());
        }
    }

    /// Fragments that stay fragments.
    fn pieces(&mut self, table: &FlowTable, shards: &mut Shards<'_>, datagram: &Datagram) {
        for held in &datagram.packets {
            let packet = held.packet();
            let mut parts = Vec::new();
            decode(&packet, 0, &self.decode, &mut parts);
            for part in parts {
                let hash = table.flows.hash(&part.key);
                let seen = self.seen(&packet, &part);
                self.account_one(table, shards, &part, hash, &packet, seen);
                if let Some(state) = shards.shard_of(hash).get(hash, &part.key) {
                    state.ip_metric().fragment_errors += 1;
                }
            }
        }
    }
}

//! Packets on their way into the chunk of their reader.

use std::time::Duration;

use crate::decode::Part;
use crate::kept::record_len;
use crate::packet::Packet;

use super::sink::PointSink;
use super::state::FlowState;

/// How long a source that can wait does so for room in its budget before it exceeds it, in steps of a
/// millisecond. A store that takes nothing for so long holds it up elsewhere, too.
const BUDGET_WAIT_STEPS: usize = 10_000;

impl PointSink {
    /// Tells the ledger what was kept. Fragments that are given up may be kept too: tell after that.
    pub(super) fn publish_raw(&mut self) {
        let (kept, over_budget) = (
            std::mem::take(&mut self.raw_kept),
            std::mem::take(&mut self.raw_over_budget),
        );
        if kept + over_budget > 0 {
            self.ledger.raw(kept, over_budget);
        }
    }

    /// Waits for the store where the source can wait: what a batch may keep must fit the budget.
    pub(super) fn make_raw_room(&mut self, batch: &[Packet<'_>]) {
        if self.point.options.raw_packet_limit == 0 || !self.point.options.can_wait {
            return;
        }
        let budget = &self.point.budget;
        let need = batch.iter().map(|packet| record_len(packet.data.len())).sum();
        if budget.has_room(need) {
            return;
        }
        self.table.hand_on_kept(&self.point);
        for _ in 0..BUDGET_WAIT_STEPS {
            if budget.has_room(need) || budget.used() == 0 {
                return;
            }
            self.table.updates.hasten();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[inline(always)]
    pub(super) fn keep_if_wanted(&mut self, state: &mut FlowState, part: &Part, packet: &Packet<'_>) {
        if state.raw_kept < self.point.options.raw_packet_limit && packet.captured && !part.reassembled {
            self.keep(state, part, packet);
        }
    }

    #[inline(never)]
    fn keep(&mut self, state: &mut FlowState, part: &Part, packet: &Packet<'_>) {
        let data = packet.data.get(part.offset as usize..).unwrap_or_default();
        let chunk = self.open_chunk.get_or_insert_with(|| self.chunk.lock_arc());
        // A source that can wait has waited for its share; others of its capture may have been quicker.
        let need = chunk.uncharged() + record_len(data.len());
        if !self.point.options.can_wait && !self.point.budget.has_room(need) {
            self.raw_over_budget += 1;
            self.hands_chunk_over = true;
            return;
        }
        state.raw_kept += 1;
        let len = part.len.max(u32::try_from(data.len()).unwrap_or(u32::MAX));
        chunk.push(
            state.uuid,
            packet.timestamp,
            state.raw_kept,
            len,
            part.link_type,
            data,
        );
        self.raw_kept += 1;
    }
}

//! Which flow goes when the table is full: the CLOCK approximation of least recently used.

use crate::flow::FinishType;

use super::FlowTable;
use super::leaving::Leaving;
use super::map::Flows;

/// Second chances given before a flow goes all the same: bounds the work of one eviction.
const MAX_CHANCES: usize = 64;

impl FlowTable {
    /// Makes room in a shard for one more flow if it is full: takes out one that was not used since it was
    /// last looked at. Its last update goes to `leaving`. `at` is the new flow's time in nanoseconds: one that was
    /// silent for too long by then has ended, not been evicted.
    pub(super) fn make_room(&self, flows: &mut Flows, at: i64, leaving: &mut Leaving) {
        if flows.slots.len() < self.shard_capacity {
            return;
        }
        for chance in 0..=MAX_CHANCES {
            let Some(slot) = flows.slots.next_slot() else {
                return;
            };
            let Some((key, state)) = flows.slots.at(slot) else {
                return;
            };
            if state.take_referenced() && chance < MAX_CHANCES {
                continue;
            }
            let key = *key;
            if let Some(point) = self.point(key.point()) {
                let finish_type = match state.finish_type() {
                    FinishType::NotFinished => state
                        .ended_at(at, self.expire_nanos())
                        .unwrap_or(FinishType::Evicted),
                    finished => finished,
                };
                leaving.update(&mut flows.ended, &key, state, &point, finish_type);
            }
            flows.slots.remove(self.flows.hash(&key), slot);
            flows.slots.prefetch_next();
            return;
        }
    }
}

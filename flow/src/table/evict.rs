//! Which flow goes when the table is full: the CLOCK approximation of least recently used.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::flow::FinishType;
use crate::query::FlowUpdate;

use super::raw::RawLog;
use super::{FlowTable, KeyHash};

/// Second chances given before a flow goes all the same: bounds the work of one eviction.
const MAX_CHANCES: usize = 64;

/// What belongs to one shard's flows beside the flows themselves.
#[derive(Default)]
pub(super) struct Group {
    /// The flows of the group, oldest first; one that was used again goes back to the end.
    ring: VecDeque<KeyHash>,
    /// Their kept packets.
    pub(super) raw: RawLog,
}

impl Group {
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn hashes(&self) -> Vec<KeyHash> {
        self.ring.iter().copied().collect()
    }

    /// Forgets flows that have left the map. `gone` is sorted.
    pub(super) fn forget(&mut self, gone: &[KeyHash]) {
        self.ring.retain(|hash| gone.binary_search_by_key(&hash.0, |g| g.0).is_err());
    }
}

impl FlowTable {
    /// Makes room for one more flow with this hash. An evicted flow's last update goes to `out`.
    pub(super) fn admit(&self, hash: KeyHash, out: &mut Vec<FlowUpdate>) {
        let number = Self::group_of(hash);
        for chance in 0..=MAX_CHANCES {
            let candidate = {
                let mut group = self.group(number);
                if group.ring.len() < self.group_capacity {
                    group.ring.push_back(hash);
                    self.counters.begun.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                group.ring.pop_front()
            };
            let Some(candidate) = candidate else { return };
            if self.evict(candidate, chance == MAX_CHANCES, out) {
                continue;
            }
            self.group(number).ring.push_back(candidate);
        }
        // Reached only if other readers filled every place that was made: one flow over the limit.
        self.group(number).ring.push_back(hash);
        self.counters.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the flow out unless it was used since it was last looked at. False if it stays.
    fn evict(&self, hash: KeyHash, at_once: bool, out: &mut Vec<FlowUpdate>) -> bool {
        let mut stays = false;
        self.flows.remove_if_mut(&hash, |key, state| {
            if state.take_referenced() && !at_once {
                stays = true;
                return false;
            }
            let Some(point) = self.point(key.key.point()) else { return true };
            let finish_type = match state.finish_type() {
                FinishType::NotFinished => FinishType::Evicted,
                finished => finished,
            };
            let counter = match finish_type {
                FinishType::Evicted => &self.counters.evicted,
                _ => &self.counters.finished,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            out.push(self.update(key, state, &point, finish_type));
            true
        });
        !stays
    }
}

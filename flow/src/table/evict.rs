//! Which flow goes when the table is full: the CLOCK approximation of least recently used.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::flow::FinishType;
use crate::query::FlowUpdate;

use super::FlowTable;
use super::ended::Ended;
use super::map::KeyHash;

/// Second chances given before a flow goes all the same: bounds the work of one eviction.
const MAX_CHANCES: usize = 64;

/// What belongs to one shard's flows beside the flows themselves.
#[derive(Default)]
pub(super) struct Group {
    /// The flows of the group, oldest first; one that was used again goes back to the end.
    ring: VecDeque<KeyHash>,
    /// Those that have ended lately.
    pub(super) ended: Ended,
}

impl Group {
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn hashes(&self) -> Vec<KeyHash> {
        self.ring.iter().copied().collect()
    }

    /// The oldest flow, taken off the ring, if there are more than `capacity`.
    fn over(&mut self, capacity: usize) -> Option<KeyHash> {
        if self.ring.len() > capacity {
            self.ring.pop_front()
        } else {
            None
        }
    }

    /// Forgets flows that have left the map.
    pub(super) fn forget(&mut self, mut is_gone: impl FnMut(KeyHash) -> bool) {
        self.ring.retain(|hash| !is_gone(*hash));
    }
}

impl FlowTable {
    /// Notes a flow that has just been added, and evicts others if its group is over its capacity.
    /// Their last updates go to `out`. `at` is the new flow's time in nanoseconds: one that was silent
    /// for too long by then has ended, not been evicted. No shard may be locked.
    pub(super) fn admit(&self, hash: KeyHash, at: i64, out: &mut Vec<FlowUpdate>) {
        self.counters.begun.fetch_add(1, Ordering::Relaxed);
        let mut candidate = {
            let mut group = self.group(hash.shard());
            group.ring.push_back(hash);
            group.over(self.group_capacity)
        };
        let mut chances = 0;
        while let Some(hash) = candidate {
            let evicted = self.evict(hash, at, chances == MAX_CHANCES, out);
            chances += 1;
            let mut group = self.group(hash.shard());
            if !evicted {
                group.ring.push_back(hash);
            }
            candidate = group.over(self.group_capacity);
        }
    }

    /// Takes the flow out unless it was used since it was last looked at. False if it stays.
    fn evict(&self, hash: KeyHash, at: i64, at_once: bool, out: &mut Vec<FlowUpdate>) -> bool {
        let mut shard = self.flows.shard(hash);
        let Some((key, state)) = shard.find(hash) else {
            return true;
        };
        if state.take_referenced() && !at_once {
            return false;
        }
        if let Some(point) = self.point(key.point()) {
            let finish_type = match state.finish_type() {
                FinishType::NotFinished => state
                    .ended_at(at, self.expire_nanos())
                    .unwrap_or(FinishType::Evicted),
                finished => finished,
            };
            self.count_end(finish_type);
            out.push(self.update(hash, &key, state, &point, finish_type));
        }
        shard.remove(hash, &key);
        true
    }
}

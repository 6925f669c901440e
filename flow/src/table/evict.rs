//! Which flow goes when the table is full: the CLOCK approximation of least recently used.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;

use crate::flow::{FinishType, FlowId};
use crate::query::FlowUpdate;

use super::FlowTable;
use super::map::KeyHash;
use super::raw::RawLog;

/// Second chances given before a flow goes all the same: bounds the work of one eviction.
const MAX_CHANCES: usize = 64;

/// What belongs to one shard's flows beside the flows themselves.
#[derive(Default)]
pub(super) struct Group {
    /// The flows of the group, oldest first; one that was used again goes back to the end.
    ring: VecDeque<KeyHash>,
    /// Their kept packets.
    pub(super) raw: RawLog,
    /// Flows of the group that began in the newest millisecond and have ended since: a flow with the
    /// same key that begins in it too would get the same UUID.
    ended: Ended,
}

/// UUIDs that may not be given again, and the millisecond of their start.
#[derive(Default)]
struct Ended {
    millis: i64,
    uuids: HashSet<FlowId>,
}

/// The most UUIDs remembered, 16 bytes each; only a source without a clock comes near.
const MAX_ENDED: usize = 1 << 16;

impl Group {
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn hashes(&self) -> Vec<KeyHash> {
        self.ring.iter().copied().collect()
    }

    /// Notes that a flow has ended that began at `start_millis`.
    pub(super) fn end(&mut self, uuid: FlowId, start_millis: i64) {
        if start_millis > self.ended.millis {
            self.ended.millis = start_millis;
            self.ended.uuids.clear();
        }
        if start_millis == self.ended.millis && self.ended.uuids.len() < MAX_ENDED {
            self.ended.uuids.insert(uuid);
        }
    }

    /// True if `uuid` is that of a flow that has ended.
    pub(super) fn has_ended(&self, uuid: FlowId) -> bool {
        !self.ended.uuids.is_empty() && self.ended.uuids.contains(&uuid)
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

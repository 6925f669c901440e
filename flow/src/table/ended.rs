//! Which UUIDs may not be given again.
//!
//! A flow's UUID is made of its key and the millisecond of its start. A flow that begins in the same
//! millisecond as another with its key, which has ended since (a port scan that repeats itself, a
//! source without a clock), would get the same UUID, and stores would take the two for one.

use std::collections::{HashSet, VecDeque};

use ahash::RandomState;

use crate::flow::FlowId;

/// Milliseconds remembered: sources are at different times when several files are replayed at once.
const MAX_MILLIS: usize = 16;
/// UUIDs remembered of one millisecond, 16 bytes each; then flows of it get other ones unasked. With
/// 256 groups and [`MAX_MILLIS`] that is 256 MiB if every source stands still, some KiB in practice.
const MAX_UUIDS: usize = 4096;

/// The flows of one group that have ended lately.
#[derive(Default)]
pub(super) struct Ended {
    /// Oldest first.
    recent: VecDeque<Millisecond>,
}

struct Millisecond {
    point: u32,
    millis: i64,
    uuids: HashSet<FlowId, RandomState>,
    /// How often another UUID was asked for.
    asked: i64,
}

impl Ended {
    /// Notes that the flow `uuid` has ended, which began at `millis` at this capture point.
    pub(super) fn note(&mut self, point: u32, millis: i64, uuid: FlowId) {
        let of = match self.find(point, millis) {
            Some(number) => number,
            None => self.add(point, millis),
        };
        if let Some(of) = self.recent.get_mut(of)
            && of.uuids.len() < MAX_UUIDS
        {
            of.uuids.insert(uuid);
        }
    }

    /// If a flow that begins at `millis` at this capture point may not be named `uuid`: a number that
    /// was not given for this millisecond before, to make another name with.
    pub(super) fn collides(&mut self, point: u32, millis: i64, uuid: FlowId) -> Option<i64> {
        if self.recent.is_empty() {
            return None;
        }
        let number = self.find(point, millis)?;
        let of = self.recent.get_mut(number)?;
        if of.uuids.len() < MAX_UUIDS && !of.uuids.contains(&uuid) {
            return None;
        }
        of.asked += 1;
        Some(of.asked)
    }

    fn find(&self, point: u32, millis: i64) -> Option<usize> {
        let is_it = |of: &Millisecond| of.millis == millis && of.point == point;
        self.recent.iter().rposition(is_it)
    }

    fn add(&mut self, point: u32, millis: i64) -> usize {
        let mut uuids = HashSet::default();
        if self.recent.len() >= MAX_MILLIS
            && let Some(oldest) = self.recent.pop_front()
            // A set that was filled by a burst is not kept for its memory.
            && oldest.uuids.capacity() < 64
        {
            uuids = oldest.uuids;
            uuids.clear();
        }
        self.recent.push_back(Millisecond {
            point,
            millis,
            uuids,
            asked: 0,
        });
        self.recent.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_given_twice_in_a_millisecond() {
        let mut ended = Ended::default();
        assert_eq!(ended.collides(1, 5, FlowId(7)), None);
        ended.note(1, 5, FlowId(7));
        assert_eq!(ended.collides(1, 5, FlowId(7)), Some(1));
        assert_eq!(ended.collides(1, 5, FlowId(7)), Some(2), "never the same number");
        assert_eq!(ended.collides(1, 5, FlowId(8)), None);
        assert_eq!(ended.collides(1, 6, FlowId(7)), None);
        assert_eq!(ended.collides(2, 5, FlowId(7)), None);
    }

    #[test]
    fn sources_at_different_times_do_not_make_each_other_forget() {
        let mut ended = Ended::default();
        for source in 0..10 {
            ended.note(1, source * 1000, FlowId(7));
        }
        for source in 0..10 {
            assert!(ended.collides(1, source * 1000, FlowId(7)).is_some());
        }
    }

    #[test]
    fn a_source_without_a_clock_stays_bounded_and_unique() {
        let mut ended = Ended::default();
        for uuid in 0..2 * MAX_UUIDS as u64 {
            ended.note(1, 0, FlowId(uuid));
        }
        assert_eq!(ended.recent[0].uuids.len(), MAX_UUIDS);
        // Not remembered, and for that very reason never given as it is.
        assert!(ended.collides(1, 0, FlowId(2 * MAX_UUIDS as u64 - 1)).is_some());
    }
}

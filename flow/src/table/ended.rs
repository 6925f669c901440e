//! Which UUIDs may not be given again.
//!
//! A flow's UUID is made of its key and the millisecond of its start. A flow that begins in the same
//! millisecond as another with its key, which has ended since (a port scan that repeats itself, a
//! source without a clock), would get the same UUID, and stores would take the two for one.

use std::collections::{HashSet, VecDeque};

use ahash::RandomState;

use crate::flow::FlowId;

use super::prefetch::prefetch;

/// Flows remembered in a group, one in a slot. All groups hold 16,384 of them in 512 KiB: to note one
/// touches one place of the second-level cache.
const SLOTS: usize = 256;
/// Milliseconds of which more is remembered.
const CROWDS: usize = 8;
/// UUIDs remembered of such a one, 16 bytes each; then flows of it get other ones unasked. With 64 groups
/// that is 128 MiB if every source stands still, and next to nothing in practice.
const MAX_UUIDS: usize = 16_384;

/// The flows of one group that have ended lately.
pub(super) struct Ended {
    /// Each in the slot that its UUID chooses, until another takes it.
    slots: [Option<(Moment, FlowId)>; SLOTS],
    /// Flows whose slot was taken by one of the same millisecond. Oldest first.
    crowds: VecDeque<(Moment, HashSet<FlowId, RandomState>)>,
    /// How often another UUID was asked for.
    asked: i64,
    /// The newest millisecond of all that was noted. What begins later, as nearly every flow does, collides with
    /// nothing.
    newest: i64,
}

/// A millisecond at a capture point.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Moment {
    point: u32,
    millis: i64,
}

impl Default for Ended {
    fn default() -> Self {
        Self {
            slots: [None; SLOTS],
            crowds: VecDeque::new(),
            asked: 0,
            newest: i64::MIN,
        }
    }
}

impl Ended {
    /// Asks for the memory that [`Self::note`] needs for `uuid`.
    pub(super) fn prefetch(&self, uuid: FlowId) {
        prefetch(&raw const self.slots[slot(uuid)]);
    }

    /// Notes that the flow `uuid` has ended, which began at `millis` at this capture point.
    pub(super) fn note(&mut self, point: u32, millis: i64, uuid: FlowId) {
        let moment = Moment { point, millis };
        self.newest = self.newest.max(millis);
        let before = self.slots[slot(uuid)].replace((moment, uuid));
        if let Some((of, displaced)) = before
            && of == moment
            && displaced != uuid
        {
            self.crowd(moment, displaced);
        }
    }

    /// If a flow that begins at `millis` at this capture point may not be named `uuid`: a number that
    /// was not given before, to make another name with.
    pub(super) fn collides(&mut self, point: u32, millis: i64, uuid: FlowId) -> Option<i64> {
        if millis > self.newest {
            return None;
        }
        let moment = Moment { point, millis };
        let is_crowded = || {
            let crowd = self.crowds.iter().find(|(of, _)| *of == moment);
            crowd.is_some_and(|(_, uuids)| uuids.len() >= MAX_UUIDS || uuids.contains(&uuid))
        };
        if self.slots[slot(uuid)] != Some((moment, uuid)) && !is_crowded() {
            return None;
        }
        self.asked += 1;
        Some(self.asked)
    }

    fn crowd(&mut self, moment: Moment, uuid: FlowId) {
        let known = self.crowds.iter().position(|(of, _)| *of == moment);
        let place = known.unwrap_or_else(|| {
            if self.crowds.len() >= CROWDS {
                self.crowds.pop_front();
            }
            self.crowds.push_back((moment, HashSet::default()));
            self.crowds.len() - 1
        });
        if let Some((_, uuids)) = self.crowds.get_mut(place)
            && uuids.len() < MAX_UUIDS
        {
            uuids.insert(uuid);
        }
    }
}

/// The slot of a flow. UUIDs are hashes: any of their bits will do.
fn slot(uuid: FlowId) -> usize {
    usize::try_from(uuid.0 % SLOTS as u64).unwrap_or_default()
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
    fn all_of_a_millisecond_are_remembered_and_no_others() {
        let mut ended = Ended::default();
        for uuid in 0..1_000 {
            ended.note(1, 5, FlowId(uuid));
        }
        assert!((0..1_000).all(|uuid| ended.collides(1, 5, FlowId(uuid)).is_some()));
        assert!((1_000..2_000).all(|uuid| ended.collides(1, 5, FlowId(uuid)).is_none()));
    }

    #[test]
    fn sources_at_different_times_do_not_make_each_other_forget() {
        let mut ended = Ended::default();
        // A flow's UUID is another one in another millisecond.
        let uuid = |source: u64| FlowId(source * 7);
        for source in 0..10u64 {
            ended.note(1, source.cast_signed() * 1000, uuid(source));
        }
        for source in 0..10u64 {
            assert!(
                ended
                    .collides(1, source.cast_signed() * 1000, uuid(source))
                    .is_some()
            );
        }
    }

    #[test]
    fn a_source_without_a_clock_stays_bounded_and_unique() {
        let mut ended = Ended::default();
        let many = 2 * (MAX_UUIDS + SLOTS) as u64;
        for uuid in 0..many {
            ended.note(1, 0, FlowId(uuid));
        }
        assert_eq!(ended.crowds[0].1.len(), MAX_UUIDS);
        // What is not remembered is for that very reason never given as it is.
        assert!((0..many).all(|uuid| ended.collides(1, 0, FlowId(uuid)).is_some()));
        assert!(ended.collides(1, 1, FlowId(5)).is_none());
    }
}

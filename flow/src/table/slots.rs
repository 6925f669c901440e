//! The flows of one shard: a dense array of them, and an index from a key's hash to its place there.
//!
//! Both parts are small beside a hash map of whole entries, which is half empty on average; and where a flow
//! will be found can be told before the shard is locked, so that its memory can be asked for in time.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::key::FlowKey;

use super::map::KeyHash;
use super::prefetch::prefetch;
use super::state::FlowState;

/// A flow with its key; 152 bytes, also where there may be none.
type Slot = Option<(FlowKey, FlowState)>;

const _: () = assert!(size_of::<Slot>() == 152, "a flow has grown");

/// Places of the smallest index.
const SMALLEST_INDEX: usize = 16;
/// Sizes that an index can have, each twice the one before: far more than a machine has memory for.
const LEVELS: usize = 24;
/// Flows of a shard that are few: all shards together have 128 Ki of them in 20 MiB.
const FEW: usize = 2_048;
/// Places looked at by one who only wants to prefetch: those of a cache line. Hardly any flow is farther away.
const LOOKED_AT: usize = 8;

/// From hashes to slots: open addressing, linear probing, at most five eighths full.
///
/// An entry is 0, or the hash's lower 32 bits and the slot's number plus one. Entries are atomic for those who
/// prefetch, and look without the shard's lock; what they find may be out of date and decides nothing. All
/// others hold the lock. For the same reason places that were once made stay, empty, when the index has grown
/// or shrunk: as many again as the largest had, eight bytes each.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Index {
    level: AtomicUsize,
    levels: [OnceLock<Entries>; LEVELS],
}

type Entries = Arc<[AtomicU64]>;

impl Default for Index {
    fn default() -> Self {
        Self {
            level: AtomicUsize::new(0),
            levels: [const { OnceLock::new() }; LEVELS],
        }
    }
}

/// The places of an index.
#[derive(Clone, Copy, Debug)]
struct Places<'a>(&'a [AtomicU64]);

impl Index {
    fn entries(&self, level: usize) -> &Entries {
        let empty = || (0..SMALLEST_INDEX << level).map(|_| AtomicU64::new(0)).collect();
        self.levels[level.min(LEVELS - 1)].get_or_init(empty)
    }

    /// Makes it `level`, with the entries that it has in `from`.
    fn resize(&self, from: &Entries, level: usize) -> Entries {
        let to = self.entries(level);
        for place in from.iter() {
            if let Some((tag, slot)) = Places::entry(place.swap(0, Ordering::Relaxed)) {
                Places(to).add(tag, slot);
            }
        }
        self.level.store(level, Ordering::Relaxed);
        Arc::clone(to)
    }

    /// The slot that a flow with this hash probably has.
    pub(super) fn guess(&self, hash: KeyHash) -> Option<usize> {
        let level = self.level.load(Ordering::Relaxed);
        Places(self.levels.get(level)?.get()?).guess(hash)
    }
}

impl Places<'_> {
    fn mask(self) -> usize {
        self.0.len() - 1
    }

    fn home(self, tag: u32) -> usize {
        tag as usize & self.mask()
    }

    #[inline]
    fn load(self, place: usize) -> Option<(u32, usize)> {
        Self::entry(self.0.get(place & self.mask())?.load(Ordering::Relaxed))
    }

    /// The slot that a flow with this hash probably has.
    #[inline]
    fn guess(self, hash: KeyHash) -> Option<usize> {
        let home = self.home(hash.tag());
        for place in home..home + LOOKED_AT {
            let (tag, slot) = self.load(place)?;
            if tag == hash.tag() {
                return Some(slot);
            }
        }
        None
    }

    fn entry(entry: u64) -> Option<(u32, usize)> {
        let number = (entry & 0xffff_ffff) as usize;
        (entry != 0).then(|| ((entry >> 32) as u32, number - 1))
    }

    fn store(self, place: usize, entry: Option<(u32, usize)>) {
        let entry = entry.map_or(0, |(tag, slot)| u64::from(tag) << 32 | (slot as u64 + 1));
        self.0[place & self.mask()].store(entry, Ordering::Relaxed);
    }

    /// Puts an entry into the first free place for its tag.
    fn add(self, tag: u32, slot: usize) {
        let mut place = self.home(tag);
        while self.load(place).is_some() {
            place += 1;
        }
        self.store(place, Some((tag, slot)));
    }

    /// The place of the entry for `slot`, whose flow's hash has `tag`.
    fn place_of(self, tag: u32, slot: usize) -> Option<usize> {
        let mut place = self.home(tag);
        while let Some((_, found)) = self.load(place) {
            if found == slot {
                return Some(place);
            }
            place += 1;
        }
        None
    }

    /// Takes an entry out, and moves those up that were displaced by it.
    fn remove(self, mut hole: usize) {
        let mut place = hole;
        loop {
            place += 1;
            let Some((tag, slot)) = self.load(place) else {
                break;
            };
            // How far the entry stands from where it belongs, and how far the hole stands from the entry.
            let displaced = place.wrapping_sub(self.home(tag)) & self.mask();
            if displaced >= place.wrapping_sub(hole) & self.mask() {
                self.store(hole, Some((tag, slot)));
                hole = place;
            }
        }
        self.store(hole, None);
    }
}

/// See the [module's documentation](self). Slots keep their numbers until [`Slots::shrink`].
///
/// What each packet needs comes first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Slots {
    /// Those of the index, at the level that it has.
    entries: Entries,
    slots: Vec<Slot>,
    /// Those that hold nothing. The next flow takes the last of them.
    free: Vec<u32>,
    /// The slot that is looked at next when room is needed.
    hand: usize,
}

impl Slots {
    /// Bytes from one slot to the next.
    pub(super) const SLOT: usize = size_of::<Slot>();

    /// None, to be found by `index`, which must be empty.
    pub(super) fn new(index: &Index) -> Self {
        index.level.store(0, Ordering::Relaxed);
        Self {
            entries: Arc::clone(index.entries(0)),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
        }
    }

    /// Flows held.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Where the index's places stand and how many there are, a power of two; and where the slots stand.
    pub(super) fn memory(&self) -> (*const AtomicU64, usize, *const u8) {
        (
            self.entries.as_ptr(),
            self.entries.len(),
            self.slots.as_ptr().cast(),
        )
    }

    fn places(&self) -> Places<'_> {
        Places(&self.entries)
    }

    /// Asks for the place in the index where a flow with this hash is looked up first.
    #[inline]
    pub(super) fn prefetch_index(&self, hash: KeyHash) {
        let places = self.places();
        if let Some(place) = self.entries.get(places.home(hash.tag())) {
            prefetch(place);
        }
    }

    /// Asks for the flow that probably has this hash.
    #[inline]
    pub(super) fn prefetch_flow(&self, hash: KeyHash) {
        if let Some(slot) = self.places().guess(hash).and_then(|slot| self.slots.get(slot)) {
            prefetch(slot);
        }
    }

    /// The slot of the flow with `key`, whose hash is `hash`.
    #[inline]
    pub(super) fn find(&self, hash: KeyHash, key: &FlowKey) -> Option<usize> {
        let places = self.places();
        let mut place = places.home(hash.tag());
        loop {
            let (tag, slot) = places.load(place)?;
            if tag == hash.tag() && matches!(self.slots.get(slot), Some(Some((found, _))) if found == key) {
                return Some(slot);
            }
            place += 1;
        }
    }

    /// Adds a flow that is not there yet, and returns its slot.
    pub(super) fn insert(&mut self, index: &Index, hash: KeyHash, key: FlowKey, state: FlowState) -> usize {
        if (self.len() + 1) * 8 > self.entries.len() * 5 {
            let level = index.level.load(Ordering::Relaxed);
            self.entries = index.resize(&self.entries, level + 1);
        }
        let slot = if let Some(slot) = self.free.pop() {
            let slot = slot as usize;
            self.slots[slot] = Some((key, state));
            slot
        } else {
            if self.slots.len() == self.slots.capacity() {
                // By a quarter, for little to be unused; few by as many again, for little to be copied.
                let len = self.slots.len();
                let more = if len < FEW { len } else { len / 4 };
                self.slots.reserve_exact(more.max(SMALLEST_INDEX));
            }
            self.slots.push(Some((key, state)));
            self.slots.len() - 1
        };
        self.places().add(hash.tag(), slot);
        slot
    }

    /// Takes the flow in `slot` out; `hash` is its key's.
    pub(super) fn remove(&mut self, hash: KeyHash, slot: usize) {
        let places = self.places();
        if let Some(place) = places.place_of(hash.tag(), slot) {
            places.remove(place);
            self.slots[slot] = None;
            // A shard never has 2³² flows: they would be half a terabyte.
            self.free.push(slot as u32);
        }
    }

    /// The flow in `slot`, if there is one.
    pub(super) fn at(&mut self, slot: usize) -> Option<(&FlowKey, &mut FlowState)> {
        let (key, state) = self.slots.get_mut(slot)?.as_mut()?;
        Some((key, state))
    }

    /// At most `len` slots from number `from` on; `None` behind the last.
    pub(super) fn run(&self, from: usize, len: usize) -> Option<Range<usize>> {
        (from < self.slots.len()).then(|| from..self.slots.len().min(from + len))
    }

    /// Goes to the next flow, in a circle: new ones come before it, as they take the slots that it leaves.
    pub(super) fn next_slot(&mut self) -> Option<usize> {
        for _ in 0..self.slots.len() {
            let slot = self.hand % self.slots.len();
            self.hand = slot + 1;
            if self.slots[slot].is_some() {
                return Some(slot);
            }
        }
        None
    }

    /// Takes all flows out, and returns what they were in.
    pub(super) fn clear(&mut self, index: &Index) -> Self {
        for place in self.entries.iter() {
            place.store(0, Ordering::Relaxed);
        }
        std::mem::replace(self, Self::new(index))
    }

    /// Asks for the memory of the slot that [`Self::next_slot`] will look at: its turn is long after that of its
    /// neighbour.
    pub(super) fn prefetch_next(&self) {
        if let Some(slot) = self.slots.get(self.hand) {
            prefetch(slot);
        }
    }

    /// Gives memory back if most of the slots hold nothing. `hash` is that of a key.
    pub(super) fn shrink(&mut self, index: &Index, hash: impl Fn(&FlowKey) -> KeyHash) {
        if self.slots.capacity() <= 256 || self.len() >= self.slots.capacity() / 8 {
            return;
        }
        let old = self.clear(index);
        self.slots.reserve_exact(old.len());
        for (key, state) in old.slots.into_iter().flatten() {
            self.insert(index, hash(&key), key, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::layers::PathId;

    /// What a test does to a flow, by its number.
    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32),
        Remove(u32),
        Shrink,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u32..600).prop_map(Step::Insert),
            3 => (0u32..600).prop_map(Step::Remove),
            1 => Just(Step::Shrink),
        ]
    }

    fn key(number: u32) -> FlowKey {
        let mut key = FlowKey::new(1);
        key.set_ipv4(number, 1);
        key
    }

    /// Few different ones, that lie close to each other: they get into each other's way.
    fn hash(key: &FlowKey) -> KeyHash {
        KeyHash(u64::from(key.addresses().0[3] % 50))
    }

    fn state(number: u32) -> FlowState {
        let part = crate::decode::Part::of_key(key(number));
        FlowState::begin(&key(number), &part, PathId::default(), i64::from(number), "")
    }

    fn all(slots: &mut Slots) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = 0;
        while let Some(run) = slots.run(next, 16) {
            next = run.end;
            found.extend(run.filter_map(|slot| slots.at(slot).map(|(_, state)| state.start as u32)));
        }
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn holds_what_a_hash_map_holds(steps in prop::collection::vec(step(), 1..900)) {
            let index = Index::default();
            let (mut slots, mut model) = (Slots::new(&index), HashMap::new());
            for step in steps {
                match step {
                    Step::Insert(number) if model.insert(number, ()).is_none() => {
                        let key = key(number);
                        let slot = slots.insert(&index, hash(&key), key, state(number));
                        prop_assert_eq!(slots.find(hash(&key), &key), Some(slot));
                    }
                    Step::Insert(_) => {}
                    Step::Remove(number) => {
                        let key = key(number);
                        let slot = slots.find(hash(&key), &key);
                        prop_assert_eq!(slot.is_some(), model.remove(&number).is_some());
                        if let Some(slot) = slot {
                            slots.remove(hash(&key), slot);
                        }
                    }
                    Step::Shrink => slots.shrink(&index, hash),
                }
                prop_assert_eq!(slots.len(), model.len());
            }
            let mut expected: Vec<u32> = model.keys().copied().collect();
            expected.sort_unstable();
            for number in &expected {
                let key = key(*number);
                let slot = slots.find(hash(&key), &key).expect("it is there");
                prop_assert_eq!(slots.at(slot).map(|(found, _)| *found), Some(key));
            }
            prop_assert_eq!(all(&mut slots), expected);
        }
    }

    #[test]
    fn each_flow_has_its_turn_and_new_ones_come_last() {
        let index = Index::default();
        let mut slots = Slots::new(&index);
        for number in 0..100 {
            slots.insert(&index, hash(&key(number)), key(number), state(number));
        }
        let mut turns = Vec::new();
        for new in 100..300 {
            let slot = slots.next_slot().unwrap();
            let (old, state_of_old) = slots.at(slot).unwrap();
            turns.push(state_of_old.start as u32);
            let old = *old;
            slots.remove(hash(&old), slot);
            slots.insert(&index, hash(&key(new)), key(new), state(new));
        }
        assert_eq!(turns, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn where_a_flow_stands_can_be_guessed() {
        let index = Index::default();
        let mut slots = Slots::new(&index);
        let spread = |number: u32| KeyHash(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for number in 0..10_000 {
            slots.insert(&index, spread(number), key(number), state(number));
        }
        let is_right =
            |number: &u32| index.guess(spread(*number)) == slots.find(spread(*number), &key(*number));
        // It may be wrong, where two have one tag or stand far from home: not often.
        assert!((0..10_000).filter(is_right).count() > 9_000);
    }
}

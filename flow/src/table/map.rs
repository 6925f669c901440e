//! The map from key to flow, in shards that are locked one by one; or all at once, by a batch of packets that
//! nobody else gets in the way of.
//!
//! A shard's flows have their order of eviction and the names that may not be given again beside them, under
//! the same lock.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use parking_lot::{
    MappedRwLockReadGuard, MappedRwLockWriteGuard, Mutex, MutexGuard, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};

use crate::key::FlowKey;

use super::ended::Ended;
use super::prefetch::prefetch;
use super::slots::{Index, Slots};
use super::state::FlowState;

/// Shards of the map: enough for a dozen readers, and few enough for what a batch looks at of each to stay in the
/// L1 cache. Four times as many cost a packet a twentieth more.
pub(super) const SHARDS: usize = 64;
/// Bytes of an entry of a shard's index.
const ENTRY: usize = size_of::<AtomicU64>();
/// Flows looked at while their shard is locked: some microseconds, if each is copied.
pub(super) const RUN: usize = 16;
/// Batches that lock one shard at a time after somebody else wanted one: a second reader of packets, a query, a
/// tick. To take turns with all shards would make each wait for the other's whole batches.
const SHARED_BATCHES: u32 = 256;

/// The hash of a key, computed once for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyHash(pub(super) u64);

impl KeyHash {
    /// The number of the shard that holds keys of this hash.
    #[expect(clippy::cast_possible_truncation, reason = "some of its bits")]
    fn shard(self) -> usize {
        const { assert!(SHARDS.is_power_of_two() && SHARDS <= 1 << u8::BITS) };
        usize::from((self.0 >> 48) as u8) % SHARDS
    }

    /// The bits that a shard's index keeps; others than those that choose the shard.
    pub(super) fn tag(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

/// What belongs together under one lock.
#[repr(C)]
pub(super) struct Flows {
    pub(super) slots: Slots,
    /// Those that have ended lately.
    pub(super) ended: Box<Ended>,
}

/// In cache lines of its own, lest locking one wait for another.
#[repr(C, align(128))]
struct Shard(Mutex<Flows>);

/// What is looked at without a shard's lock.
#[repr(C, align(128))]
#[derive(Default)]
struct Lookup {
    memory: Memory,
    /// That of the slots.
    index: Index,
}

impl Lookup {
    fn prefetch_index(&self, hash: KeyHash) {
        let place = hash.tag() as usize & self.memory.mask.load(Ordering::Relaxed);
        let entries = self.memory.entries.load(Ordering::Relaxed);
        prefetch(std::ptr::without_provenance::<[u8; ENTRY]>(entries).wrapping_add(place));
    }

    fn prefetch_flow(&self, hash: KeyHash) {
        if let Some(slot) = self.index.guess(hash) {
            let slots = self.memory.slots.load(Ordering::Relaxed);
            prefetch(std::ptr::without_provenance::<[u8; Slots::SLOT]>(slots).wrapping_add(slot));
        }
    }
}

/// Where a shard's flows are looked for, for those who prefetch; of no other meaning.
#[derive(Default)]
struct Memory {
    entries: AtomicUsize,
    /// Places of the index, less one.
    mask: AtomicUsize,
    slots: AtomicUsize,
}

impl Memory {
    fn note(&self, slots: &Slots) {
        let (entries, len, slots) = slots.memory();
        self.entries.store(entries.addr(), Ordering::Relaxed);
        self.mask.store(len - 1, Ordering::Relaxed);
        self.slots.store(slots.addr(), Ordering::Relaxed);
    }
}

impl Shard {
    /// One without flows, which `lookup` is to find.
    fn new(lookup: &Lookup) -> Self {
        let slots = Slots::new(&lookup.index);
        lookup.memory.note(&slots);
        Self(Mutex::new(Flows {
            slots,
            ended: Box::default(),
        }))
    }
}

/// See the [module's documentation](self).
pub(super) struct FlowMap {
    lookups: Box<[Lookup]>,
    /// Keyed: five million flows made by an attacker are an ordinary input.
    hasher: RandomState,
    gate: Gate,
    /// Held for reading by those who go through a shard's slots and let go of its lock meanwhile.
    walkers: RwLock<()>,
}

/// In cache lines of its own: those who come and go write here.
#[repr(C, align(128))]
struct Gate {
    /// Locked for reading by those who lock one shard after another. Nobody ever waits for the other lock, that of
    /// all shards; so nobody waits here for longer than a batch takes.
    shards: RwLock<Box<[Shard]>>,
    /// Batches to come that lock one shard at a time.
    shared_batches: AtomicU32,
}

/// The way to the shards.
pub(super) struct Shards<'a> {
    access: Access<'a>,
    lookups: &'a [Lookup],
}

enum Access<'a> {
    /// To all of them, without further locks. The processor goes past none to wait for the next flow's memory
    /// meanwhile: that costs more than the lock itself.
    All(MappedRwLockWriteGuard<'a, [Shard]>),
    /// To one after another.
    Each(MappedRwLockReadGuard<'a, [Shard]>),
}

/// One shard, nobody else's meanwhile.
pub(super) struct Locked<'a> {
    flows: Held<'a>,
    lookup: &'a Lookup,
}

enum Held<'a> {
    WithAll(&'a mut Flows),
    Alone(MutexGuard<'a, Flows>),
}

impl FlowMap {
    pub(super) fn new() -> Self {
        let lookups: Box<[Lookup]> = (0..SHARDS).map(|_| Lookup::default()).collect();
        Self {
            gate: Gate {
                shards: RwLock::new(lookups.iter().map(Shard::new).collect()),
                shared_batches: AtomicU32::new(0),
            },
            lookups,
            hasher: RandomState::new(),
            walkers: RwLock::new(()),
        }
    }

    pub(super) fn hash(&self, key: &FlowKey) -> KeyHash {
        KeyHash(self.hasher.hash_one(key))
    }

    /// The shards for a batch of packets: all at once if nobody else wanted any lately.
    pub(super) fn for_batch(&self) -> Shards<'_> {
        let shared = self.gate.shared_batches.load(Ordering::Relaxed);
        if shared > 0 {
            // Roughly, if several readers count.
            self.gate.shared_batches.store(shared - 1, Ordering::Relaxed);
            return self.each();
        }
        let Some(all) = self.gate.shards.try_write() else {
            return self.one_by_one();
        };
        Shards {
            access: Access::All(RwLockWriteGuard::map(all, |shards| &mut **shards)),
            lookups: &self.lookups,
        }
    }

    /// The shards for anything else.
    pub(super) fn one_by_one(&self) -> Shards<'_> {
        self.gate.shared_batches.store(SHARED_BATCHES, Ordering::Relaxed);
        self.each()
    }

    fn each(&self) -> Shards<'_> {
        let each = RwLockReadGuard::map(self.gate.shards.read(), |shards| &**shards);
        Shards {
            access: Access::Each(each),
            lookups: &self.lookups,
        }
    }

    /// Goes through all flows of a shard, some at a time.
    pub(super) fn walk(&self, number: usize) -> Walk<'_> {
        Walk {
            shards: self.one_by_one(),
            number,
            next: 0,
            _stays: self.walkers.read(),
        }
    }

    /// Lets all flows of a shard go.
    pub(super) fn clear(&self, number: usize) {
        let mut shards = self.one_by_one();
        let mut shard = shards.shard(number);
        shard.rearrange(|slots, index| drop(slots.clear(index)));
    }

    /// Gives memory back after a burst, unless somebody goes through the slots just now.
    pub(super) fn shrink(&self) {
        let Some(_nobody_walks) = self.walkers.try_write() else {
            return;
        };
        let mut shards = self.one_by_one();
        for number in 0..SHARDS {
            let mut shard = shards.shard(number);
            shard.rearrange(|slots, index| slots.shrink(index, |key| self.hash(key)));
        }
    }
}

impl Shards<'_> {
    /// Asks for the place in the index where a flow with this hash is looked up first.
    #[inline]
    pub(super) fn prefetch_index(&mut self, hash: KeyHash) {
        let number = hash.shard();
        match &mut self.access {
            Access::All(shards) => shards[number].0.get_mut().slots.prefetch_index(hash),
            Access::Each(_) => self.lookups[number].prefetch_index(hash),
        }
    }

    /// Asks for the flow that probably has this hash. A wrong guess costs no more than that.
    #[inline]
    pub(super) fn prefetch_flow(&mut self, hash: KeyHash) {
        let number = hash.shard();
        match &mut self.access {
            Access::All(shards) => shards[number].0.get_mut().slots.prefetch_flow(hash),
            Access::Each(_) => self.lookups[number].prefetch_flow(hash),
        }
    }

    /// The shard with this number. It must not be kept while another is asked for.
    #[inline]
    pub(super) fn shard(&mut self, number: usize) -> Locked<'_> {
        let flows = match &mut self.access {
            Access::All(shards) => Held::WithAll(shards[number].0.get_mut()),
            Access::Each(shards) => Held::Alone(shards[number].0.lock()),
        };
        let lookup = &self.lookups[number];
        Locked { flows, lookup }
    }

    /// The shard that holds keys of this hash.
    #[inline]
    pub(super) fn shard_of(&mut self, hash: KeyHash) -> Locked<'_> {
        self.shard(hash.shard())
    }
}

impl Locked<'_> {
    #[inline]
    pub(super) fn flows(&mut self) -> &mut Flows {
        match &mut self.flows {
            Held::WithAll(flows) => flows,
            Held::Alone(flows) => flows,
        }
    }

    /// The flow with `key`.
    pub(super) fn get(&mut self, hash: KeyHash, key: &FlowKey) -> Option<&mut FlowState> {
        let slots = &mut self.flows().slots;
        let slot = slots.find(hash, key)?;
        slots.at(slot).map(|(_, state)| state)
    }

    /// Adds a flow that is not there yet, and returns its slot.
    pub(super) fn insert(&mut self, hash: KeyHash, key: FlowKey, state: FlowState) -> usize {
        self.rearrange(|slots, index| slots.insert(index, hash, key, state))
    }

    /// Does what may give slots and index another place in memory.
    fn rearrange<T>(&mut self, work: impl FnOnce(&mut Slots, &Index) -> T) -> T {
        let lookup = self.lookup;
        let slots = &mut self.flows().slots;
        let done = work(slots, &lookup.index);
        lookup.memory.note(slots);
        done
    }
}

/// The way through one shard. Each flow that is there from begin to end is met once.
pub(super) struct Walk<'a> {
    shards: Shards<'a>,
    number: usize,
    next: usize,
    _stays: RwLockReadGuard<'a, ()>,
}

impl Walk<'_> {
    /// The shard, locked, and some slots of it; `None` at the end.
    pub(super) fn next_run(&mut self) -> Option<(Locked<'_>, Range<usize>)> {
        let mut locked = self.shards.shard(self.number);
        let run = locked.flows().slots.run(self.next, RUN)?;
        self.next = run.end;
        Some((locked, run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_all_shards_unless_somebody_else_wants_one() {
        let map = FlowMap::new();
        let has_all = || matches!(map.for_batch().access, Access::All(_));
        assert!(has_all() && has_all());
        for wants in [
            (|map: &FlowMap| drop(map.one_by_one())) as fn(&FlowMap),
            |map| map.clear(3),
            FlowMap::shrink,
            |map| assert!(map.walk(3).next_run().is_none()),
        ] {
            wants(&map);
            assert!((0..SHARED_BATCHES).all(|_| !has_all()));
            assert!(has_all());
        }
        // Two batches at once.
        let first = map.each();
        assert!((0..=SHARED_BATCHES).all(|_| !has_all()));
        assert!(!has_all(), "the other one is still there");
        drop(first);
        assert!((0..SHARED_BATCHES).all(|_| !has_all()));
        assert!(has_all());
    }
}

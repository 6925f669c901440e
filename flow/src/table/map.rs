//! The map from key to flow, in shards that are locked one by one.
//!
//! A shard's flows have their order of eviction and the names that may not be given again beside them, under
//! the same lock.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use ahash::RandomState;

use crate::key::FlowKey;

use super::ended::Ended;
use super::prefetch::prefetch;
use super::slots::{Index, Slots};
use super::state::FlowState;

/// Shards of the map.
pub(super) const SHARDS: usize = 256;
/// Bytes of an entry of a shard's index.
const ENTRY: usize = size_of::<AtomicU64>();
/// Flows looked at while their shard is locked: some microseconds, if each is copied.
pub(super) const RUN: usize = 16;

/// The hash of a key, computed once for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyHash(pub(super) u64);

impl KeyHash {
    /// The number of the shard that holds keys of this hash.
    #[expect(clippy::cast_possible_truncation, reason = "some of its bits")]
    fn shard(self) -> usize {
        const { assert!(SHARDS == 1 << u8::BITS) };
        usize::from((self.0 >> 48) as u8)
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

/// In cache lines of its own, lest locking one wait for another; what each packet needs comes first.
#[repr(C, align(128))]
struct Shard {
    memory: Memory,
    flows: Mutex<Flows>,
    /// That of the slots.
    index: Index,
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

impl Default for Shard {
    fn default() -> Self {
        let index = Index::default();
        let slots = Slots::new(&index);
        let memory = Memory::default();
        memory.note(&slots);
        Self {
            memory,
            flows: Mutex::new(Flows {
                slots,
                ended: Box::default(),
            }),
            index,
        }
    }
}

/// See the [module's documentation](self).
pub(super) struct FlowMap {
    shards: Box<[Shard]>,
    /// Keyed: five million flows made by an attacker are an ordinary input.
    hasher: RandomState,
    /// Held for reading by those who go through a shard's slots and let go of its lock meanwhile.
    walkers: RwLock<()>,
}

/// One shard, locked.
pub(super) struct Locked<'a> {
    shard: &'a Shard,
    flows: MutexGuard<'a, Flows>,
}

impl FlowMap {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            walkers: RwLock::new(()),
        }
    }

    pub(super) fn hash(&self, key: &FlowKey) -> KeyHash {
        KeyHash(self.hasher.hash_one(key))
    }

    /// Locks the shard with this number.
    pub(super) fn shard(&self, number: usize) -> Locked<'_> {
        let shard = &self.shards[number];
        // Every state is whole between any two packets.
        let flows = shard.flows.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { shard, flows }
    }

    /// Locks the shard that holds keys of this hash.
    pub(super) fn shard_of(&self, hash: KeyHash) -> Locked<'_> {
        self.shard(hash.shard())
    }

    /// Asks for the place in the index where a flow with this hash is looked up first.
    pub(super) fn prefetch_index(&self, hash: KeyHash) {
        let memory = &self.shards[hash.shard()].memory;
        let place = hash.tag() as usize & memory.mask.load(Ordering::Relaxed);
        let entries = std::ptr::without_provenance::<[u8; ENTRY]>(memory.entries.load(Ordering::Relaxed));
        prefetch(entries.wrapping_add(place));
    }

    /// Asks for the flow that probably has this hash. A wrong guess costs no more than that.
    pub(super) fn prefetch_flow(&self, hash: KeyHash) {
        let shard = &self.shards[hash.shard()];
        if let Some(slot) = shard.index.guess(hash) {
            let slots = shard.memory.slots.load(Ordering::Relaxed);
            prefetch(std::ptr::without_provenance::<[u8; Slots::SLOT]>(slots).wrapping_add(slot));
        }
    }

    /// Goes through all flows of a shard, some at a time.
    pub(super) fn walk(&self, number: usize) -> Walk<'_> {
        Walk {
            map: self,
            number,
            next: 0,
            _stays: self.walkers.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Lets all flows of a shard go.
    pub(super) fn clear(&self, number: usize) {
        let mut locked = self.shard(number);
        let index = &locked.shard.index;
        locked.flows.slots.clear(index);
        locked.note_memory();
    }

    /// Gives memory back after a burst, unless somebody goes through the slots just now.
    pub(super) fn shrink(&self) {
        let _nobody_walks = match self.walkers.try_write() {
            Ok(nobody) => nobody,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for number in 0..SHARDS {
            let mut locked = self.shard(number);
            let index = &locked.shard.index;
            locked.flows.slots.shrink(index, |key| self.hash(key));
            locked.note_memory();
        }
    }
}

impl Locked<'_> {
    pub(super) fn flows(&mut self) -> &mut Flows {
        &mut self.flows
    }

    /// The flow with `key`.
    pub(super) fn get(&mut self, hash: KeyHash, key: &FlowKey) -> Option<&mut FlowState> {
        let slot = self.flows.slots.find(hash, key)?;
        self.flows.slots.at(slot).map(|(_, state)| state)
    }

    /// Adds a flow that is not there yet, and returns its slot.
    pub(super) fn insert(&mut self, hash: KeyHash, key: FlowKey, state: FlowState) -> usize {
        let slot = self.flows.slots.insert(&self.shard.index, hash, key, state);
        self.note_memory();
        slot
    }

    fn note_memory(&self) {
        self.shard.memory.note(&self.flows.slots);
    }
}

/// The way through one shard. Each flow that is there from begin to end is met once.
pub(super) struct Walk<'a> {
    map: &'a FlowMap,
    number: usize,
    next: usize,
    _stays: RwLockReadGuard<'a, ()>,
}

impl<'a> Walk<'a> {
    /// The shard, locked, and some slots of it; `None` at the end.
    pub(super) fn next_run(&mut self) -> Option<(Locked<'a>, Range<usize>)> {
        let locked = self.map.shard(self.number);
        let run = locked.flows.slots.run(self.next, RUN)?;
        self.next = run.end;
        Some((locked, run))
    }
}

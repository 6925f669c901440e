//! The map from key to flow: a `dashmap` reached by shard, so that a key is hashed once for a packet
//! and its hash need not be stored.

use std::hash::BuildHasher;

use ahash::RandomState;
use dashmap::{DashMap, RwLockWriteGuard, SharedValue};

use crate::key::FlowKey;

use super::prefetch::prefetch;
use super::state::FlowState;

/// Shards of the map, and groups beside it.
pub(super) const SHARDS: usize = 256;

/// The hash of a key, computed once for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyHash(pub(super) u64);

impl KeyHash {
    /// The shard and the group of this hash.
    pub(super) fn shard(self) -> usize {
        // The bits below those that the map's slots are tagged with (the upper seven), and above
        // those that choose a slot.
        usize::try_from(self.0 >> 48 & 0xff).unwrap_or_default()
    }
}

type RawTable = hashbrown::raw::RawTable<(FlowKey, SharedValue<FlowState>)>;

/// See the [module's documentation](self).
pub(super) struct FlowMap {
    flows: DashMap<FlowKey, FlowState, Keyed>,
    hasher: Keyed,
}

/// The keyed hash of keys: five million flows made by an attacker are an ordinary input.
#[derive(Clone)]
pub(super) struct Keyed(RandomState);

impl Keyed {
    pub(super) fn hash(&self, key: &FlowKey) -> KeyHash {
        KeyHash(self.0.hash_one(key))
    }
}

impl BuildHasher for Keyed {
    type Hasher = <RandomState as BuildHasher>::Hasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// One shard, locked.
pub(super) struct Shard<'a> {
    table: RwLockWriteGuard<'a, RawTable>,
    hasher: &'a Keyed,
}

impl FlowMap {
    pub(super) fn new() -> Self {
        let hasher = Keyed(RandomState::new());
        Self {
            flows: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher.clone(), SHARDS),
            hasher,
        }
    }

    pub(super) fn hash(&self, key: &FlowKey) -> KeyHash {
        self.hasher.hash(key)
    }

    /// Locks the shard that holds keys of this hash.
    pub(super) fn shard(&self, hash: KeyHash) -> Shard<'_> {
        Shard {
            table: self.flows.shards()[hash.shard()].write(),
            hasher: &self.hasher,
        }
    }

    /// Asks for the memory of the flow that probably has this hash, which [`Self::shard`] will soon be
    /// called for. A wrong guess costs no more than that.
    pub(super) fn prefetch(&self, hash: KeyHash) {
        let shard = self.flows.shards()[hash.shard()].read();
        // The first slot with the hash's tag is taken for the right one, so that nothing of it is read.
        let _ = shard.find(hash.0, |flow| {
            prefetch(flow);
            true
        });
    }

    /// Gives memory back after a burst: shards far larger than what they hold are shrunk.
    pub(super) fn shrink(&self) {
        for shard in self.flows.shards() {
            let mut table = shard.write();
            if table.capacity() > 256 && table.len() < table.capacity() / 8 {
                table.shrink_to(0, |(key, _)| self.hasher.hash(key).0);
            }
        }
    }
}

impl Shard<'_> {
    /// The flow with `key`.
    pub(super) fn get(&mut self, hash: KeyHash, key: &FlowKey) -> Option<&mut FlowState> {
        self.table
            .get_mut(hash.0, |(k, _)| k == key)
            .map(|(_, state)| state.get_mut())
    }

    /// The flow whose key has this hash. Two keys with one keyed 64-bit hash are not to be expected;
    /// they would be taken for each other only here, where the order of eviction is at stake.
    pub(super) fn find(&mut self, hash: KeyHash) -> Option<(FlowKey, &mut FlowState)> {
        let hasher = self.hasher;
        self.table
            .get_mut(hash.0, |(key, _)| hasher.hash(key) == hash)
            .map(|(key, state)| (*key, state.get_mut()))
    }

    /// Adds a flow that is not there yet.
    pub(super) fn insert(&mut self, hash: KeyHash, key: FlowKey, state: FlowState) {
        let hasher = self.hasher;
        self.table
            .insert(hash.0, (key, SharedValue::new(state)), |(key, _)| {
                hasher.hash(key).0
            });
    }

    /// Takes a flow out.
    pub(super) fn remove(&mut self, hash: KeyHash, key: &FlowKey) {
        self.table.remove_entry(hash.0, |(k, _)| k == key);
    }
}

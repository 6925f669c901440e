//! A hash map whose copies share what did not change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;

/// Parts of a map. A change after a copy copies one part: 40 entries of 10,000, 400 of 100,000.
/// The copy itself counts up as many references, and an empty map is 2 KiB of them.
const SHARDS: usize = 256;

type Shard<K, V> = HashMap<K, V, RandomState>;

/// A hash map that is cheap to copy and, after that, cheap to change.
#[derive(Clone)]
pub(crate) struct ShardMap<K, V> {
    shards: Box<[Arc<Shard<K, V>>]>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Default for ShardMap<K, V> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(Shard::with_hasher(hasher.clone()));
        Self {
            shards: vec![empty; SHARDS].into(),
            hasher,
            len: 0,
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> ShardMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.shards[self.place(key)].get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key);
        // Asked first: a key that is not there copies nothing.
        if !self.shards[place].contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.shards[place]).get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.place(&key);
        let old = Arc::make_mut(&mut self.shards[place]).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key);
        if !self.shards[place].contains_key(key) {
            return None;
        }
        let old = Arc::make_mut(&mut self.shards[place]).remove(key);
        self.len -= usize::from(old.is_some());
        old
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    // Not the bits that the map within a shard is ordered by, its lowest and highest.
    fn place(&self, key: &K) -> usize {
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }
}

impl<K: Eq + Hash + Clone, V: Clone + Default> ShardMap<K, V> {
    pub(crate) fn entry(&mut self, key: &K) -> &mut V {
        let place = self.place(key);
        let shard = Arc::make_mut(&mut self.shards[place]);
        let before = shard.len();
        // The length is settled before the borrow is handed out.
        if !shard.contains_key(key) {
            shard.insert(key.clone(), V::default());
        }
        self.len += shard.len() - before;
        shard.entry(key.clone()).or_default()
    }
}

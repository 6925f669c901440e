//! What all watchers of one graph have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::graph::Graph;

use super::WatchOptions;
use super::health::Board;
use super::netns::NamespaceId;
use super::wake::Bell;
use super::wiring::{Port, Wiring};

/// What all watchers of one graph share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) graph: Arc<Graph>,
    pub(super) options: WatchOptions,
    pub(super) board: Board,
    pub(super) wiring: Wiring,
    pub(super) places: Places,
    /// Rung to have the processes looked through for new namespaces.
    pub(super) doorbell: Mailbox,
}

/// How one thread tells another to do something.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) bell: Bell,
    stopped: AtomicBool,
    /// Interfaces to look at again: at most as many as the host has.
    refresh: Mutex<BTreeSet<u32>>,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            bell: Bell::new()?,
            stopped: AtomicBool::new(false),
            refresh: Mutex::default(),
        })
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Has the owner look at interface `index` again.
    pub(super) fn refresh(&self, index: u32) {
        self.requests().insert(index);
        self.bell.ring();
    }

    pub(super) fn take_refreshes(&self) -> BTreeSet<u32> {
        std::mem::take(&mut self.requests())
    }

    fn requests(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A namespace that is watched.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: NamespaceId,
    /// Where it can be entered.
    pub(super) path: PathBuf,
    /// The name of its node; `None` for the one that flowtap runs in, whose interfaces are the host's.
    pub(super) name: Option<String>,
    pub(super) mailbox: Arc<Mailbox>,
}

/// The namespaces that are watched; as many as there are watchers.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_id: Mutex<BTreeMap<NamespaceId, Place>>,
    version: AtomicU64,
}

impl Places {
    pub(super) fn add(&self, place: Place) {
        self.places().insert(place.id, place);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove(&self, id: NamespaceId) {
        self.places().remove(&id);
    }

    pub(super) fn all(&self) -> Vec<Place> {
        self.places().values().cloned().collect()
    }

    pub(super) fn name(&self, id: NamespaceId) -> Option<String> {
        self.places().get(&id)?.name.clone()
    }

    /// Another number whenever there is a new place.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Has the watcher of an interface look at it again.
    pub(super) fn refresh(&self, port: Port) {
        if let Some(place) = self.places().get(&port.namespace) {
            place.mailbox.refresh(port.index);
        }
    }

    // Each change is one insert or remove.
    fn places(&self) -> MutexGuard<'_, BTreeMap<NamespaceId, Place>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How the watchers are: what `/readyz` and the status page show.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a watcher does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatcherState {
    /// It has not seen all that is there yet.
    #[default]
    Starting,
    /// What it watches is not there, which is no fault ([`WatcherHealth::last_error`] says what it
    /// waits for).
    Waiting,
    /// The graph shows what it watches.
    Running,
    /// Something failed ([`WatcherHealth::last_error`]); it tries again by itself.
    Retrying,
    /// It lacks a right that it will not get while the process runs; the rest goes on.
    Denied,
}

/// One watcher's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatcherHealth {
    /// What it watches: `host`, `namespaces`, `netlink` (the namespace flowtap runs in),
    /// `netlink NAME` (another one), `ovsdb`.
    pub name: String,
    /// What it does now.
    pub state: WatcherState,
    /// What went wrong last, and what to do about it; it stays when the watcher has recovered.
    pub last_error: Option<String>,
    /// What the graph lacks of it now although it is there, and what to do about it.
    pub missing: Option<String>,
    /// How often messages were lost and everything was read anew.
    pub resyncs: u64,
    /// Entries of lists (neighbours, routes, forwarding) that were left out because an interface has
    /// more than [`LIST_LIMIT`](super::LIST_LIMIT) of them, at the last look; for `namespaces`, how
    /// many namespaces were left out because of
    /// [`WatchOptions::max_namespaces`](super::WatchOptions::max_namespaces).
    pub left_out: u64,
}

/// All watchers' health. A namespace's entry goes away with its watcher.
#[derive(Clone, Debug, Default)]
pub(super) struct Board(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_id: BTreeMap<u64, WatcherHealth>,
}

impl Board {
    /// A new entry, for as long as the reporter lives.
    pub(super) fn reporter(&self, name: String) -> Reporter {
        let mut entries = self.entries();
        let id = entries.next;
        entries.next += 1;
        let health = WatcherHealth {
            name,
            ..WatcherHealth::default()
        };
        entries.by_id.insert(id, health);
        Reporter {
            board: self.clone(),
            id,
        }
    }

    /// All entries, oldest first.
    pub(super) fn all(&self) -> Vec<WatcherHealth> {
        self.entries().by_id.values().cloned().collect()
    }

    // Each change is one assignment, so what a panicked thread left is whole.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher's hold of its entry.
#[derive(Debug)]
pub(super) struct Reporter {
    board: Board,
    id: u64,
}

impl Reporter {
    pub(super) fn running(&self) {
        self.update(|health| health.state = WatcherState::Running);
    }

    /// Notes a failure that is tried again, or a lack of rights.
    pub(super) fn failed(&self, what: &str, error: &io::Error) {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        self.update(|health| {
            health.state = if denied {
                WatcherState::Denied
            } else {
                WatcherState::Retrying
            };
            health.last_error = Some(if denied {
                format!("{what}: {error}; it needs CAP_SYS_ADMIN and CAP_SYS_PTRACE")
            } else {
                format!("{what}: {error}")
            });
        });
    }

    /// Notes something that went wrong without stopping the watcher.
    pub(super) fn note(&self, error: String) {
        self.update(|health| health.last_error = Some(error));
    }

    /// Notes what the graph lacks from now on; `None`: nothing.
    pub(super) fn missing(&self, what: Option<String>) {
        self.update(|health| {
            if what.is_some() {
                health.last_error.clone_from(&what);
            }
            health.missing = what;
        });
    }

    pub(super) fn resynced(&self) {
        self.update(|health| health.resyncs += 1);
    }

    pub(super) fn left_out(&self, entries: u64) {
        self.update(|health| health.left_out = entries);
    }

    fn update(&self, change: impl FnOnce(&mut WatcherHealth)) {
        if let Some(health) = self.board.entries().by_id.get_mut(&self.id) {
            change(health);
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.board.entries().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_as_long_as_its_watcher() {
        let board = Board::default();
        let reporter = board.reporter("netlink blue".into());
        assert_eq!(board.all()[0].state, WatcherState::Starting);
        reporter.failed("entering /run/netns/blue", &io::Error::from_raw_os_error(1));
        let health = &board.all()[0];
        assert_eq!(health.state, WatcherState::Denied);
        let error = health.last_error.as_deref().unwrap();
        assert!(error.starts_with("entering /run/netns/blue: "), "{error}");
        assert!(error.contains("CAP_SYS_ADMIN"), "{error}");
        reporter.running();
        assert_eq!(board.all()[0].state, WatcherState::Running);
        drop(reporter);
        assert!(board.all().is_empty());
    }
}

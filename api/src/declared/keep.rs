//! Keeping declarations in force while the graph changes and time passes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flowtap_topology::{Change, Subscription};
use tokio::task::spawn_blocking;

use super::{Declared, Kind, State, now_ms};

/// The longest wait for the next expiry: whoever sets the clock forward sees it followed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long what could not be deleted at its time is left alone.
const RETRY: Duration = Duration::from_secs(5);

/// When declarations end that do not last.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    /// In milliseconds since the Unix epoch.
    by_id: HashMap<(Kind, String), i64>,
    by_time: BTreeSet<(i64, Kind, String)>,
}

impl Expiries {
    pub(super) fn insert(&mut self, kind: Kind, id: &str, at: i64) {
        self.remove(kind, id);
        self.by_id.insert((kind, id.to_owned()), at);
        self.by_time.insert((at, kind, id.to_owned()));
    }

    pub(super) fn restore(&mut self, kind: Kind, id: &str, at: Option<i64>) {
        if let Some(at) = at {
            self.insert(kind, id, at);
        }
    }

    pub(super) fn remove(&mut self, kind: Kind, id: &str) {
        let key = (kind, id.to_owned());
        if let Some(at) = self.by_id.remove(&key) {
            self.by_time.remove(&(at, key.0, key.1));
        }
    }

    pub(super) fn of(&self, kind: Kind, id: &str) -> Option<i64> {
        self.by_id.get(&(kind, id.to_owned())).copied()
    }

    /// When the next one ends.
    fn next(&self) -> Option<i64> {
        self.by_time.first().map(|(at, ..)| *at)
    }

    /// What has ended by `now`.
    fn due(&self, now: i64) -> Vec<(Kind, String)> {
        let due = self.by_time.iter().take_while(|(at, ..)| *at <= now);
        due.map(|(_, kind, id)| (*kind, id.clone())).collect()
    }
}

impl Declared {
    /// Links what waits for its ends, and deletes what has outlived its time. Never returns.
    pub(super) async fn keep(self: &Arc<Self>) {
        let (_, mut events) = self.graph.subscribe();
        self.beside(Self::mend).await;
        let mut patience = self.patience().await;
        loop {
            tokio::select! {
                lost = changed(&mut events) => {
                    if lost {
                        events = self.graph.subscribe().1;
                    }
                    self.beside(Self::mend).await;
                }
                () = tokio::time::sleep(patience) => {
                    let all_gone = self.beside(Self::expire).await.unwrap_or(false);
                    if !all_gone {
                        patience = RETRY;
                        continue;
                    }
                }
                () = self.expiries_changed.notified() => {}
            }
            patience = self.patience().await;
        }
    }

    /// Deletes what has outlived its time; returns whether all of it went.
    pub(super) fn expire(&self) -> bool {
        let mut state = self.state();
        let mut all_gone = true;
        for (kind, id) in state.expiries.due(now_ms()) {
            match self.remove(&mut state, kind, &id) {
                Ok(()) => tracing::info!(kind = kind.as_str(), %id, "deleted at the end of its time to live"),
                Err(super::DeclaredError::NotFound { .. }) => state.expiries.remove(kind, &id),
                Err(error) => {
                    all_gone = false;
                    tracing::error!(kind = kind.as_str(), %id, %error, "cannot be deleted at the end of its time to live");
                }
            }
        }
        all_gone
    }

    fn remove(&self, state: &mut State, kind: Kind, id: &str) -> Result<(), super::DeclaredError> {
        match kind {
            Kind::Node => self.remove_node(state, &id.into()),
            Kind::Edge => self.remove_edge(state, &id.into()),
            Kind::NodeRule => self.remove_node_rule(state, id),
            Kind::EdgeRule => self.remove_edge_rule(state, id),
        }
    }

    /// How long until something ends. Whoever changes something holds the state while the disk writes, so it
    /// is asked where it may take its time.
    async fn patience(self: &Arc<Self>) -> Duration {
        self.beside(Self::until_next).await.unwrap_or(RETRY)
    }

    fn until_next(&self) -> Duration {
        let Some(next) = self.state().expiries.next() else {
            return LONGEST_WAIT;
        };
        let wait = u64::try_from(next.saturating_sub(now_ms())).unwrap_or(0);
        Duration::from_millis(wait).min(LONGEST_WAIT)
    }

    /// Does `work` where it may block.
    async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let declared = Arc::clone(self);
        let done = spawn_blocking(move || work(&declared)).await;
        done.inspect_err(|error| tracing::error!(%error, "declarations could not be kept in force"))
            .ok()
    }
}

/// Waits for something that may let a waiting edge be, or took one away; returns whether events were
/// lost.
async fn changed(events: &mut Subscription) -> bool {
    let matters = |change: &Change| matches!(change, Change::NodeAdded(_) | Change::EdgeDeleted(_));
    loop {
        match events.next().await {
            Ok(event) if matters(&event.change) => break,
            Ok(_) => {}
            Err(_lagged) => return true,
        }
    }
    // What came with it is one piece of work.
    loop {
        match events.try_next() {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_lagged) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use flowtap_storage::{SqliteOptions, SqliteStore};
    use flowtap_topology::Graph;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_the_disk_holds_up_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path(), SqliteOptions::default()).unwrap();
        let declared = Declared::open(Arc::new(Graph::new("h")), store.resources()).unwrap();
        let keeping = Arc::clone(&declared);
        let keeping = tokio::spawn(async move { keeping.keep().await });
        // It comes to wait for something to happen.
        for _ in 0..100 {
            spawn_blocking(|| ()).await.unwrap();
        }
        let (locked, is_locked) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let holder = Arc::clone(&declared);
        let holder = std::thread::spawn(move || {
            let _state = holder.state();
            locked.send(()).unwrap();
            released.recv_timeout(Duration::from_secs(30))
        });
        is_locked.recv().unwrap();
        declared.expiries_changed.notify_one();
        // It asks when the next one ends, and waits; this task has its turn all the same.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        assert_eq!(holder.join().unwrap(), Ok(()), "the runtime stood still");
        keeping.abort();
    }

    #[test]
    fn the_next_expiry_is_the_earliest_and_each_is_once() {
        let mut expiries = Expiries::default();
        expiries.insert(Kind::Node, "a", 30);
        expiries.insert(Kind::Node, "b", 20);
        expiries.insert(Kind::Edge, "a", 10);
        expiries.insert(Kind::Edge, "a", 40);
        assert_eq!(expiries.next(), Some(20));
        assert_eq!(
            expiries.due(30),
            [(Kind::Node, "b".to_owned()), (Kind::Node, "a".to_owned())]
        );
        expiries.remove(Kind::Node, "b");
        expiries.remove(Kind::Node, "none");
        assert_eq!(
            (expiries.next(), expiries.of(Kind::Edge, "a")),
            (Some(30), Some(40))
        );
    }
}

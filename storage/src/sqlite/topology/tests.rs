//! What was is told as it was.

use std::path::Path;

use flowtap_topology::{Event, Metadata, Node, NodeSpec, OWNERSHIP};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::revisions::Revisions;
use super::*;
use crate::{SqliteOptions, SqliteStore};

mod crash;
mod metrics;
mod times;

const DEADLINE: Duration = Duration::from_secs(20);

fn store(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, SqliteOptions::default()).unwrap()
}

/// As much as there is.
fn budget() -> Budget {
    Budget::new(u64::MAX, u64::MAX, || true)
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

/// A time after all that has happened and before all that will.
fn between() -> i64 {
    let start = now_ms();
    while now_ms() <= start {}
    let between = now_ms();
    while now_ms() <= between {}
    between
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    let mut names: Vec<_> = snapshot
        .nodes()
        .map(|node| node.name().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

fn rows(path: &Path) -> u64 {
    let connection = Connection::open(path).unwrap();
    let count: i64 = connection
        .query_row("SELECT count(*) FROM topology_revision", [], |row| row.get(0))
        .unwrap();
    count.cast_unsigned()
}

struct Recorded {
    graph: Arc<Graph>,
    history: SqliteHistory,
    dir: TempDir,
    _store: SqliteStore,
}

impl Recorded {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let graph = Arc::new(Graph::new("h"));
        let store = store(dir.path());
        let history = store.record_topology(Arc::clone(&graph)).unwrap();
        // It follows the graph from here on: what was before its first look has one state.
        history.recorder.flush(|| true).unwrap();
        Self {
            graph,
            history,
            dir,
            _store: store,
        }
    }

    fn device(&self, name: &str) -> NodeId {
        let spec = NodeSpec::new(self.graph.host(), "device", name);
        self.graph.upsert_node(spec).unwrap()
    }

    fn at(&self, at: i64) -> Snapshot {
        self.history
            .slice(Slice::at(at), Wanted::Newest, &budget())
            .unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("catalog.db")
    }
}

#[test]
fn a_row_that_cannot_be_read_is_left_out() {
    let recorded = Recorded::new();
    recorded.device("tap0");
    recorded.device("tap1");
    let at = between();
    recorded.history.recorder.flush(|| true).unwrap();
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let damage = "UPDATE topology_revision SET body = ?1 WHERE body LIKE '%tap0%'";
    let connection = Connection::open(recorded.path()).unwrap();
    assert!(connection.execute(damage, [nested]).unwrap() > 0);
    assert!(names(&recorded.at(at)).contains(&"tap1".to_owned()));
}

#[test]
fn the_newest_revision_that_is_wanted_is_told() {
    let recorded = Recorded::new();
    let tap = recorded.device("tap0");
    let from = between();
    for vm in ["a", "b"] {
        recorded.graph.set_metadata(&tap, "VM", vm).unwrap();
        between();
        recorded.graph.set_metadata(&tap, "State", "UP").unwrap();
        between();
    }
    recorded.graph.edit(|edit| edit.remove_key(&tap, "VM")).unwrap();
    let to = between();
    recorded.graph.edit(|edit| edit.remove_node(&tap));
    let slice = Slice { from, to: now_ms() };
    let found = |slice: Slice, wanted: Wanted<'_>| {
        let snapshot = recorded.history.slice(slice, wanted, &budget()).unwrap();
        assert_eq!(names(&snapshot), ["h", "tap0"]);
        assert_eq!(snapshot.edge_count(), 1);
        let tap = snapshot.node(&tap).unwrap();
        (
            tap.revision,
            tap.metadata.get("VM").cloned(),
            tap.deleted_at.is_some(),
        )
    };
    let has = |vm: &'static str| move |node: &Node| node.metadata.get("VM").is_some_and(|found| found == vm);
    assert_eq!(found(slice, Wanted::Newest), (5, None, true));
    assert_eq!(found(slice, Wanted::Edge(&|_| true)), (5, None, true));
    assert_eq!(found(slice, Wanted::Node(&|_| true)), (5, None, true));
    assert_eq!(
        found(slice, Wanted::Node(&has("a"))),
        (3, Some(json!("a")), false)
    );
    assert_eq!(
        found(slice, Wanted::Node(&has("b"))),
        (4, Some(json!("b")), false)
    );
    assert_eq!(found(slice, Wanted::Node(&has("c"))), (5, None, true));
    // At one moment there is one.
    assert_eq!(found(Slice::at(to), Wanted::Node(&has("a"))), (5, None, false));
}

#[test]
fn a_life_is_told_before_during_and_after() {
    let recorded = Recorded::new();
    let before = between();
    let tap = recorded.device("tap0");
    recorded.graph.set_metadata(&tap, "State", "DOWN").unwrap();
    let during = between();
    recorded.graph.set_metadata(&tap, "State", "UP").unwrap();
    let up = between();
    recorded.graph.edit(|edit| edit.remove_node(&tap));
    // At once: nobody waits for a commit.
    assert_eq!(names(&recorded.at(before)), ["h"]);
    let down = recorded.at(during);
    assert_eq!(down.node(&tap).unwrap().metadata["State"], "DOWN");
    assert_eq!(down.node(&tap).unwrap().deleted_at, None);
    assert_eq!(down.owner(&tap).unwrap().name(), Some("h"));
    assert_eq!(recorded.at(up).node(&tap).unwrap().metadata["State"], "UP");
    assert_eq!(names(&recorded.at(between())), ["h"]);

    let whole = Slice {
        from: before,
        to: now_ms(),
    };
    let whole = recorded.history.slice(whole, Wanted::Newest, &budget()).unwrap();
    let tap = whole.node(&tap).unwrap();
    assert_eq!((&tap.metadata["State"], tap.revision), (&json!("UP"), 3));
    assert!(tap.deleted_at.is_some_and(|deleted| deleted >= up));
    assert_eq!(whole.edge_count(), 1);
}

#[test]
fn metrics_are_no_revisions() {
    let recorded = Recorded::new();
    let tap = recorded.device("tap0");
    recorded.history.recorder.flush(|| true).unwrap();
    let before = rows(&recorded.path());
    for packets in 0..100 {
        recorded
            .graph
            .update_metrics(&tap, "Metric", |metric| *metric = json!({"RxPackets": packets}))
            .unwrap();
    }
    recorded.graph.set_metadata(&tap, "State", "UP").unwrap();
    recorded.history.recorder.flush(|| true).unwrap();
    let after = rows(&recorded.path());
    // That it counts is a revision, and so is its state, if what was before lasted a millisecond.
    assert!(
        (before..=before + 2).contains(&after),
        "{before} rows became {after}"
    );
}

#[test]
fn events_that_were_missed_are_made_up_for() {
    let recorded = Recorded::new();
    let gone = recorded.device("gone");
    recorded.history.recorder.flush(|| true).unwrap();
    let host = recorded.graph.host().clone();
    recorded.graph.edit(|edit| {
        // More events at once than are kept for a subscriber.
        for number in 0..20_000 {
            let spec = NodeSpec::new(&host, "device", "tap0").with("Number", number);
            edit.upsert_node(spec).unwrap();
        }
        edit.remove_node(&gone);
    });
    // When each of them was cannot be known; from here on it is right.
    recorded.history.recorder.flush(|| true).unwrap();
    assert_eq!(recorded.at(between()), *recorded.graph.snapshot());
}

#[test]
fn a_write_that_fails_is_told_and_made_up_for() {
    let recorded = Recorded::new();
    recorded.history.recorder.flush(|| true).unwrap();
    let other = Connection::open(recorded.path()).unwrap();
    let trigger = "CREATE TRIGGER broken BEFORE INSERT ON topology_revision
                   BEGIN SELECT raise(ABORT, 'the disk is on fire'); END";
    other.execute_batch(trigger).unwrap();
    recorded.device("tap0");
    let error = recorded
        .history
        .slice(Slice::at(now_ms()), Wanted::Newest, &budget())
        .unwrap_err();
    assert!(error.to_string().contains("the disk is on fire"), "{error}");
    other.execute_batch("DROP TRIGGER broken").unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    let whole = loop {
        match recorded
            .history
            .slice(Slice::at(now_ms()), Wanted::Newest, &budget())
        {
            Ok(whole) => break whole,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!(names(&whole), ["h", "tap0"]);
}

#[test]
fn a_stop_writes_everything_and_the_past_stays() {
    let mut recorded = Recorded::new();
    recorded.device("tap0");
    recorded.history.stop(DEADLINE).unwrap();
    recorded.history.stop(DEADLINE).unwrap();
    let then = between();
    recorded
        .graph
        .set_metadata(recorded.graph.host(), "Late", true)
        .unwrap();
    assert_eq!(names(&recorded.at(then)), ["h", "tap0"]);

    // Another run, that sees other things.
    let Recorded {
        dir, history, _store, ..
    } = recorded;
    drop((history, _store));
    let store = store(dir.path());
    let graph = Arc::new(Graph::new("h"));
    let history = store.record_topology(Arc::clone(&graph)).unwrap();
    recorded = Recorded {
        graph,
        history,
        dir,
        _store: store,
    };
    assert_eq!(names(&recorded.at(between())), ["h"], "tap0 is not here any more");
    let past = recorded
        .history
        .slice(
            Slice {
                from: 0,
                to: now_ms(),
            },
            Wanted::Newest,
            &budget(),
        )
        .unwrap();
    assert_eq!(names(&past), ["h", "tap0"]);
    assert!(
        past.nodes().all(|node| node.deleted_at.is_none()),
        "nobody saw them go"
    );
}

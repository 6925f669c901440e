//! What was counted is told as it was; and what a question may cost.

use std::sync::atomic::{AtomicU64, Ordering};

use super::times::Written;
use super::*;
use crate::sqlite::schema;

fn interval(node: &str, metric: NodeMetric, start: i64, packets: u64) -> Interval {
    Interval {
        node: NodeId::from(node),
        metric,
        start,
        last: start + 10,
        counters: Metadata::from_iter([("RxPackets".to_owned(), packets.into())]),
    }
}

/// What the nodes counted within a time, oldest first.
fn counted(path: &Path, metric: NodeMetric, nodes: &[&str], from: i64, to: i64) -> Vec<(String, i64, u64)> {
    let nodes = nodes.iter().map(|id| NodeId::from(*id)).collect();
    let found = read::intervals(path, metric, &nodes, Slice { from, to }, &budget()).unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|interval| {
            let packets = interval.counters["RxPackets"].as_u64().unwrap();
            (interval.node.as_str().to_owned(), interval.start, packets)
        })
        .collect();
    found.sort_unstable_by_key(|(node, start, _)| (*start, node.clone()));
    found
}

#[test]
fn intervals_are_found_by_node_and_time() {
    use NodeMetric::{Interface, Ovs, SFlow};
    let mut written = Written::new();
    let all = [
        interval("a", Interface, 0, 1),
        interval("a", Interface, 10, 2),
        interval("b", Interface, 10, 3),
        interval("a", Ovs, 10, 4),
        interval("a", SFlow, 10, 5),
        interval("a", Interface, 20, 6),
    ];
    written.revisions.record(&[], &all, 40).unwrap();
    let found = |metric, nodes: &[&str], from, to| counted(&written.path, metric, nodes, from, to);
    let a = || "a".to_owned();
    assert_eq!(
        found(Interface, &["a"], 0, 30),
        [(a(), 0, 1), (a(), 10, 2), (a(), 20, 6)]
    );
    assert_eq!(
        found(Interface, &["a"], 1, 29),
        [(a(), 10, 2)],
        "whole intervals alone"
    );
    assert_eq!(
        found(Interface, &["a", "b"], 10, 20),
        [(a(), 10, 2), ("b".to_owned(), 10, 3)]
    );
    assert_eq!(found(Ovs, &["a", "b"], 0, 30), [(a(), 10, 4)]);
    assert_eq!(found(SFlow, &["a"], 0, 30), [(a(), 10, 5)]);
    assert_eq!(found(SFlow, &["b"], 0, 30), []);
}

#[test]
fn old_intervals_go_by_age_and_by_number() {
    let mut written = Written::new();
    for batch in 0..6 {
        let of_batch = |number| interval("a", NodeMetric::Interface, batch * 1_000 + number, 1);
        let all: Vec<_> = (0..1_000).map(of_batch).collect();
        written.revisions.record(&[], &all, batch * 1_000).unwrap();
    }
    let count = |path: &Path| counted(path, NodeMetric::Interface, &["a"], 0, i64::MAX).len();
    assert_eq!(count(&written.path), 6_000);
    let retention = |age, intervals| Retention {
        age,
        revisions: 10,
        intervals,
    };
    let by_age = retention(Some(Duration::from_millis(1_000)), u64::MAX);
    written.revisions.retain(6_010, by_age).unwrap();
    assert_eq!(count(&written.path), 1_000);
    written.revisions.retain(6_010, retention(None, 7)).unwrap();
    let left = counted(&written.path, NodeMetric::Interface, &["a"], 0, i64::MAX);
    assert_eq!((left.len(), left[0].1), (7, 5_993), "the newest stay");
    written.revisions.retain(6_010, retention(None, 0)).unwrap();
    assert_eq!(count(&written.path), 0);
}

#[test]
fn what_a_watcher_shows_is_recorded_and_outlives_the_process() {
    let recorded = Recorded::new();
    let tap = recorded.device("tap0");
    let began = now_ms();
    let show = |after: i64, packets: u64| {
        let start = began + after;
        let metric = json!({"RxPackets": packets, "Start": start, "Last": start + 10});
        let update = |shown: &mut serde_json::Value| *shown = metric;
        recorded
            .graph
            .update_metrics(&tap, "LastUpdateMetric", update)
            .unwrap();
    };
    show(100, 1);
    show(110, 2);
    show(110, 2);
    let of_tap = std::collections::HashSet::from([tap.clone()]);
    let all = Slice {
        from: began,
        to: began + 1_000,
    };
    let intervals = |history: &SqliteHistory| {
        let found = history.intervals(NodeMetric::Interface, &of_tap, all, &budget());
        found.unwrap().len()
    };
    assert_eq!(intervals(&recorded.history), 2, "at once, and each once");
    show(120, 3);
    recorded.history.stop(DEADLINE).unwrap();
    show(130, 4);
    assert_eq!(intervals(&recorded.history), 3);
    let Recorded {
        dir, history, _store, ..
    } = recorded;
    drop((history, _store));
    let again = store(dir.path())
        .record_topology(Arc::new(Graph::new("h")))
        .unwrap();
    assert_eq!(intervals(&again), 3);
}

#[test]
fn a_node_that_begins_to_count_has_counters_in_its_past() {
    let recorded = Recorded::new();
    let tap = recorded.device("tap0");
    let before = between();
    for packets in 1..4 {
        let update = |metric: &mut serde_json::Value| *metric = json!({"RxPackets": packets});
        recorded.graph.update_metrics(&tap, "Metric", update).unwrap();
    }
    let has_metric = |at| {
        recorded
            .at(at)
            .node(&tap)
            .unwrap()
            .metadata
            .contains_key("Metric")
    };
    assert_eq!((has_metric(before), has_metric(between())), (false, true));
}

#[test]
fn a_catalog_of_before_takes_them_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    drop(schema::open(&path, &schema::CATALOG[..2]).unwrap());
    let mut revisions = Revisions::open(&path).unwrap();
    let all = [interval("a", NodeMetric::Interface, 0, 1)];
    revisions.record(&[], &all, 40).unwrap();
    assert_eq!(counted(&path, NodeMetric::Interface, &["a"], 0, 40).len(), 1);
}

/// Revisions that end after `slice` begins, which is all that the index tells, and began after its end.
fn fill(path: &Path, rows: u32) {
    let connection = Connection::open(path).unwrap();
    let sql =
        "INSERT INTO topology_revision (kind, id, valid_from, valid_to, deleted, created_at, revision, body)
               WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               SELECT 0, 'n' || i, 1000, 2000, 0, 1000, 1, json_object('ID', 'n' || i) FROM n";
    connection.execute(sql, [rows]).unwrap();
}

#[test]
fn a_question_that_nobody_waits_for_ends() {
    let written = Written::new();
    fill(&written.path, 300_000);
    for slice in [Slice::at(500), Slice::at(1_500)] {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        let budget = Budget::new(u64::MAX, u64::MAX, move || {
            counted.fetch_add(1, Ordering::SeqCst) < 3
        });
        let given_up = read::slice(&written.path, slice, Wanted::Newest, &budget).unwrap_err();
        assert!(matches!(given_up, HistoryError::Cancelled), "{given_up}");
        assert_eq!(
            asked.load(Ordering::SeqCst),
            4,
            "it goes on after a no, or never asks"
        );
    }
}

#[test]
fn a_question_has_what_memory_it_is_given() {
    let written = Written::new();
    fill(&written.path, 1_000);
    let ask = |rows, bytes| {
        let found = read::slice(
            &written.path,
            Slice::at(1_500),
            Wanted::Newest,
            &Budget::new(rows, bytes, || true),
        );
        found.map(|found| found.len()).map_err(|error| error.to_string())
    };
    assert_eq!(ask(1_000, 1 << 20), Ok(1_000));
    assert_eq!(
        ask(999, 1 << 20),
        Err("more than 999 nodes and edges match; narrow the time".to_owned())
    );
    assert_eq!(
        ask(1_000, 100_000),
        Err("the nodes and edges that match take more than 100000 bytes; narrow the time".to_owned())
    );
}

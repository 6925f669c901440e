//! Revisions written with times of our own.

use std::collections::HashMap;

use flowtap_topology::{Change, EdgeId, Subscription};
use proptest::prelude::*;

use super::*;

pub(super) struct Written {
    pub(super) revisions: Revisions,
    pub(super) path: PathBuf,
    _dir: TempDir,
}

impl Written {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        Self {
            revisions: Revisions::open(&path).unwrap(),
            path,
            _dir: dir,
        }
    }

    fn slice(&self, from: i64, to: i64) -> Snapshot {
        read::slice(&self.path, Slice { from, to }, Wanted::Newest, &budget()).unwrap()
    }
}

/// What has happened since the last call, as if at `at`.
fn events(events: &mut Subscription, at: i64) -> Vec<Arc<Event>> {
    let all = std::iter::from_fn(|| events.try_next().unwrap());
    all.map(|event| {
        Arc::new(Event {
            at,
            ..Event::clone(&event)
        })
    })
    .collect()
}

fn spec(graph: &Graph, name: &str) -> NodeId {
    graph
        .upsert_node(NodeSpec::new(graph.host(), "device", name))
        .unwrap()
}

#[test]
fn a_revision_begins_with_its_time_and_ends_before_the_next() {
    let mut written = Written::new();
    let graph = Graph::new("h");
    let (_, mut subscription) = graph.subscribe();
    let id = spec(&graph, "tap0");
    written
        .revisions
        .record(&events(&mut subscription, 100), &[], 100)
        .unwrap();
    graph.set_metadata(&id, "MTU", 1500).unwrap();
    graph.set_metadata(&id, "MTU", 9000).unwrap();
    written
        .revisions
        .record(&events(&mut subscription, 200), &[], 200)
        .unwrap();
    graph.edit(|edit| edit.remove_node(&id));
    written
        .revisions
        .record(&events(&mut subscription, 300), &[], 300)
        .unwrap();
    let mtu = |from, to| {
        let slice = written.slice(from, to);
        let node = slice.node(&id)?;
        Some((node.metadata.get("MTU").cloned(), node.deleted_at))
    };
    assert_eq!(mtu(99, 99), None);
    assert_eq!(mtu(100, 100), Some((None, None)));
    assert_eq!(mtu(199, 199), Some((None, None)));
    assert_eq!(
        mtu(200, 200),
        Some((Some(json!(9000)), None)),
        "the last of that time"
    );
    assert_eq!(mtu(100, 299), Some((Some(json!(9000)), None)));
    assert_eq!(mtu(299, 300), Some((Some(json!(9000)), Some(300))));
    assert_eq!(mtu(300, 300), None);
    assert_eq!(mtu(300, i64::MAX - 1), None);
}

#[test]
fn what_was_open_ends_with_the_last_heartbeat() {
    let mut written = Written::new();
    let graph = Graph::new("h");
    let (_, mut subscription) = graph.subscribe();
    let id = spec(&graph, "tap0");
    written
        .revisions
        .record(&events(&mut subscription, 100), &[], 100)
        .unwrap();
    written.revisions.record(&[], &[], 150).unwrap();
    written.revisions = Revisions::open(&written.path).unwrap();
    assert!(written.slice(149, 149).node(&id).is_some());
    assert!(written.slice(150, 150).is_empty());
    // It is seen again, the same as before: a revision of its own, for nobody knows what was between.
    let (snapshot, _) = graph.subscribe();
    written.revisions.reconcile(&snapshot, now_ms()).unwrap();
    assert!(written.slice(now_ms(), now_ms()).node(&id).is_some());
    let rows_before = rows(&written.path);
    written.revisions.reconcile(&snapshot, now_ms()).unwrap();
    assert_eq!(
        rows(&written.path),
        rows_before,
        "nothing changed, nothing is written"
    );
}

#[test]
fn old_revisions_go_by_age_and_by_number_but_what_is_stays() {
    let mut written = Written::new();
    let graph = Graph::new("h");
    let (_, mut subscription) = graph.subscribe();
    let id = spec(&graph, "tap0");
    written
        .revisions
        .record(&events(&mut subscription, 0), &[], 0)
        .unwrap();
    for at in 1..=5_000 {
        graph.set_metadata(&id, "MTU", at).unwrap();
        if at % 1_000 == 0 {
            let mut all = Vec::new();
            for (event, at) in events(&mut subscription, 0).iter().zip(at - 999..) {
                all.push(Arc::new(Event {
                    at,
                    ..Event::clone(event)
                }));
            }
            written.revisions.record(&all, &[], at).unwrap();
        }
    }
    assert_eq!(rows(&written.path), 5_002, "the edge, and each state of the node");
    let age = |millis| Retention {
        age: Some(Duration::from_millis(millis)),
        revisions: u64::MAX,
        intervals: 10,
    };
    written.revisions.retain(5_000, age(500)).unwrap();
    assert_eq!(
        written.slice(4_500, 4_500).node(&id).unwrap().metadata["MTU"],
        4_500
    );
    assert!(written.slice(4_498, 4_498).node(&id).is_none());
    let number = Retention {
        age: None,
        revisions: 10,
        intervals: 10,
    };
    written.revisions.retain(5_000, number).unwrap();
    assert_eq!(rows(&written.path), 10);
    let none = Retention {
        age: Some(Duration::ZERO),
        revisions: 0,
        intervals: 10,
    };
    written.revisions.retain(i64::MAX / 2_000_000, none).unwrap();
    assert_eq!(rows(&written.path), 2, "what still is");
    assert_eq!(
        written.slice(6_000, 6_000).node(&id).unwrap().metadata["MTU"],
        5_000
    );
}

/// What a writer does.
#[derive(Clone, Debug)]
enum Act {
    Add(u8),
    Set(u8, u8),
    Link(u8, u8),
    Remove(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..5u8).prop_map(Act::Add),
        3 => (0..5u8, 0..3u8).prop_map(|(node, value)| Act::Set(node, value)),
        2 => (0..5u8, 0..5u8).prop_map(|(a, b)| Act::Link(a, b)),
        1 => (0..5u8).prop_map(Act::Remove),
    ]
}

fn perform(graph: &Graph, acts: &[Act]) {
    let id = |number: &u8| NodeId::from(format!("n{number}"));
    graph.edit(|edit| {
        for act in acts {
            // What cannot be done (no such node, or it is there) is not.
            let _refused = match act {
                Act::Add(node) => {
                    let new = flowtap_topology::NewNode {
                        id: Some(id(node)),
                        ..Default::default()
                    };
                    edit.put_node(new).map(drop)
                }
                Act::Set(node, value) => edit.set_metadata(&id(node), "MTU", *value),
                Act::Link(a, b) => edit.link(&id(a), &id(b), OWNERSHIP, Metadata::new()).map(drop),
                Act::Remove(node) => {
                    edit.remove_node(&id(node));
                    Ok(())
                }
            };
        }
    });
}

/// Of each element that was there in one of `snapshots`, the newest: its metadata, and whether it went.
fn expected(snapshots: &[Arc<Snapshot>]) -> (HashMap<NodeId, (Metadata, bool)>, HashMap<EdgeId, bool>) {
    let (mut nodes, mut edges) = (HashMap::new(), HashMap::new());
    for snapshot in snapshots {
        nodes.values_mut().for_each(|(_, gone)| *gone = true);
        edges.values_mut().for_each(|gone| *gone = true);
        for node in snapshot.nodes() {
            nodes.insert(node.id.clone(), (node.metadata.clone(), false));
        }
        for edge in snapshot.edges() {
            edges.insert(edge.id.clone(), false);
        }
    }
    (nodes, edges)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_slice_is_what_was(edits in prop::collection::vec(prop::collection::vec(act(), 1..4), 1..12), batch in 1..5usize) {
        let mut written = Written::new();
        let graph = Graph::new("h");
        let (start, mut subscription) = graph.subscribe();
        // The host's own time is now; it is all that is not the model's.
        let host = Event { sequence: 1, at: 0, change: Change::NodeAdded(start.nodes().next().unwrap().clone()) };
        let mut pending = vec![Arc::new(host)];
        let mut snapshots = vec![start];
        for (number, acts) in edits.iter().enumerate() {
            perform(&graph, acts);
            let at = i64::try_from(number + 1).unwrap() * 10;
            pending.extend(events(&mut subscription, at));
            snapshots.push(graph.snapshot());
            if number % batch == 0 {
                written.revisions.record(&std::mem::take(&mut pending), &[], at).unwrap();
            }
        }
        written.revisions.record(&pending, &[], i64::MAX / 2).unwrap();
        for from in 0..snapshots.len() {
            for to in from..snapshots.len() {
                let time = |place: usize| i64::try_from(place).unwrap() * 10 + 5;
                let slice = written.slice(time(from), time(to));
                let nodes = slice.nodes().map(|node| {
                    (node.id.clone(), (node.metadata.clone(), node.deleted_at.is_some()))
                });
                let edges = slice.edges().map(|edge| (edge.id.clone(), edge.deleted_at.is_some()));
                let (expected_nodes, expected_edges) = expected(&snapshots[from..=to]);
                prop_assert_eq!(nodes.collect::<HashMap<_, _>>(), expected_nodes);
                prop_assert_eq!(edges.collect::<HashMap<_, _>>(), expected_edges);
            }
        }
    }
}

//! Whatever writers do, events tell the whole of it, and identities follow the owner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flowtap_topology::{
    Change, Edit, Event, Graph, Metadata, NewNode, Node, NodeId, NodeSpec, OWNERSHIP, Snapshot, Tid,
    TopologyError,
};
use proptest::prelude::*;
use serde_json::json;

/// What a writer does. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Act {
    Upsert(usize, u8),
    Put(u8),
    Rename(usize, u8),
    Merge(usize, u8),
    Replace(usize, u8),
    RemoveKey(usize, u8),
    Link(usize, usize, u8),
    Relate(usize, u8),
    Unlink(usize),
    Remove(usize),
    RemoveTree(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let n = 0..usize::MAX;
    prop_oneof![
        4 => (n.clone(), 0..4u8).prop_map(|(owner, name)| Act::Upsert(owner, name)),
        2 => (0..4u8).prop_map(Act::Put),
        2 => (n.clone(), 0..4u8).prop_map(|(node, name)| Act::Rename(node, name)),
        2 => (n.clone(), 0..3u8).prop_map(|(node, value)| Act::Merge(node, value)),
        1 => (n.clone(), 0..4u8).prop_map(|(node, name)| Act::Replace(node, name)),
        1 => (n.clone(), 0..3u8).prop_map(|(node, key)| Act::RemoveKey(node, key)),
        4 => (n.clone(), n.clone(), 0..2u8).prop_map(|(parent, child, relation)| Act::Link(parent, child, relation)),
        1 => (n.clone(), 0..2u8).prop_map(|(edge, relation)| Act::Relate(edge, relation)),
        1 => n.clone().prop_map(Act::Unlink),
        1 => n.clone().prop_map(Act::Remove),
        1 => n.prop_map(Act::RemoveTree),
    ]
}

fn name(number: u8) -> String {
    format!("eth{number}")
}

fn relation(number: u8) -> &'static str {
    [OWNERSHIP, "layer2"][usize::from(number)]
}

fn nth_node(edit: &Edit<'_>, number: usize) -> NodeId {
    let mut ids: Vec<_> = edit.snapshot().nodes().map(|node| node.id.clone()).collect();
    ids.sort_unstable();
    ids[number % ids.len()].clone()
}

fn perform(edit: &mut Edit<'_>, act: &Act) -> Result<(), TopologyError> {
    let named = |number: u8| {
        Metadata::from_iter([
            ("Name".to_owned(), json!(name(number))),
            ("Type".to_owned(), json!("device")),
        ])
    };
    let nth_edge = |edit: &Edit<'_>, number: usize| {
        let mut ids: Vec<_> = edit.snapshot().edges().map(|edge| edge.id.clone()).collect();
        ids.sort_unstable();
        (!ids.is_empty()).then(|| ids[number % ids.len()].clone())
    };
    match act {
        Act::Upsert(owner, number) => {
            let owner = nth_node(edit, *owner);
            edit.upsert_node(NodeSpec::new(&owner, "device", &name(*number)))
                .map(drop)
        }
        Act::Put(number) => {
            let metadata = named(*number);
            edit.put_node(NewNode {
                metadata,
                ..NewNode::default()
            })
            .map(drop)
        }
        Act::Rename(node, number) => {
            let node = nth_node(edit, *node);
            edit.set_metadata(&node, "Name", name(*number))
        }
        Act::Merge(node, value) => {
            let node = nth_node(edit, *node);
            edit.set_metadata(&node, "MTU", *value)
        }
        Act::Replace(node, number) => {
            let node = nth_node(edit, *node);
            edit.replace_metadata(&node, named(*number))
        }
        Act::RemoveKey(node, key) => {
            let node = nth_node(edit, *node);
            edit.remove_key(&node, ["MTU", "Name", "TID"][usize::from(*key)])
        }
        Act::Link(parent, child, number) => {
            let (parent, child) = (nth_node(edit, *parent), nth_node(edit, *child));
            edit.link(&parent, &child, relation(*number), Metadata::new())
                .map(drop)
        }
        Act::Relate(edge, number) => match nth_edge(edit, *edge) {
            Some(edge) => {
                let metadata = Metadata::from_iter([("RelationType".to_owned(), json!(relation(*number)))]);
                edit.merge_edge_metadata(&edge, metadata)
            }
            None => Ok(()),
        },
        Act::Unlink(edge) => {
            if let Some(edge) = nth_edge(edit, *edge) {
                assert!(edit.unlink(&edge));
            }
            Ok(())
        }
        Act::Remove(node) => {
            let node = nth_node(edit, *node);
            edit.remove_node(&node);
            Ok(())
        }
        Act::RemoveTree(node) => {
            let node = nth_node(edit, *node);
            edit.remove_tree(&node);
            Ok(())
        }
    }
}

/// `event` follows from the graph before it.
fn check_event(before: &Snapshot, event: &Event) {
    assert_eq!(event.sequence, before.sequence() + 1, "no gap");
    let follows = |node: &Arc<Node>, old: &Arc<Node>| {
        assert_eq!(before.node(&node.id), Some(old));
        assert_eq!(node.revision, old.revision + 1);
        assert_ne!(node.metadata, old.metadata);
    };
    match &event.change {
        Change::NodeAdded(node) => assert_eq!(before.node(&node.id), None),
        Change::NodeUpdated { node, before } => follows(node, before),
        Change::NodeDeleted(node) => {
            assert!(before.node(&node.id).is_some() && node.deleted_at == Some(event.at));
            assert!(before.in_edges(&node.id).is_empty(), "edges go first");
            assert!(before.out_edges(&node.id).is_empty(), "edges go first");
        }
        Change::EdgeAdded(edge) => {
            assert_eq!(before.edge(&edge.id), None);
            assert!(before.node(&edge.parent).is_some() && before.node(&edge.child).is_some());
        }
        Change::EdgeUpdated { edge, before: old } => {
            assert_eq!(before.edge(&edge.id), Some(old));
            assert_eq!(edge.revision, old.revision + 1);
        }
        Change::EdgeDeleted(edge) => {
            assert!(before.edge(&edge.id).is_some() && edge.deleted_at == Some(event.at));
        }
    }
}

fn check_identities(graph: &Graph, snapshot: &Snapshot) {
    let mut by_tid: HashMap<Tid, HashSet<NodeId>> = HashMap::new();
    for node in snapshot.nodes() {
        let owners = snapshot
            .in_edges(&node.id)
            .iter()
            .filter(|edge| edge.is_ownership());
        assert!(owners.count() <= 1, "one owner");
        let owner = snapshot.owner(&node.id).and_then(|owner| owner.tid());
        let expected = match owner {
            _ if node.id == *graph.host() => Some(graph.host_tid().clone()),
            Some(owner) => node
                .name()
                .zip(node.node_type())
                .map(|(name, kind)| Tid::owned(&owner, name, kind)),
            None => None,
        };
        assert_eq!(node.tid(), expected, "{node:?}");
        if let Some(tid) = expected {
            by_tid.entry(tid).or_default().insert(node.id.clone());
        }
    }
    for (tid, nodes) in by_tid {
        let found = snapshot.by_tid(&tid).expect("a TID that a node has is found");
        assert!(nodes.contains(&found.id));
    }
}

fn check_adjacency(snapshot: &Snapshot) {
    let mut seen = 0;
    for node in snapshot.nodes() {
        for edge in snapshot.out_edges(&node.id) {
            assert_eq!(edge.parent, node.id);
            assert!(Arc::ptr_eq(snapshot.edge(&edge.id).expect("an edge"), edge));
            seen += 1;
        }
        for edge in snapshot.in_edges(&node.id) {
            assert_eq!(edge.child, node.id);
            assert!(Arc::ptr_eq(snapshot.edge(&edge.id).expect("an edge"), edge));
            seen += 1;
        }
    }
    assert_eq!(seen, 2 * snapshot.edge_count());
}

proptest! {
    #[test]
    fn events_are_the_whole_difference(edits in prop::collection::vec(prop::collection::vec(act(), 1..5), 1..30)) {
        let graph = Graph::new("h");
        let (start, mut events) = graph.subscribe();
        let mut followed = Snapshot::clone(&start);
        let untouched = Snapshot::of(start.nodes().cloned(), start.edges().cloned());
        for acts in &edits {
            graph.edit(|edit| for act in acts {
                // A refusal (a cycle, an owner without TID) is a proper answer, and changes nothing.
                let before = edit.snapshot().sequence();
                if perform(edit, act).is_err() {
                    assert_eq!(edit.snapshot().sequence(), before);
                }
            });
            while let Some(event) = events.try_next().expect("no lag") {
                check_event(&followed, &event);
                followed.apply(&event);
            }
            let now = graph.snapshot();
            prop_assert_eq!(&followed, &*now);
            prop_assert_eq!(followed.sequence(), now.sequence());
            check_identities(&graph, &followed);
            check_identities(&graph, &now);
            check_adjacency(&followed);
        }
        prop_assert_eq!(&*start, &untouched, "a snapshot does not change");
    }
}

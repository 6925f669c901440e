//! What holds of the graph.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::{
    Change, Event, Graph, Lagged, Metadata, NewEdge, NewNode, Node, NodeId, NodeSpec, OWNERSHIP, Snapshot,
    Subscription, Tid, TopologyError,
};

mod identities;

fn own(graph: &Graph, owner: &NodeId, node_type: &str, name: &str) -> NodeId {
    graph.upsert_node(NodeSpec::new(owner, node_type, name)).unwrap()
}

fn put(graph: &Graph, metadata: serde_json::Value) -> NodeId {
    let serde_json::Value::Object(metadata) = metadata else {
        panic!("not an object: {metadata}")
    };
    let node = NewNode {
        metadata,
        ..NewNode::default()
    };
    graph.edit(|edit| edit.put_node(node)).unwrap()
}

fn agent(graph: &Graph) -> NodeId {
    own(graph, graph.host(), "sflowagent", "10.0.0.11")
}

fn node(graph: &Graph, id: &NodeId) -> Arc<Node> {
    graph.node(id).unwrap()
}

fn pending(events: &mut Subscription) -> Vec<Arc<Event>> {
    std::iter::from_fn(|| events.try_next().unwrap()).collect()
}

/// One word for each event: what, and of which node or relation.
fn told(events: &mut Subscription) -> Vec<String> {
    let name = |node: &Node| node.name().unwrap_or("?").to_owned();
    let words = |event: &Arc<Event>| match &event.change {
        Change::NodeAdded(node) => format!("+{}", name(node)),
        Change::NodeUpdated { node, .. } => format!("~{}", name(node)),
        Change::NodeDeleted(node) => format!("-{}", name(node)),
        Change::EdgeAdded(edge) => format!("+{}", edge.relation()),
        Change::EdgeUpdated { edge, .. } => format!("~{}", edge.relation()),
        Change::EdgeDeleted(edge) => format!("-{}", edge.relation()),
    };
    pending(events).iter().map(words).collect()
}

#[test]
fn json_is_skydives() {
    let graph = Graph::new("compute-1");
    let id = agent(&graph);
    let json = serde_json::to_value(node(&graph, &id)).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "CreatedAt",
            "DeletedAt",
            "Host",
            "ID",
            "Metadata",
            "Origin",
            "Revision",
            "UpdatedAt"
        ]
    );
    assert_eq!(json["Metadata"]["Type"], "sflowagent");
    assert_eq!(json["Origin"], "agent.compute-1");
    assert!(json["DeletedAt"].is_null());
    assert_eq!(serde_json::from_value::<Node>(json).unwrap(), *node(&graph, &id));
    let edge = serde_json::to_value(&graph.edges()[0]).unwrap();
    assert_eq!(edge["Metadata"], json!({"RelationType": "ownership"}));
    assert_eq!(edge["Parent"], graph.host().as_str());
    assert_eq!(edge["Child"], id.as_str());
}

#[test]
fn a_node_of_another_program_needs_little() {
    let node: Node = serde_json::from_value(json!({"ID": "a", "Metadata": {"Name": "x"}})).unwrap();
    assert_eq!(
        (node.name(), node.revision, node.deleted_at),
        (Some("x"), 0, None)
    );
}

#[test]
fn a_node_seen_again_is_the_same_node() {
    let graph = Graph::new("compute-1");
    let id = agent(&graph);
    assert_eq!(agent(&graph), id);
    assert_eq!(node(&graph, &id).revision, 1);
    assert_eq!((graph.nodes().len(), graph.edges().len()), (2, 1));
    let again = Graph::new("compute-1");
    assert_eq!(agent(&again), id, "identities survive a restart");
}

#[test]
fn only_a_real_change_makes_a_revision() {
    let graph = Graph::new("h");
    let id = agent(&graph);
    let (_, mut events) = graph.subscribe();
    graph.set_metadata(&id, "DatapathID", "01").unwrap();
    graph.set_metadata(&id, "DatapathID", "01").unwrap();
    graph.edit(|edit| edit.remove_key(&id, "missing")).unwrap();
    assert_eq!(node(&graph, &id).revision, 2);
    assert_eq!(told(&mut events), ["~10.0.0.11"]);
    let before = graph.snapshot();
    graph
        .update_metrics(&id, "SFlow", |sflow| *sflow = json!({"Metric": {}}))
        .unwrap();
    let now = node(&graph, &id);
    assert!(now.metadata["SFlow"]["Metric"].is_object());
    assert_eq!(
        (now.revision, told(&mut events)),
        (3, vec!["~10.0.0.11".to_owned()]),
        "it begins to count"
    );
    graph
        .update_metrics(&id, "SFlow", |sflow| {
            *sflow = json!({"Metric": {"IfInOctets": 1}})
        })
        .unwrap();
    let now = node(&graph, &id);
    assert_eq!(now.metadata["SFlow"]["Metric"]["IfInOctets"], 1);
    assert_eq!(now.revision, 3);
    assert_eq!(told(&mut events), [""; 0], "metrics are no event");
    assert!(!before.node(&id).unwrap().metadata.contains_key("SFlow"));
    assert!(graph.snapshot().node(&id).unwrap().metadata.contains_key("SFlow"));
}

#[test]
fn a_reader_keeps_the_version_it_took() {
    let graph = Graph::new("h");
    let id = agent(&graph);
    let (old, before) = (graph.snapshot(), node(&graph, &id));
    graph.set_metadata(&id, "Name", "sw-leaf-1").unwrap();
    assert_eq!(before.name(), Some("10.0.0.11"));
    assert_eq!(old.node(&id).unwrap().name(), Some("10.0.0.11"));
    assert_eq!(node(&graph, &id).name(), Some("sw-leaf-1"));
    assert!(Arc::ptr_eq(&graph.snapshot(), &graph.snapshot()));
}

#[test]
fn a_full_graph_says_so_and_still_updates() {
    let graph = Graph::with_max_nodes("h", 2);
    let id = agent(&graph);
    let more = graph.upsert_node(NodeSpec::new(&id, "switchport", "port 1"));
    assert_eq!(more, Err(TopologyError::Full { max: 2 }));
    assert_eq!(agent(&graph), id);
    assert_eq!(graph.edges().len(), 1);
    for relation in 0..7 {
        graph
            .link(&id, &id, &format!("r{relation}"), Metadata::new())
            .unwrap();
    }
    let more = graph.link(&id, &id, "r8", Metadata::new());
    assert_eq!(more, Err(TopologyError::FullOfEdges { max: 8 }));
}

#[test]
fn an_unknown_owner_is_an_error() {
    let graph = Graph::new("h");
    let ghost = NodeId::from("ghost");
    let made = graph.upsert_node(NodeSpec::new(&ghost, "switchport", "port 1"));
    assert_eq!(made, Err(TopologyError::NoSuchNode(ghost.clone())));
    let linked = graph.link(graph.host(), &ghost, OWNERSHIP, Metadata::new());
    assert_eq!(linked, Err(TopologyError::NoSuchNode(ghost)));
    let loose = put(&graph, json!({"Name": "x", "Type": "device"}));
    let made = graph.upsert_node(NodeSpec::new(&loose, "device", "eth0"));
    assert_eq!(made, Err(TopologyError::NoTid(loose)));
}

#[test]
fn an_id_is_given_once() {
    let graph = Graph::new("h");
    let id = put(&graph, json!({"Name": "x"}));
    let again = NewNode {
        id: Some(id.clone()),
        ..NewNode::default()
    };
    let made = graph.edit(|edit| edit.put_node(again));
    assert_eq!(made, Err(TopologyError::NodeExists(id.clone())));
    let edge = NewEdge::new(graph.host(), &id, "layer2");
    let first = graph.edit(|edit| edit.put_edge(edge.clone())).unwrap();
    let made = graph.edit(|edit| edit.put_edge(edge));
    assert_eq!(made, Err(TopologyError::EdgeExists(first)));
}

#[test]
fn subscribers_see_every_change_in_order_and_edits_whole() {
    let graph = Graph::new("h");
    let (before, mut events) = graph.subscribe();
    let (netns, eth0) = graph.edit(|edit| {
        let host = edit.snapshot().nodes().next().unwrap().id.clone();
        let netns = NodeSpec::new(&host, "netns", "vm1").with("Path", "/run/netns/vm1");
        let netns = edit.upsert_node(netns).unwrap();
        let eth0 = edit.upsert_node(NodeSpec::new(&netns, "veth", "eth0")).unwrap();
        edit.set_metadata(&eth0, "MTU", 1500).unwrap();
        (netns, eth0)
    });
    graph.link(&netns, &eth0, "layer2", Metadata::new()).unwrap();
    let sent = pending(&mut events);
    let sequences: Vec<u64> = sent.iter().map(|event| event.sequence).collect();
    let first = before.sequence() + 1;
    assert_eq!(sequences, (first..first + 6).collect::<Vec<_>>());
    assert!(sent[..5].iter().all(|event| event.at == sent[0].at));
    assert_eq!(graph.snapshot().sequence(), first + 5);

    let (_, mut events) = graph.subscribe();
    graph.edit(|edit| edit.remove_tree(&netns));
    assert_eq!(
        told(&mut events),
        ["-ownership", "-layer2", "-eth0", "-ownership", "-vm1"]
    );
    assert_eq!(graph.nodes().len(), 1);
    assert!(!graph.edit(|edit| edit.remove_node(&netns)));
    assert!(!graph.edit(|edit| edit.remove_tree(&graph_host())));
}

fn graph_host() -> NodeId {
    Graph::new("h").host().clone()
}

#[test]
fn an_edge_is_updated_in_place() {
    let graph = Graph::new("h");
    let id = agent(&graph);
    let extra = Metadata::from_iter([("Type".to_owned(), json!("veth"))]);
    let edge = graph.link(graph.host(), &id, "layer2", Metadata::new()).unwrap();
    let (_, mut events) = graph.subscribe();
    for _ in 0..2 {
        let again = graph.link(graph.host(), &id, "layer2", extra.clone()).unwrap();
        assert_eq!(again, edge);
    }
    assert_eq!(told(&mut events), ["~layer2"]);
    let snapshot = graph.snapshot();
    assert_eq!(snapshot.edge(&edge).unwrap().revision, 2);
    let seen = snapshot
        .out_edges(graph.host())
        .iter()
        .find(|edge| edge.relation() == "layer2");
    assert_eq!(seen.unwrap().metadata["Type"], "veth");
    graph.edit(|edit| edit.remove_edge_key(&edge, "Type")).unwrap();
    assert_eq!(graph.snapshot().edge(&edge).unwrap().metadata.len(), 1);
}

#[test]
fn a_slow_subscriber_is_told_and_starts_anew() {
    let graph = Graph::new("h");
    let id = agent(&graph);
    let (_, mut events) = graph.subscribe();
    for mtu in 0..crate::event::PENDING_EVENTS + 10 {
        graph.set_metadata(&id, "MTU", mtu).unwrap();
    }
    assert_eq!(events.try_next(), Err(Lagged { missed: 10 }));
    let (snapshot, mut events) = graph.subscribe();
    assert_eq!(snapshot, graph.snapshot().clone());
    assert_eq!(events.try_next(), Ok(None));
}

#[test]
fn a_thread_is_woken_by_a_change() {
    let graph = Arc::new(Graph::new("h"));
    let (_, mut events) = graph.subscribe();
    assert_eq!(events.next_within(Duration::ZERO), Ok(None));
    let waiting = std::thread::spawn(move || events.next_within(Duration::from_secs(60)));
    agent(&graph);
    let event = waiting.join().unwrap().unwrap().unwrap();
    assert!(matches!(event.change, Change::NodeAdded(_)));
}

#[test]
fn a_thread_is_woken_from_outside_once() {
    let graph = Arc::new(Graph::new("h"));
    let (_, mut events) = graph.subscribe();
    let waker = events.waker();
    let waiting = std::thread::spawn(move || {
        let woken = events.next_within(Duration::from_secs(60));
        (woken, events.next_within(Duration::from_millis(1)), events)
    });
    waker.wake();
    let (woken, after, mut events) = waiting.join().unwrap();
    assert_eq!((woken, after), (Ok(None), Ok(None)));
    agent(&graph);
    assert_eq!(told(&mut events), ["+10.0.0.11", "+ownership"]);
}

#[test]
fn many_writers_make_one_order() {
    let graph = Arc::new(Graph::new("h"));
    let (start, mut events) = graph.subscribe();
    let mut followed = Snapshot::clone(&start);
    let writer = |number: usize| {
        let graph = Arc::clone(&graph);
        move || {
            for round in 0..200 {
                let id = own(
                    &graph,
                    graph.host(),
                    "device",
                    &format!("eth{}", (number + round) % 5),
                );
                // Another may have removed it just then.
                let _gone = graph.set_metadata(&id, "Writer", number);
                if round % 3 == 0 {
                    graph.edit(|edit| edit.remove_node(&id));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(writer(number));
        }
    });
    for event in pending(&mut events) {
        assert_eq!(event.sequence, followed.sequence() + 1);
        followed.apply(&event);
    }
    assert_eq!(followed, *graph.snapshot());
}

#[test]
fn a_panic_keeps_events_and_graph_alike() {
    let graph = Graph::new("h");
    let (_, mut events) = graph.subscribe();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        graph.edit(|edit| {
            let host = edit.snapshot().nodes().next().unwrap().id.clone();
            edit.upsert_node(NodeSpec::new(&host, "device", "eth0")).unwrap();
            panic!("a writer's fault");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(told(&mut events), ["+eth0", "+ownership"]);
    assert_eq!(graph.nodes().len(), 2);
}

#[test]
fn a_removed_owner_leaves_what_it_owned_without_identity() {
    let graph = Graph::new("h");
    let bridge = own(&graph, graph.host(), "bridge", "br0");
    let port = own(&graph, &bridge, "device", "eth0");
    let tid = node(&graph, &port).tid().unwrap();
    let (_, mut events) = graph.subscribe();
    graph.edit(|edit| edit.remove_node(&bridge));
    assert_eq!(
        told(&mut events),
        ["-ownership", "-ownership", "~eth0", "-br0"],
        "edges first, and the node last"
    );
    assert_eq!(node(&graph, &port).tid(), None);
    assert_eq!(graph.by_tid(&tid), None);
    assert_eq!(graph.by_tid(&Tid::from("nothing")), None);
}

#[test]
fn who_waits_has_a_turn_between() {
    let graph = Graph::new("h");
    let id = agent(&graph);
    let seen = std::sync::atomic::AtomicBool::new(false);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let last = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !node(&graph, &id).metadata.contains_key("Number") {}
            seen.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut last = 0;
        // It ends when the reader has seen a part of it.
        let items = (1_u64..).take_while(|_| {
            !seen.load(std::sync::atomic::Ordering::SeqCst) && std::time::Instant::now() < deadline
        });
        graph.edit_in_turns(items, |edit, number| {
            edit.set_metadata(&id, "Number", number).unwrap();
            last = number;
        });
        last
    });
    assert!(
        seen.load(std::sync::atomic::Ordering::SeqCst),
        "{last} items without a turn for anybody else"
    );
    assert_eq!(node(&graph, &id).metadata["Number"], last, "in order");
}

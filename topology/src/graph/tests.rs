//! What holds of the graph.

use super::*;

fn agent(graph: &Graph) -> NodeId {
    graph
        .upsert_node(NodeSpec::new(graph.host(), "sflowagent", "10.0.0.11"))
        .unwrap()
}

#[test]
fn json_is_skydives() {
    let graph = Graph::new("compute-1");
    let id = agent(&graph);
    let node = serde_json::to_value(graph.node(&id).unwrap()).unwrap();
    let keys: Vec<_> = node.as_object().unwrap().keys().map(String::as_str).collect();
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
    assert_eq!(node["Metadata"]["Type"], "sflowagent");
    assert_eq!(node["Origin"], "agent.compute-1");
    assert!(node["DeletedAt"].is_null());
    let edge = serde_json::to_value(&graph.edges()[0]).unwrap();
    assert_eq!(edge["Metadata"], serde_json::json!({"RelationType": "ownership"}));
    assert_eq!(edge["Parent"], graph.host().as_str());
    assert_eq!(edge["Child"], id.as_str());
}

#[test]
fn a_node_seen_again_is_the_same_node() {
    let graph = Graph::new("compute-1");
    let id = agent(&graph);
    assert_eq!(agent(&graph), id);
    assert_eq!(graph.node(&id).unwrap().revision, 1);
    assert_eq!((graph.nodes().len(), graph.edges().len()), (2, 1));
    let again = Graph::new("compute-1");
    assert_eq!(agent(&again), id, "identities survive a restart");
}

#[test]
fn only_a_real_change_makes_a_revision() {
    let graph = Graph::new("h");
    let id = agent(&graph);
    graph.set_metadata(&id, "DatapathID", "01").unwrap();
    graph.set_metadata(&id, "DatapathID", "01").unwrap();
    assert_eq!(graph.node(&id).unwrap().revision, 2);
    graph
        .update_metrics(&id, "SFlow", |sflow| *sflow = serde_json::json!({"Metric": {}}))
        .unwrap();
    let node = graph.node(&id).unwrap();
    assert_eq!(node.revision, 2);
    assert!(node.metadata["SFlow"]["Metric"].is_object());
}

#[test]
fn a_reader_keeps_the_version_it_took() {
    let graph = Graph::new("h");
    let id = agent(&graph);
    let before = graph.node(&id).unwrap();
    graph.set_metadata(&id, "Name", "sw-leaf-1").unwrap();
    assert_eq!(before.name(), Some("10.0.0.11"));
    assert_eq!(graph.node(&id).unwrap().name(), Some("sw-leaf-1"));
    assert_eq!(graph.by_tid(&before.tid().unwrap()), None);
    let tid = graph.node(&id).unwrap().tid().unwrap();
    assert_eq!(
        graph.by_tid(&tid).unwrap().id,
        id,
        "another name, another TID, the same node"
    );
}

#[test]
fn a_full_graph_says_so_and_still_updates() {
    let graph = Graph::with_max_nodes("h", 2);
    let id = agent(&graph);
    let more = graph.upsert_node(NodeSpec::new(&id, "switchport", "port 1"));
    assert_eq!(more, Err(TopologyError::Full { max: 2 }));
    assert_eq!(agent(&graph), id);
    assert_eq!(graph.edges().len(), 1);
}

#[test]
fn an_unknown_owner_is_an_error() {
    let graph = Graph::new("h");
    let ghost = NodeId::from("ghost");
    let made = graph.upsert_node(NodeSpec::new(&ghost, "switchport", "port 1"));
    assert_eq!(made, Err(TopologyError::NoSuchNode(ghost)));
}

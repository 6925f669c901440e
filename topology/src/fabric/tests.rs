//! What the configuration draws is there, and what it plugs in follows the interfaces.

use serde_json::json;

use super::*;
use crate::{Change, NodeSpec, Tid};

fn fabric(graph: &Arc<Graph>, links: &[&str]) -> Arc<Fabric> {
    let links = links.iter().map(|link| link.parse::<FabricLink>().unwrap());
    Arc::new(Fabric::new(Arc::clone(graph), links))
}

fn cables(graph: &Graph, to: &NodeId) -> Vec<Value> {
    let snapshot = graph.snapshot();
    let edges = snapshot
        .in_edges(to)
        .iter()
        .filter(|edge| edge.relation() == LAYER2);
    edges.map(|edge| Value::from(edge.metadata.clone())).collect()
}

#[test]
fn nodes_and_links_are_skydives() {
    let graph = Arc::new(Graph::new("h"));
    fabric(
        &graph,
        &[
            "TOR[Name=tor1] -> TOR_PORT_1[MTU=1500]",
            "TOR_PORT_1[Location.Rack=7] --> [Speed=10] TOR_PORT_2",
        ],
    );
    let tor = NodeId::of(&["fabric", "TOR"]);
    assert_eq!(tor.as_str(), "a5182659-131c-596b-5ef0-72e175ae886d");
    let snapshot = graph.snapshot();
    assert_eq!(snapshot.len(), 4);
    let node = snapshot.node(&tor).unwrap();
    assert_eq!((node.name(), node.node_type()), (Some("tor1"), Some("device")));
    assert_eq!(node.tid(), Some(Tid::from(tor.as_str())));
    let port = snapshot.node(&NodeId::of(&["fabric", "TOR_PORT_1"])).unwrap();
    assert_eq!(port.metadata["MTU"], "1500");
    assert_eq!(port.metadata["Location"], json!({"Rack": "7"}));
    assert_eq!(
        port.tid().unwrap().as_str(),
        port.id.as_str(),
        "owned, and yet its own"
    );
    assert_eq!(snapshot.owner(&port.id).unwrap().id, tor);
    assert_eq!(
        cables(&graph, &port.id),
        [json!({"RelationType": "layer2", "Type": "fabric"})]
    );
    let second = NodeId::of(&["fabric", "TOR_PORT_2"]);
    assert!(snapshot.owner(&second).is_none());
    let expected = json!({"RelationType": "layer2", "Type": "fabric", "Speed": "10"});
    assert_eq!(cables(&graph, &second), [expected]);
}

#[test]
fn a_cable_follows_its_interface() {
    let graph = Arc::new(Graph::new("h"));
    let fabric = fabric(&graph, &["P1 --> *[Type=host, Name=h]/eth0"]);
    let netns = graph
        .upsert_node(NodeSpec::new(graph.host(), "netns", "vm1").with("Path", "/run/netns/vm1"))
        .unwrap();
    let inside = graph.upsert_node(NodeSpec::new(&netns, "veth", "eth0")).unwrap();
    let other = graph
        .upsert_node(NodeSpec::new(graph.host(), "device", "eth1"))
        .unwrap();
    fabric.apply();
    assert_eq!(cables(&graph, &inside), [json!(null); 0], "of another owner");
    graph.set_metadata(&other, "Name", "eth0").unwrap();
    fabric.apply();
    assert_eq!(cables(&graph, &other).len(), 1);
    let at_rest = graph.snapshot().sequence();
    fabric.apply();
    assert_eq!(graph.snapshot().sequence(), at_rest);
    graph.set_metadata(&other, "Name", "eth1").unwrap();
    fabric.apply();
    assert_eq!(cables(&graph, &other), [json!(null); 0]);
    graph.set_metadata(&other, "Name", "eth0").unwrap();
    fabric.apply();
    graph.edit(|edit| edit.remove_node(&other));
    fabric.apply();
    let again = graph
        .upsert_node(NodeSpec::new(graph.host(), "device", "eth0"))
        .unwrap();
    fabric.apply();
    assert_eq!(cables(&graph, &again).len(), 1, "an interface that comes back");
}

#[test]
fn what_is_drawn_comes_back() {
    let graph = Arc::new(Graph::new("h"));
    let fabric = fabric(&graph, &["A -> B"]);
    let whole = graph.snapshot().len();
    graph.edit(|edit| edit.remove_tree(&NodeId::of(&["fabric", "A"])));
    assert_eq!(graph.snapshot().len(), 1);
    fabric.apply();
    assert_eq!(
        (graph.snapshot().len(), graph.snapshot().edge_count()),
        (whole, 2)
    );
}

#[test]
fn a_full_graph_takes_what_it_can() {
    let graph = Arc::new(Graph::with_max_nodes("h", 2));
    let fabric = fabric(&graph, &["A -> B"]);
    assert_eq!(graph.snapshot().len(), 2);
    fabric.apply();
    assert_eq!((graph.snapshot().len(), graph.snapshot().edge_count()), (2, 0));
}

#[tokio::test]
async fn an_interface_that_appears_is_plugged_in() {
    let graph = Arc::new(Graph::new("h"));
    let fabric = fabric(&graph, &["P1 --> *[Type=host]/eth0"]);
    let following = tokio::spawn(async move { fabric.follow().await });
    let (_, mut events) = graph.subscribe();
    graph
        .upsert_node(NodeSpec::new(graph.host(), "device", "eth0"))
        .unwrap();
    loop {
        let event = events.next().await.unwrap();
        if matches!(&event.change, Change::EdgeAdded(edge) if edge.relation() == LAYER2) {
            break;
        }
    }
    following.abort();
}

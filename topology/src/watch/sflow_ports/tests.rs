use serde_json::json;

use super::*;
use crate::graph::NodeSpec;

/// A bridge with an interface, and an agent with a port, that nobody knows to be the same yet.
struct Scene {
    graph: Arc<Graph>,
    watcher: Watcher,
    agent: NodeId,
    port: NodeId,
    interface: NodeId,
}

fn scene() -> Scene {
    let graph = Arc::new(Graph::new("h"));
    let host = graph.host();
    let spec = NodeSpec::new(host, "ovsbridge", "br-int").with("UUID", "b");
    let bridge = graph
        .upsert_node(spec.with("Ovs", json!({"DatapathID": "00000000000000aa"})))
        .unwrap();
    let spec = NodeSpec::new(&bridge, "ovsport", "tap0").with("UUID", "p");
    let ovs_port = graph.upsert_node(spec).unwrap();
    let spec = NodeSpec::new(host, "veth", "tap0").with("IfIndex", 4);
    let interface = graph.upsert_node(spec.with("OfPort", 1)).unwrap();
    graph
        .link(&ovs_port, &interface, LAYER2, Metadata::new())
        .unwrap();
    let agent = graph
        .upsert_node(NodeSpec::new(host, "sflowagent", "127.0.0.1"))
        .unwrap();
    let spec = NodeSpec::new(&agent, "switchport", "port 4")
        .key("4")
        .with("IfIndex", 4);
    let port = graph.upsert_node(spec).unwrap();
    let (snapshot, events) = graph.subscribe();
    let mut watcher = Watcher {
        graph: Arc::clone(&graph),
        events,
        known: Known::default(),
        linked: HashMap::new(),
    };
    watcher.begin(&snapshot);
    Scene {
        graph,
        watcher,
        agent,
        port,
        interface,
    }
}

impl Scene {
    fn linked(&mut self) -> bool {
        self.watcher.turn(Duration::ZERO);
        let snapshot = self.graph.snapshot();
        let edges = snapshot.out_edges(&self.port);
        assert!(edges.len() <= 1);
        edges.iter().any(|edge| edge.child == self.interface)
    }

    fn set(&self, node: &NodeId, key: &str, value: &str) {
        self.graph.set_metadata(node, key, value).unwrap();
    }
}

#[test]
fn name_ifindex_and_datapath_must_be_the_same() {
    let mut scene = scene();
    assert!(!scene.linked());
    scene.set(&scene.port, "Name", "tap0");
    assert!(!scene.linked());
    scene.set(&scene.agent, "DatapathID", "00000000000000aa");
    assert!(scene.linked());
    scene.set(&scene.agent, "DatapathID", "00000000000000bb");
    assert!(!scene.linked(), "a sub-agent that is another bridge by now");
    scene.set(&scene.agent, "DatapathID", "00000000000000aa");
    assert!(scene.linked());
    scene
        .graph
        .edit(|edit| edit.remove_key(&scene.interface, "OfPort"))
        .unwrap();
    assert!(!scene.linked(), "the interface left its bridge");
}

#[test]
fn either_side_may_go_and_come_back() {
    let mut scene = scene();
    scene.set(&scene.agent, "DatapathID", "00000000000000aa");
    scene.set(&scene.port, "Name", "tap0");
    assert!(scene.linked());
    scene.graph.edit(|edit| edit.remove_node(&scene.port));
    assert!(!scene.linked());
    let spec = NodeSpec::new(&scene.agent, "switchport", "tap0")
        .key("4")
        .with("IfIndex", 4);
    assert_eq!(scene.graph.upsert_node(spec), Ok(scene.port.clone()));
    assert!(scene.linked());
    scene.graph.edit(|edit| edit.remove_node(&scene.interface));
    assert!(!scene.linked());
    assert!(scene.watcher.known.interfaces.is_empty());
}

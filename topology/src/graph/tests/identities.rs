//! TIDs follow the owner.

use super::*;

fn tid(graph: &Graph, id: &NodeId) -> Option<Tid> {
    node(graph, id).tid()
}

fn own_by(owner: &NodeId, node_type: &str, name: &str) -> impl Fn(&Graph) -> Option<Tid> {
    let (owner, node_type, name) = (owner.clone(), node_type.to_owned(), name.to_owned());
    move |graph| Some(Tid::owned(&tid(graph, &owner)?, &name, &node_type))
}

#[test]
fn roots_have_their_own_recipes() {
    let graph = Graph::new("compute-1");
    let netns = NodeSpec::new(graph.host(), "netns", "vm1").with("Path", "/var/run/netns/vm1");
    let netns = graph.upsert_node(netns).unwrap();
    // Computed apart, in Python: host's TID + "/var/run/netns/vm1" + "netns"
    assert_eq!(
        tid(&graph, &netns).unwrap().as_str(),
        "01fbaf01-fde6-5370-47ef-74c900b92993"
    );
    let uuid = "0c9b2f4e-9f0d-4a59-8d8b-3f7d4a1b2c3d";
    let bridge = NodeSpec::new(graph.host(), "ovsbridge", "br-int").with("UUID", uuid);
    let bridge = graph.upsert_node(bridge).unwrap();
    let port = NodeSpec::new(&bridge, "ovsport", "tap0").with("UUID", uuid);
    let port = graph.upsert_node(port).unwrap();
    // … + uuid + "ovsbridge", … + uuid + "ovsport": the host's, not the bridge's
    assert_eq!(
        tid(&graph, &bridge).unwrap().as_str(),
        "7c32bae6-c638-5de1-7565-982b9d752dc6"
    );
    assert_eq!(
        tid(&graph, &port).unwrap().as_str(),
        "0c441793-c68f-5ce6-46a2-38ad2fd053c9"
    );
    let fabric = put(&graph, json!({"Name": "TOR1", "Probe": "fabric"}));
    assert_eq!(tid(&graph, &fabric).unwrap().as_str(), fabric.as_str());
}

#[test]
fn another_hosts_roots_are_that_hosts() {
    let graph = Graph::new("here");
    let there = Tid::host("there");
    let host = put(
        &graph,
        json!({"Name": "there", "Type": "host", "TID": there.as_str()}),
    );
    let netns = put(
        &graph,
        json!({"Name": "vm1", "Type": "netns", "Path": "/run/netns/vm1"}),
    );
    graph.link(&host, &netns, OWNERSHIP, Metadata::new()).unwrap();
    let expected = Graph::new("there");
    let spec = NodeSpec::new(expected.host(), "netns", "vm1").with("Path", "/run/netns/vm1");
    let expected_id = expected.upsert_node(spec).unwrap();
    assert_eq!(tid(&graph, &netns), tid(&expected, &expected_id));
}

#[test]
fn a_new_name_is_a_new_tid_for_all_below() {
    let graph = Graph::new("h");
    let bond = own(&graph, graph.host(), "bond", "bond0");
    let vlan = own(&graph, &bond, "vlan", "bond0.7");
    let top = own(&graph, &vlan, "device", "top");
    let old = [&bond, &vlan, &top].map(|id| tid(&graph, id).unwrap());
    let (_, mut events) = graph.subscribe();
    graph.set_metadata(&bond, "Name", "trunk").unwrap();
    assert_eq!(told(&mut events), ["~trunk", "~bond0.7", "~top"]);
    assert_eq!(tid(&graph, &bond), own_by(graph.host(), "bond", "trunk")(&graph));
    assert_eq!(tid(&graph, &vlan), own_by(&bond, "vlan", "bond0.7")(&graph));
    assert_eq!(tid(&graph, &top), own_by(&vlan, "device", "top")(&graph));
    for tid in old {
        assert_eq!(graph.by_tid(&tid), None);
    }
}

#[test]
fn a_key_outlives_the_name() {
    let graph = Graph::new("h");
    let agent = agent(&graph);
    let spec = || NodeSpec::new(&agent, "switchport", "port 7").key("7");
    let port = graph.upsert_node(spec()).unwrap();
    let before = tid(&graph, &port);
    graph.set_metadata(&port, "Name", "tap0").unwrap();
    assert_eq!(tid(&graph, &port), before);
    assert_eq!(graph.upsert_node(spec()).unwrap(), port);
    assert_eq!(node(&graph, &port).name(), Some("tap0"));
}

#[test]
fn an_interface_that_takes_a_name_is_another_node() {
    let graph = Graph::new("h");
    let first = own(&graph, graph.host(), "device", "eth0");
    graph.set_metadata(&first, "Name", "old0").unwrap();
    let second = own(&graph, graph.host(), "device", "eth0");
    assert_ne!(first, second, "the ID is taken by the renamed one");
    assert_eq!(graph.by_tid(&tid(&graph, &second).unwrap()).unwrap().id, second);
    assert_eq!(graph.nodes().len(), 3);
}

#[test]
fn two_that_swap_names_keep_apart() {
    let graph = Graph::new("h");
    let a = own(&graph, graph.host(), "device", "eth0");
    let b = own(&graph, graph.host(), "device", "eth1");
    let (tid_a, tid_b) = (tid(&graph, &a).unwrap(), tid(&graph, &b).unwrap());
    // For a moment both are eth1.
    graph.set_metadata(&a, "Name", "eth1").unwrap();
    assert_eq!(graph.by_tid(&tid_b).unwrap().id, a, "the one that came last");
    graph.set_metadata(&b, "Name", "eth0").unwrap();
    assert_eq!(graph.by_tid(&tid_b).unwrap().id, a);
    assert_eq!(graph.by_tid(&tid_a).unwrap().id, b);
    graph.set_metadata(&b, "Name", "eth1").unwrap();
    graph.edit(|edit| edit.remove_node(&b));
    assert_eq!(graph.by_tid(&tid_b).unwrap().id, a, "the other is found again");
}

#[test]
fn a_moved_node_has_one_owner_and_its_id_still() {
    let graph = Graph::new("h");
    let netns = own(&graph, graph.host(), "netns", "vm1");
    let eth0 = own(&graph, graph.host(), "device", "eth0");
    let (_, mut events) = graph.subscribe();
    graph.link(&netns, &eth0, OWNERSHIP, Metadata::new()).unwrap();
    assert_eq!(told(&mut events), ["-ownership", "+ownership", "~eth0"]);
    assert_eq!(tid(&graph, &eth0), own_by(&netns, "device", "eth0")(&graph));
    assert_eq!(graph.snapshot().in_edges(&eth0).len(), 1);
    assert_eq!(graph.snapshot().owner(&eth0).unwrap().id, netns);
}

#[test]
fn losing_the_owner_removes_the_tid_and_finding_one_gives_it_back() {
    let graph = Graph::new("h");
    let bridge = own(&graph, graph.host(), "bridge", "br0");
    let port = own(&graph, &bridge, "device", "eth0");
    let before = [&bridge, &port].map(|id| tid(&graph, id));
    let edge = graph.snapshot().ownership_of(&bridge).unwrap().id.clone();
    assert!(graph.edit(|edit| edit.unlink(&edge)));
    assert!(!graph.edit(|edit| edit.unlink(&edge)));
    assert_eq!([&bridge, &port].map(|id| tid(&graph, id)), [None, None]);
    graph
        .link(graph.host(), &bridge, OWNERSHIP, Metadata::new())
        .unwrap();
    assert_eq!([&bridge, &port].map(|id| tid(&graph, id)), before);
}

#[test]
fn an_edge_that_becomes_an_ownership_counts_as_one() {
    let graph = Graph::new("h");
    let id = put(&graph, json!({"Name": "x", "Type": "device"}));
    assert_eq!(tid(&graph, &id), None);
    let edge = graph.link(graph.host(), &id, "layer2", Metadata::new()).unwrap();
    let relation = |relation: &str| Metadata::from_iter([("RelationType".to_owned(), json!(relation))]);
    graph
        .edit(|edit| edit.merge_edge_metadata(&edge, relation(OWNERSHIP)))
        .unwrap();
    assert_eq!(tid(&graph, &id), own_by(graph.host(), "device", "x")(&graph));
    graph
        .edit(|edit| edit.replace_edge_metadata(&edge, relation("layer2")))
        .unwrap();
    assert_eq!(tid(&graph, &id), None);
}

#[test]
fn nobody_owns_an_owner_of_his() {
    let graph = Graph::new("h");
    let bridge = own(&graph, graph.host(), "bridge", "br0");
    let port = own(&graph, &bridge, "device", "eth0");
    for child in [graph.host(), &bridge, &port] {
        let refused = graph.link(&port, child, OWNERSHIP, Metadata::new());
        let cycle = TopologyError::OwnershipCycle {
            parent: port.clone(),
            child: child.clone(),
        };
        assert_eq!(refused, Err(cycle));
    }
    assert_eq!(graph.snapshot().owner(&bridge).unwrap().id, *graph.host());
}

#[test]
fn a_tid_is_the_owners_to_give() {
    let graph = Graph::new("h");
    let id = own(&graph, graph.host(), "device", "eth0");
    let before = tid(&graph, &id);
    graph.set_metadata(&id, "TID", "mine").unwrap();
    assert_eq!(
        (tid(&graph, &id), node(&graph, &id).revision),
        (before.clone(), 1)
    );
    let metadata = Metadata::from_iter([
        ("Name".to_owned(), json!("eth0")),
        ("Type".to_owned(), json!("device")),
    ]);
    graph
        .edit(|edit| edit.replace_metadata(&id, metadata.clone()))
        .unwrap();
    assert_eq!((tid(&graph, &id), node(&graph, &id).revision), (before, 1));
    let loose = put(&graph, json!({"Name": "x", "TID": "theirs"}));
    assert_eq!(tid(&graph, &loose), Some(Tid::from("theirs")));
}

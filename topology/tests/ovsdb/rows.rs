//! The watcher against a real database without a switch: rows come, change and go as the test says,
//! and interfaces of the kernel are what the test puts into the graph.

use std::sync::Arc;
use std::time::Duration;

use flowtap_topology::watch::WatcherState;
use flowtap_topology::watch::ovsdb::{OvsdbOptions, OvsdbWatcher, start};
use flowtap_topology::{Change, Graph, Node, NodeId, NodeSpec, Subscription, Tid};
use serde_json::{Value, json};

use crate::graph::agree;
use crate::support::{Database, eventually};

/// A graph that a watcher fills.
struct Scene {
    graph: Arc<Graph>,
    watcher: OvsdbWatcher,
}

fn watch(database: &Database, settle: Duration) -> Scene {
    let graph = Arc::new(Graph::new("h"));
    let mut options = OvsdbOptions::new(database.address());
    options.settle = settle;
    let watcher = start(Arc::clone(&graph), options).expect("a thread");
    Scene { graph, watcher }
}

/// A row without a device gets its node at once.
const AT_ONCE: Duration = Duration::ZERO;
/// A row without a device never gets a node.
const NEVER: Duration = Duration::from_secs(3600);

impl Scene {
    fn in_step(&self) {
        eventually("the watcher to be in step", || {
            (self.watcher.health().state == WatcherState::Running).then_some(())
        });
    }

    fn named(&self, node_type: &str, name: &str) -> Option<Arc<Node>> {
        let nodes = self.graph.nodes();
        let mut nodes = nodes.into_iter();
        nodes.find(|node| node.node_type() == Some(node_type) && node.name() == Some(name))
    }

    /// Waits until `key` of `node` is `value`; `null` for "not there".
    fn becomes(&self, node: &NodeId, key: &str, value: &Value) {
        let mut last = Value::Null;
        eventually(&format!("{key} to be {value}"), || {
            last = self
                .graph
                .node(node)?
                .metadata
                .get(key)
                .cloned()
                .unwrap_or_default();
            (last == *value).then_some(())
        });
    }

    /// An interface of the kernel, as the netlink watcher makes it.
    fn device(&self, owner: &NodeId, name: &str, ifindex: u32, mac: &str) -> NodeId {
        let spec = NodeSpec::new(owner, "veth", name)
            .with("IfIndex", ifindex)
            .with("MAC", mac);
        self.graph
            .upsert_node(spec.with("Driver", "veth").with("MTU", 1500))
            .expect("room")
    }

    fn namespace(&self, name: &str) -> NodeId {
        let spec = NodeSpec::new(self.graph.host(), "netns", name);
        self.graph
            .upsert_node(spec.with("Path", format!("/run/netns/{name}")))
            .expect("room")
    }
}

/// What happened in the graph since, in short: `+Type Name`, `~Type Name`, `-Type Name`.
fn happened(events: &mut Subscription) -> Vec<String> {
    let mut happened = Vec::new();
    while let Some(event) = events.try_next().expect("few events") {
        let (sign, node) = match &event.change {
            Change::NodeAdded(node) => ('+', node),
            Change::NodeUpdated { node, .. } => ('~', node),
            Change::NodeDeleted(node) => ('-', node),
            Change::EdgeAdded(_) | Change::EdgeUpdated { .. } | Change::EdgeDeleted(_) => continue,
        };
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        happened.push(format!("{sign}{} {}", text(node.node_type()), text(node.name())));
    }
    happened.sort();
    happened.dedup();
    happened
}

#[test]
fn the_graph_is_as_the_database_after_every_change() {
    let database = Database::served();
    let scene = watch(&database, AT_ONCE);
    for arguments in [
        "add-br br0 -- set bridge br0 datapath_type=netdev protocols=OpenFlow13,OpenFlow10 external_ids:bridge-id=br0",
        "set bridge br0 datapath_id=00000000000000aa fail_mode=secure other_config:hwaddr=02:00:00:00:00:01",
        "add-port br0 tap0 tag=7 -- set interface tap0 external_ids:vm-id=1 external_ids:attached-mac=m external_ids:iface-id=p",
        "set interface tap0 external_ids:vm-id=2 ofport=5 mac_in_use=\"02:00:00:00:00:09\"",
        "clear interface tap0 external_ids -- set interface tap0 external_ids:vm-uuid=3",
        "set port tap0 trunks=3,1,2 vlan_mode=native-tagged external_ids:x=y other_config:priority-tags=true",
        "clear port tap0 tag -- remove port tap0 trunks 2",
        "add-bond br0 bond0 eth0 eth1 bond_mode=balance-slb lacp=active",
        "add-br br1 -- add-port br0 p0 -- set interface p0 type=patch options:peer=p1",
        "add-port br1 p1 -- set interface p1 type=patch options:peer=p0",
        "set interface p1 options:peer=p9",
        "set interface p1 options:peer=p0",
        "add-port br0 vx0 -- set interface vx0 type=vxlan options:remote_ip=10.0.0.1 options:local_ip=10.0.0.2",
        "set interface vx0 type=geneve options:remote_ip=10.0.0.3 -- remove interface vx0 options local_ip",
        "del-port br0 p0 -- add-port br0 p0 -- set interface p0 type=patch options:peer=p1",
        "del-port bond0",
        "del-br br1",
        "set interface p0 error=nothing ofport=-1",
        "del-br br0",
    ] {
        database.change(arguments);
        agree(&scene.graph, &database);
    }
    assert_eq!(scene.graph.snapshot().len(), 1, "nothing is left but the host");
    assert_eq!(scene.graph.snapshot().edge_count(), 0);
}

#[test]
fn bridges_and_ports_are_known_by_their_rows() {
    let database = Database::served();
    database.change("add-br br0");
    let scene = watch(&database, NEVER);
    for (node_type, table) in [("ovsbridge", "bridge"), ("ovsport", "port")] {
        let uuid = database.vsctl(&["get", table, "br0", "_uuid"]);
        let node = eventually(node_type, || scene.named(node_type, "br0"));
        assert_eq!(node.metadata["UUID"], uuid.trim());
        // The owner of a port is its bridge, but it may move to another.
        assert_eq!(
            node.tid(),
            Some(Tid::owned(scene.graph.host_tid(), uuid.trim(), node_type))
        );
    }
}

#[test]
fn an_interface_is_joined_in_either_order_and_left_as_it_was() {
    let database = Database::served();
    let scene = watch(&database, NEVER);
    scene.in_step();
    let host = scene.graph.host().clone();
    database.change("add-br br0");
    let tap = || scene.device(&host, "tap0", 4, "fe:00:00:00:00:01");
    // Read while there is no row: once there is one, the watcher may be faster than the test.
    let bare = tap();
    let before = scene.graph.node(&bare).unwrap().metadata.clone();
    scene.graph.edit(|edit| edit.remove_node(&bare));
    for row_first in [true, false] {
        let add = "add-port br0 tap0 -- set interface tap0 external_ids:vm-id=1";
        if row_first {
            database.change(add);
        }
        let tap = tap();
        if !row_first {
            database.change(add);
        }
        scene.becomes(&tap, "ExtID", &json!({"vm-id": "1", "vm-uuid": "1"}));
        let port = scene.named("ovsport", "tap0").unwrap();
        let edge = |edge: &str| {
            let snapshot = scene.graph.snapshot();
            let edges = snapshot.in_edges(&tap).iter();
            edges
                .filter(|found| found.relation() == edge)
                .map(|edge| edge.parent.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (edge("layer2"), edge("ownership")),
            (vec![port.id.clone()], vec![host.clone()])
        );
        // Written after the port appeared.
        database.change("set interface tap0 external_ids:iface-id=p external_ids:vm-id=2");
        scene.becomes(&tap, "Port", &json!({"ID": "p"}));
        scene.becomes(&tap, "VM", &json!({"ID": "2"}));
        database.change("clear interface tap0 external_ids");
        scene.becomes(&tap, "ExtID", &Value::Null);
        scene.becomes(&tap, "Port", &Value::Null);
        database.change("del-port tap0");
        scene.becomes(&tap, "UUID", &Value::Null);
        assert_eq!(
            scene.graph.node(&tap).unwrap().metadata,
            before,
            "row first: {row_first}"
        );
        assert!(edge("layer2").is_empty());
        scene.graph.edit(|edit| edit.remove_node(&tap));
    }
}

#[test]
fn of_several_interfaces_of_that_name_the_right_one_is_joined() {
    let database = Database::served();
    let scene = watch(&database, NEVER);
    let (one, two) = (scene.namespace("one"), scene.namespace("two"));
    let a = scene.device(&one, "tap0", 4, "02:00:00:00:00:0a");
    let b = scene.device(&two, "tap0", 4, "02:00:00:00:00:0b");
    database.change("add-br br0 -- add-port br0 tap0");
    database.change("set interface tap0 ifindex=4 mac_in_use=\"02:00:00:00:00:0b\"");
    let uuid = database.vsctl(&["get", "interface", "tap0", "_uuid"]);
    scene.becomes(&b, "UUID", &json!(uuid.trim()));
    assert!(!scene.graph.node(&a).unwrap().metadata.contains_key("UUID"));
    // The switch does not see it any more: it was moved, and its index stayed.
    database.change("set interface tap0 ifindex=0 ofport=1 -- clear interface tap0 mac_in_use");
    let three = scene.namespace("three");
    scene.graph.edit(|edit| edit.remove_node(&b));
    let moved = scene.device(&three, "tap0", 9, "02:00:00:00:00:0b");
    scene.becomes(&moved, "UUID", &json!(uuid.trim()));
    // Made anew on the host, with another index and another MAC.
    scene.graph.edit(|edit| edit.remove_node(&moved));
    let again = scene.device(scene.graph.host(), "tap0", 12, "02:00:00:00:00:0c");
    scene.becomes(&again, "UUID", &json!(uuid.trim()));
}

#[test]
fn a_row_without_its_device_has_a_node_only_while_there_is_none() {
    let database = Database::served();
    let scene = watch(&database, AT_ONCE);
    database.change("add-br br0 -- add-port br0 tap0");
    let own = eventually("a node of its own", || scene.named("system", "tap0"));
    assert_eq!(own.metadata["State"], "DOWN");
    let bridge = scene.named("ovsbridge", "br0").unwrap();
    assert_eq!(scene.graph.snapshot().owner(&own.id), Some(&bridge));
    let tap = scene.device(scene.graph.host(), "tap0", 4, "02:00:00:00:00:0a");
    scene.becomes(&tap, "UUID", &own.metadata["UUID"]);
    assert_eq!(scene.graph.node(&own.id), None);
    scene.graph.edit(|edit| edit.remove_node(&tap));
    eventually("a node of its own again", || scene.named("system", "tap0"));
}

#[test]
fn a_restart_of_the_server_is_no_history() {
    let mut database = Database::served();
    let scene = watch(&database, AT_ONCE);
    let tap = scene.device(scene.graph.host(), "tap0", 4, "02:00:00:00:00:0a");
    database.change("add-br br0 -- add-port br0 tap0 -- add-port br0 old");
    agree(&scene.graph, &database);
    let (before, mut events) = scene.graph.subscribe();
    database.kill();
    eventually("the loss to be noticed", || {
        (scene.watcher.health().state != WatcherState::Running).then_some(())
    });
    assert_eq!(
        scene.graph.snapshot().len(),
        before.len(),
        "the switch goes on without its database"
    );
    database.serve();
    scene.in_step();
    assert_eq!(happened(&mut events), Vec::<String>::new());
    assert_eq!(scene.watcher.health().resyncs, 1);
    // Now with changes that nobody saw.
    database.stop();
    database.change_unseen("del-port old -- add-port br0 new -- set port tap0 tag=7");
    database.serve();
    agree(&scene.graph, &database);
    assert_eq!(
        happened(&mut events),
        [
            "+ovsport new",
            "+system new",
            "-ovsport old",
            "-system old",
            "~ovsport tap0"
        ]
    );
    assert!(scene.graph.node(&tap).is_some());
}

#[test]
fn rows_that_change_while_the_server_dies_again_and_again_end_up_right() {
    let mut database = Database::served();
    let scene = watch(&database, AT_ONCE);
    database.change("add-br br0");
    for round in 0..10 {
        for port in 0..5 {
            let before = round - 1;
            database.change(&format!(
                "add-port br0 p{round}-{port} -- --if-exists del-port p{before}-{port}"
            ));
        }
        database.kill();
        if round % 2 == 0 {
            database.change_unseen(&format!("set bridge br0 external_ids:round={round}"));
        }
        database.serve();
    }
    agree(&scene.graph, &database);
    assert_eq!(
        scene.named("ovsbridge", "br0").unwrap().metadata["ExtID"]["round"],
        "8"
    );
}

#[test]
fn a_switch_that_is_not_there_is_waited_for() {
    let mut database = Database::new();
    let scene = watch(&database, AT_ONCE);
    let health = eventually("the watcher to wait", || {
        let health = scene.watcher.health();
        (health.state == WatcherState::Waiting).then_some(health)
    });
    let socket = database.path("db.sock").display().to_string();
    assert_eq!(health.last_error, Some(format!("waiting for {socket}")));
    database.serve();
    database.change("init -- add-br br0");
    agree(&scene.graph, &database);
    assert_eq!(scene.watcher.health().state, WatcherState::Running);
}

#[test]
fn counters_are_shown_without_a_revision() {
    let database = Database::served();
    let scene = watch(&database, AT_ONCE);
    database.change("add-br br0 -- add-port br0 vx0 -- set interface vx0 type=vxlan");
    agree(&scene.graph, &database);
    let node = scene.named("vxlan", "vx0").unwrap();
    let (_, mut events) = scene.graph.subscribe();
    let ovs = |path: &str| {
        let ovs = scene.graph.node(&node.id)?.metadata.get("Ovs").cloned()?;
        ovs.pointer(path).cloned()
    };
    database.change("set interface vx0 statistics:rx_packets=5 link_resets=2");
    eventually("the counter", || {
        ovs("/Metric/RxPackets").filter(|count| *count == 5)
    });
    assert_eq!(ovs("/LinkResets"), Some(json!(2)));
    database.change("set interface vx0 statistics:rx_packets=7");
    eventually("what it gained", || {
        ovs("/LastUpdateMetric/RxPackets").filter(|count| *count == 2)
    });
    assert!(
        ovs("/LastUpdateMetric/Start").unwrap().as_i64() <= ovs("/LastUpdateMetric/Last").unwrap().as_i64()
    );
    assert_eq!(happened(&mut events), Vec::<String>::new());
    // What is said besides does not touch them.
    database.change("set interface vx0 options:key=9");
    eventually("the option", || ovs("/Options/key"));
    assert_eq!(ovs("/Metric/RxPackets"), Some(json!(7)));
    assert_eq!(happened(&mut events), ["~vxlan vx0"]);
}

#[test]
fn a_full_graph_takes_the_rows_when_there_is_room() {
    let database = Database::served();
    database.change("add-br br0");
    let graph = Arc::new(Graph::with_max_nodes("h", 2));
    let mut options = OvsdbOptions::new(database.address());
    options.settle = NEVER;
    let other = graph
        .upsert_node(NodeSpec::new(graph.host(), "device", "eth0"))
        .unwrap();
    let watcher = start(Arc::clone(&graph), options).unwrap();
    let scene = Scene { graph, watcher };
    let error = eventually("the refusal", || scene.watcher.health().last_error);
    assert_eq!(
        error,
        "rows are missing in the graph: the graph is full: it holds 2 nodes already; raise topology.max_nodes"
    );
    assert_eq!(scene.watcher.health().missing.as_ref(), Some(&error));
    scene.graph.edit(|edit| edit.remove_node(&other));
    eventually("the bridge", || scene.named("ovsbridge", "br0"));
    assert!(
        scene.watcher.health().missing.is_some(),
        "its port has no room yet"
    );
}

#[test]
fn what_is_on_a_bridge_comes_with_it_when_there_is_room() {
    let database = Database::served();
    let graph = Arc::new(Graph::with_max_nodes("h", 6));
    let others: Vec<_> = (0..5)
        .map(|number| {
            let name = format!("eth{number}");
            graph
                .upsert_node(NodeSpec::new(graph.host(), "device", &name))
                .unwrap()
        })
        .collect();
    let watcher = start(Arc::clone(&graph), OvsdbOptions::new(database.address())).unwrap();
    let scene = Scene { graph, watcher };
    database.change("add-br br0 -- add-port br0 vx0 -- set interface vx0 type=vxlan");
    eventually("the refusal", || scene.watcher.health().missing);
    // Room for all at once: the bridge is tried again, and nothing of the rest has changed.
    scene.graph.edit(|edit| {
        for other in &others {
            edit.remove_node(other);
        }
    });
    agree(&scene.graph, &database);
    eventually("the end of the complaint", || {
        scene.watcher.health().missing.is_none().then_some(())
    });
}

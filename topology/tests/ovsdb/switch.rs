//! All of it together: a real switch in a network namespace, the kernel's interfaces as the netlink
//! watcher sees them, and the rows of both in one graph.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flowtap_topology::watch::ovsdb::{OvsdbOptions, OvsdbWatcher, start};
use flowtap_topology::watch::{WatchOptions, Watchers};
use flowtap_topology::{Change, Graph, Node};
use serde_json::{Value, json};

use crate::graph::{agree, differences};
use crate::support::{Daemon, Database, eventually, run};

/// A network namespace, gone when the test ends.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self(format!("ftovs{}-{number}", std::process::id()));
        let added = Command::new("ip").args(["netns", "add", &namespace.0]).output();
        let added = added.expect("no ip: apt-get install iproute2");
        let error = String::from_utf8_lossy(&added.stderr);
        assert!(added.status.success(), "network namespaces need root: {error}");
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `ip` in it.
    fn ip(&self, arguments: &str) -> String {
        run(Command::new("ip")
            .args(["-n", &self.0])
            .args(arguments.split(' ')))
    }

    /// The ifindex of an interface in it.
    fn ifindex(&self, name: &str) -> Option<i64> {
        let links: Value = serde_json::from_str(&self.ip("-j link")).expect("JSON");
        let links = links.as_array().expect("a list");
        links.iter().find(|link| link["ifname"] == name)?["ifindex"].as_i64()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A switch that runs, with both watchers at work on one graph.
struct Lab {
    graph: Arc<Graph>,
    _netlink: Watchers,
    _ovsdb: OvsdbWatcher,
    switch: Option<Daemon>,
    database: Database,
    namespace: Namespace,
}

impl Lab {
    fn up() -> Self {
        let (namespace, database) = (Namespace::new(), Database::served());
        let graph = Arc::new(Graph::new("h"));
        let netlink = Watchers::start(Arc::clone(&graph), WatchOptions::default()).expect("netlink");
        let options = OvsdbOptions::new(database.address());
        let ovsdb = start(Arc::clone(&graph), options).expect("a thread");
        let mut lab = Self {
            graph,
            _netlink: netlink,
            _ovsdb: ovsdb,
            switch: None,
            database,
            namespace,
        };
        lab.start_switch();
        lab.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev");
        lab
    }

    fn start_switch(&mut self) {
        let mut command = self.database.command("ip");
        command.args([
            "netns",
            "exec",
            &self.namespace.0,
            "ovs-vswitchd",
            "--no-chdir",
            "-vconsole:off",
        ]);
        command.arg(format!(
            "--unixctl={}",
            self.database.path("vswitchd.ctl").display()
        ));
        command.arg(format!("unix:{}", self.database.path("db.sock").display()));
        self.switch = Some(Daemon::start(&mut command));
    }

    fn vsctl(&self, commands: &str) {
        self.database.vsctl(&commands.split(' ').collect::<Vec<_>>());
    }

    /// Plugs a "VM" in: a veth whose other end is in `guest`. The row before the device, or after it.
    fn plug(&self, guest: &Namespace, name: &str, row_first: bool) {
        let link = || {
            let guest = &guest.0;
            self.namespace.ip(&format!(
                "link add {name} type veth peer name e{name} netns {guest}"
            ));
            self.namespace.ip(&format!("link set {name} up"));
        };
        let row = |wait: &str| {
            let ids = format!("external_ids:vm-uuid=vm-{name} external_ids:iface-id=port-{name}");
            self.vsctl(&format!(
                "{wait}--may-exist add-port br0 {name} -- set interface {name} {ids}"
            ));
        };
        if row_first {
            row("--no-wait ");
            link();
        } else {
            link();
            row("");
        }
    }

    fn of_vm(&self, name: &str) -> Option<Arc<Node>> {
        let id = json!({"ID": format!("vm-{name}")});
        self.graph
            .nodes()
            .into_iter()
            .find(|node| node.metadata.get("VM") == Some(&id))
    }

    /// Waits until the VM's row is at the interface of the kernel that it is about.
    fn joined(&self, name: &str, namespace: &Namespace) -> Arc<Node> {
        let ifindex = namespace.ifindex(name).expect("it is there");
        eventually(&format!("{name} to be joined"), || {
            let node = self.of_vm(name)?;
            let snapshot = self.graph.snapshot();
            let owner = snapshot.owner(&node.id)?.name()? == namespace.0;
            let same = node.metadata.get("IfIndex").and_then(Value::as_i64) == Some(ifindex);
            (owner && same).then_some(node)
        })
    }
}

#[test]
fn the_graph_is_as_the_switch_after_every_change() {
    let lab = Lab::up();
    agree(&lab.graph, &lab.database);
    for commands in [
        "add-port br0 int0 tag=7 -- set interface int0 type=internal external_ids:vm-id=1",
        "add-br br1 -- set bridge br1 datapath_type=netdev protocols=OpenFlow13",
        "add-port br0 p0 -- set interface p0 type=patch options:peer=p1 -- add-port br1 p1 -- set interface p1 type=patch options:peer=p0",
        "add-port br0 vx0 -- set interface vx0 type=vxlan options:remote_ip=10.1.1.1 options:local_ip=10.1.1.2",
        "set interface int0 external_ids:vm-id=2 external_ids:attached-mac=fa\\:16\\:3e\\:00\\:00\\:01",
        "--no-wait add-port br0 nodev",
        "del-port nodev",
        "del-port p0 -- set bridge br0 other_config:hwaddr=02\\:00\\:00\\:00\\:00\\:01",
        "del-br br1 -- del-port vx0",
    ] {
        lab.vsctl(commands);
        agree(&lab.graph, &lab.database);
    }
    let int0 = lab
        .graph
        .nodes()
        .into_iter()
        .find(|node| node.name() == Some("int0") && node.node_type() == Some("internal"));
    let int0 = int0.expect("an internal port has Skydive's type");
    assert_eq!(int0.metadata["IfIndex"].as_i64(), lab.namespace.ifindex("int0"));
    lab.vsctl("del-br br0");
    agree(&lab.graph, &lab.database);
}

#[test]
fn virtual_machines_come_and_go_without_false_history() {
    let lab = Lab::up();
    let guest = Namespace::new();
    let (_, mut events) = lab.graph.subscribe();
    for row_first in [true, false, true] {
        lab.plug(&guest, "tap0", row_first);
        let tap = lab.joined("tap0", &lab.namespace);
        assert_eq!(tap.node_type(), Some("veth"));
        agree(&lab.graph, &lab.database);
        if row_first {
            lab.namespace.ip("link del tap0");
            lab.vsctl("del-port tap0");
        } else {
            lab.vsctl("del-port tap0");
            lab.namespace.ip("link del tap0");
        }
        agree(&lab.graph, &lab.database);
        eventually("the VM to be gone", || lab.of_vm("tap0").is_none().then_some(()));
    }
    let mut made = Vec::new();
    while let Some(event) = events.try_next().expect("few events") {
        if let Change::NodeAdded(node) = &event.change
            && node.name() == Some("tap0")
        {
            made.push(node.node_type().unwrap_or_default().to_owned());
        }
    }
    made.sort();
    assert_eq!(made, ["ovsport", "ovsport", "ovsport", "veth", "veth", "veth"]);
}

#[test]
fn a_device_may_vanish_under_its_row_and_move_and_come_back() {
    let lab = Lab::up();
    let (guest, elsewhere) = (Namespace::new(), Namespace::new());
    lab.plug(&guest, "tap0", false);
    lab.joined("tap0", &lab.namespace);
    // A hypervisor that dies before it has unplugged the port.
    lab.namespace.ip("link del tap0");
    let own = eventually("a node of its own", || {
        let node = lab.of_vm("tap0")?;
        (node.node_type() == Some("system")).then_some(node)
    });
    agree(&lab.graph, &lab.database);
    assert!(!own.metadata.contains_key("IfIndex"));
    lab.plug(&guest, "tap0", false);
    lab.joined("tap0", &lab.namespace);
    agree(&lab.graph, &lab.database);
    // An internal port is given to a namespace: the switch goes on with it, the row says ifindex 0.
    lab.vsctl("add-port br0 int0 -- set interface int0 type=internal external_ids:vm-id=vm-int0");
    lab.joined("int0", &lab.namespace);
    lab.namespace.ip(&format!("link set int0 netns {}", elsewhere.0));
    let moved = lab.joined("int0", &elsewhere);
    assert_eq!(moved.node_type(), Some("internal"));
    eventually("the row to say that it is away", || {
        let text = lab.database.vsctl(&["get", "interface", "int0", "ifindex"]);
        (text.trim() == "0").then_some(())
    });
    agree(&lab.graph, &lab.database);
    lab.joined("int0", &elsewhere);
}

#[test]
fn switch_and_database_may_be_restarted() {
    let mut lab = Lab::up();
    let guest = Namespace::new();
    lab.plug(&guest, "tap0", false);
    let before = lab.joined("tap0", &lab.namespace).id.clone();
    agree(&lab.graph, &lab.database);
    let bridge = || lab_node(&lab, "ovsbridge").id.clone();
    let bridge_before = bridge();
    lab.switch.take().expect("it runs").terminate();
    lab.start_switch();
    lab.vsctl("add-port br0 int0 -- set interface int0 type=internal");
    agree(&lab.graph, &lab.database);
    lab.switch.take().expect("it runs").kill();
    lab.database.kill();
    lab.database.serve();
    lab.start_switch();
    lab.vsctl("del-port int0 -- set bridge br0 external_ids:x=y");
    agree(&lab.graph, &lab.database);
    assert_eq!(lab.joined("tap0", &lab.namespace).id, before);
    assert_eq!(lab_node(&lab, "ovsbridge").id, bridge_before);
}

fn lab_node(lab: &Lab, node_type: &str) -> Arc<Node> {
    let nodes = lab.graph.nodes();
    let mut nodes = nodes.into_iter();
    nodes
        .find(|node| node.node_type() == Some(node_type))
        .expect("it is there")
}

#[test]
fn two_hundred_ports_leave_nothing_behind() {
    let lab = Lab::up();
    agree(&lab.graph, &lab.database);
    let before = switch_nodes(&lab);
    for round in 0..2 {
        let names: Vec<String> = (0..100).map(|port| format!("i{round}x{port}")).collect();
        let add = names
            .iter()
            .map(|name| format!("add-port br0 {name} -- set interface {name} type=internal"));
        lab.vsctl(&add.collect::<Vec<_>>().join(" -- "));
        agree(&lab.graph, &lab.database);
        assert_eq!(switch_nodes(&lab), before + 200);
        let delete = names.iter().map(|name| format!("del-port {name}"));
        lab.vsctl(&delete.collect::<Vec<_>>().join(" -- "));
        agree(&lab.graph, &lab.database);
    }
    assert_eq!(switch_nodes(&lab), before);
    assert!(differences(&lab.graph, &lab.database).is_empty());
}

/// How many nodes have a row.
fn switch_nodes(lab: &Lab) -> usize {
    let nodes = lab.graph.nodes();
    nodes
        .iter()
        .filter(|node| node.metadata.contains_key("UUID"))
        .count()
}

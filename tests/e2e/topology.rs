//! The graph of a host with a real Open vSwitch and machines that come and go.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::support::{Server, eventually};

/// The nodes that a query names.
fn nodes(server: &Server, gremlin: &str) -> Vec<Value> {
    let answer = server.query(gremlin);
    answer.as_array().expect("nodes").clone()
}

/// The one node that a query names, as soon as it does.
fn node(server: &Server, gremlin: &str) -> Value {
    eventually(gremlin, || {
        // A bridge owns its port and passes frames to it: two edges.
        let mut nodes = nodes(server, &format!("{gremlin}.Dedup()"));
        (nodes.len() == 1).then(|| nodes.remove(0)["Metadata"].take())
    })
}

fn gone(server: &Server, gremlin: &str) {
    eventually(&format!("the end of {gremlin}"), || {
        nodes(server, gremlin).is_empty().then_some(())
    });
}

/// Milliseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 584,000,000")
}

#[test]
fn a_machine_is_in_the_graph_while_it_lives() {
    let lab = Lab::up("t");
    let data = tempfile::tempdir().expect("a directory");
    let server = lab.server(data.path());
    let before = now();

    for order in ["link", "row"] {
        let id = lab.script("boot-vm.sh", &["vm3", "10.77.1.13", order]);
        let by_id = format!("G.V().Has('ExtID.vm-id', '{id}')");
        let tap = node(&server, &format!("{by_id}.Has('State', 'UP')"));
        assert_eq!((&tap["Name"], &tap["Type"]), (&json!("tapvm3"), &json!("veth")));
        assert_eq!(tap["VM"]["ID"], *id, "{tap}");
        assert_eq!(tap["ExtID"]["vm-uuid"], *id, "OpenStack's other name for it");
        let links: Value =
            serde_json::from_str(&lab.ip(&lab.switch(), &["-j", "link", "show", "tapvm3"])).expect("JSON");
        assert_eq!(tap["IfIndex"], links[0]["ifindex"]);
        assert_eq!(tap["MAC"], links[0]["address"]);
        assert_eq!(tap["MTU"], links[0]["mtu"]);

        // From the port to the machine behind it, and from bridge to port.
        let eth0 = node(&server, &format!("{by_id}.Both('Name', 'eth0', 'State', 'UP')"));
        eventually("the machine's address", || {
            let eth0 = nodes(
                &server,
                &format!("{by_id}.Both('Name', 'eth0').Has('IPV4', '10.77.1.13/16')"),
            );
            (eth0.len() == 1).then_some(())
        });
        assert_eq!(
            Some(eth0["MAC"].as_str()),
            Some(tap["ExtID"]["attached-mac"].as_str())
        );
        node(
            &server,
            "G.V().Has('Type', 'ovsbridge', 'Name', 'br-int').Out('Type', 'ovsport', 'Name', 'tapvm3')",
        );
        let path = eventually("a way from machine to machine", || {
            let paths = server.query(&format!(
                "{by_id}.Both('Name', 'eth0').ShortestPathTo(Metadata('Name', 'tapvm1', 'Type', 'veth'), \
                 Metadata('RelationType', 'layer2'))"
            ));
            paths.as_array()?.first().cloned()
        });
        let names: Vec<&str> = path
            .as_array()
            .expect("a path")
            .iter()
            .filter_map(|node| node["Metadata"]["Name"].as_str())
            .collect();
        assert_eq!(names, ["eth0", "tapvm3", "tapvm3", "br-int", "tapvm1", "tapvm1"]);

        let during = now();
        lab.script("kill-vm.sh", &["vm3"]);
        gone(&server, &by_id);
        gone(&server, "G.V().Has('Name', 'tapvm3')");
        let then = |at: u64| nodes(&server, &format!("G.At({at}).V().Has('ExtID.vm-id', '{id}')")).len();
        assert_eq!((then(before), then(during)), (0, 1), "{order} first");
        eventually("its past", || (then(now()) == 0).then_some(()));
    }
}

#[test]
fn what_a_crash_leaves_and_what_the_switch_changes() {
    let lab = Lab::up("c");
    let data = tempfile::tempdir().expect("a directory");
    let server = lab.server(data.path());
    let id = lab.script("boot-vm.sh", &["vm4", "10.77.1.14"]);
    let by_id = format!("G.V().Has('ExtID.vm-id', '{id}')");
    node(&server, &format!("{by_id}.Has('State', 'UP')"));

    // The row stays, with nothing behind it: it has a node of its own, without an index.
    lab.script("kill-vm.sh", &["vm4", "crash"]);
    eventually("a row without a device", || {
        let left = nodes(&server, &by_id);
        (left.len() == 1 && left[0]["Metadata"]["IfIndex"].is_null()).then_some(())
    });
    lab.vsctl(&["del-port", "tapvm4"]);
    gone(&server, &by_id);

    // Bridges joined by a patch.
    lab.vsctl(&[
        "add-br",
        "br-ex",
        "--",
        "set",
        "bridge",
        "br-ex",
        "datapath_type=netdev",
        "--",
        "add-port",
        "br-int",
        "to-ex",
        "--",
        "set",
        "interface",
        "to-ex",
        "type=patch",
        "options:peer=to-int",
        "--",
        "add-port",
        "br-ex",
        "to-int",
        "--",
        "set",
        "interface",
        "to-int",
        "type=patch",
        "options:peer=to-ex",
    ]);
    node(
        &server,
        "G.V().Has('Type', 'patch', 'Name', 'to-ex').Both('Type', 'patch', 'Name', 'to-int')",
    );
    let bridge = node(&server, "G.V().Has('Type', 'ovsbridge', 'Name', 'br-ex')");
    assert_eq!(bridge["UUID"], *lab.vsctl(&["get", "bridge", "br-ex", "_uuid"]));
    lab.vsctl(&["set", "bridge", "br-ex", "external_ids:rack=r7"]);
    node(&server, "G.V().Has('Type', 'ovsbridge', 'ExtID.rack', 'r7')");
    lab.vsctl(&["del-port", "to-ex", "--", "del-br", "br-ex"]);
    gone(&server, "G.V().Has('Type', 'patch')");
    gone(&server, "G.V().Has('Name', 'br-ex')");
}

/// The interfaces that the kernel and Open vSwitch have, as what tells one from another.
fn real(lab: &Lab) -> BTreeSet<String> {
    let links = lab.ip(&lab.switch(), &["-j", "link", "show"]);
    let links: Vec<Value> = serde_json::from_str(&links).expect("JSON");
    let links = links.iter().map(|link| {
        let number = |key: &str| link[key].as_u64().expect("a number");
        let text = |key: &str| link[key].as_str().expect("a text");
        interface(text("ifname"), number("ifindex"), number("mtu"))
    });
    let ports = lab.vsctl(&["list-ports", "br-int"]);
    let rows = ports.lines().map(|name| {
        let id = lab.vsctl(&["--if-exists", "get", "interface", name, "external_ids:vm-id"]);
        port(name, id.trim().trim_matches('"'))
    });
    links.chain(rows).collect()
}

/// The same, as the graph has it.
fn told(server: &Server) -> BTreeSet<String> {
    let links = nodes(server, "G.V().Has('Type', 'host').Out().HasKey('IfIndex')");
    let links = links.iter().map(|node| {
        let metadata = &node["Metadata"];
        let number = |key: &str| metadata[key].as_u64().unwrap_or_default();
        interface(
            metadata["Name"].as_str().unwrap_or_default(),
            number("IfIndex"),
            number("MTU"),
        )
    });
    let ports = nodes(
        server,
        "G.V().Has('Type', 'ovsbridge', 'Name', 'br-int').Out('Type', 'ovsport')",
    );
    let rows = ports.iter().filter_map(|node| {
        let name = node["Metadata"]["Name"].as_str().unwrap_or_default();
        let by_name = format!("G.V().Has('Name', '{name}').HasKey('ExtID.vm-id').Values('ExtID.vm-id')");
        let ids = server.query(&by_name);
        // A bridge's own port is not listed by Open vSwitch.
        (name != "br-int").then(|| port(name, ids[0].as_str().unwrap_or_default()))
    });
    links.chain(rows).collect()
}

fn interface(name: &str, index: u64, mtu: u64) -> String {
    format!("interface {name} {index} {mtu}")
}

fn port(name: &str, vm: &str) -> String {
    format!("port {name} {vm}")
}

#[test]
fn the_graph_is_what_there_is_without_waiting_to_be_asked() {
    let lab = Lab::up("q");
    let data = tempfile::tempdir().expect("a directory");
    let server = lab.server(data.path());
    let equal = || {
        let real = real(&lab);
        eventually("the graph of what there is", || {
            (told(&server) == real).then_some(())
        });
    };
    equal();
    // What is looked at every 30 s would show a change as well: so often at most as that was done.
    let looks = || {
        let tap = nodes(&server, "G.V().Has('Type', 'veth', 'Name', 'tapvm1')");
        tap[0]["Metadata"]["Metric"]["Last"].clone()
    };
    let mut seen = vec![looks()];
    let mut changes = 0;
    let mut change = |what: &str, make: &dyn Fn()| {
        make();
        let made = Instant::now();
        equal();
        // The time that it takes to ask both sides is in it.
        println!("{what}: the graph is equal {:?} after it", made.elapsed());
        changes += 1;
        seen.push(looks());
    };
    let ip = |line: &str| {
        let arguments: Vec<_> = line.split(' ').collect();
        lab.ip(&lab.switch(), &arguments);
    };
    change("ip link add", &|| ip("link add qa type veth peer name qb"));
    change("ip link set name", &|| ip("link set qa name qc"));
    change("ip link set mtu", &|| ip("link set qc mtu 1400"));
    change("ovs-vsctl add-port", &|| {
        drop(lab.vsctl(&["add-port", "br-int", "qc"]))
    });
    change("ovs-vsctl set external_ids", &|| {
        drop(lab.vsctl(&["set", "interface", "qc", "external_ids:vm-id=q"]));
    });
    change("ovs-vsctl del-port", &|| drop(lab.vsctl(&["del-port", "qc"])));
    change("ip link del", &|| ip("link del qc"));
    change("boot-vm", &|| {
        drop(lab.script("boot-vm.sh", &["vm3", "10.77.1.13"]))
    });
    change("kill-vm", &|| drop(lab.script("kill-vm.sh", &["vm3"])));
    change("boot-vm again", &|| {
        drop(lab.script("boot-vm.sh", &["vm3", "10.77.1.13"]))
    });
    change("kill-vm crash", &|| {
        drop(lab.script("kill-vm.sh", &["vm3", "crash"]))
    });
    seen.dedup();
    println!(
        "{changes} changes, {} looks at counters meanwhile",
        seen.len() - 1
    );
    assert!(
        seen.len() - 1 < changes,
        "each change waited for the next look at all"
    );
}

#[test]
fn interfaces_that_come_and_go_leave_nothing() {
    let lab = Lab::up("l");
    let data = tempfile::tempdir().expect("a directory");
    let server = lab.server_alone(data.path());
    for vm in ["vm1", "vm2"] {
        let by_name = format!("G.V().Has('Type', 'veth', 'Name', 'tap{vm}', 'State', 'UP').HasKey('VM.ID')");
        node(&server, &by_name);
    }
    let threads = || std::fs::read_dir(format!("/proc/{}/task", server.pid())).map_or(0, Iterator::count);
    let files = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count);
    let count = || server.count("G.V().Count()");
    let (nodes_before, threads_before, files_before) = (count(), threads(), files());

    for round in 0..4 {
        // The other ends are named by the kernel.
        let name = |i: usize| format!("d{round}x{i}");
        for i in 0..25 {
            lab.ip(&lab.switch(), &["link", "add", &name(i), "type", "veth"]);
        }
        eventually("fifty interfaces", || {
            let made = server.count(&format!(
                "G.V().Has('Name', Regex('d{round}x.*')).Both('Type', 'veth').Count()"
            ));
            (made == 25 && count() == nodes_before + 50).then_some(())
        });
        for i in 0..25 {
            lab.ip(&lab.switch(), &["link", "del", &name(i)]);
        }
    }
    eventually("as many nodes as before", || {
        (count() == nodes_before).then_some(())
    });
    // A connection that has just been closed may still be on its way out.
    eventually("as many threads and files as before", || {
        (threads() <= threads_before && files() <= files_before).then_some(())
    });
}

#[test]
fn flows_lead_to_the_machines_that_they_are_of() {
    let lab = Lab::up("f");
    let data = tempfile::tempdir().expect("a directory");
    let server = lab.server(data.path());
    lab.script("sflow.sh", &["on"]);
    lab.inside(&lab.namespace("vm1"), &["ping", "-c5", "-i0.1", "10.77.1.12"]);
    let flow = "G.Flows().Has('Application', 'ICMPv4', 'Network.A', '10.77.1.11')";
    eventually("the ping's flow", || {
        (server.count(&format!("{flow}.Count()")) == 1).then_some(())
    });
    // Out leads to the node with the MAC address of the flow's B, In to that of its A.
    for (step, vm) in [("Out", "10.77.1.12/16"), ("In", "10.77.1.11/16")] {
        let eth0 = node(&server, &format!("{flow}.{step}('Name', 'eth0')"));
        assert_eq!(eth0["IPV4"], json!([vm]), "{step}");
    }
    // Where it was seen: the switch's sFlow agent, whose ports are interfaces of this host.
    let agent = node(&server, &format!("{flow}.CaptureNode()"));
    assert_eq!(agent["Type"], "sflowagent");
    for vm in ["vm1", "vm2"] {
        node(
            &server,
            &format!(
                "{flow}.CaptureNode().Out('Type', 'switchport').Both('Type', 'veth', 'Name', 'tap{vm}')"
            ),
        );
    }
    let again = format!("{flow}.Hops().Flows().Has('Application', 'ICMPv4').Count()");
    assert_eq!(server.count(&again), 1);
}

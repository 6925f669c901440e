//! Skydive's own functional tests of topology and steps, again: each thing is looked for in the graph as it is,
//! and once more in its history.
//!
//! | there | here |
//! |---|---|
//! | BridgeOVS, InterfaceOVS, OVSOwnershipLink, NameSpaceOVSInterface | [`an_open_vswitch`] |
//! | Veth, Bridge, MacNameUpdate, InterfaceUpdate, InterfaceFeatures, Neighbors, RouteTable, RouteTableHistory | [`interfaces_of_the_kernel`] |
//! | NameSpace, NameSpaceVeth, InterfaceMetrics | [`namespaces_and_what_they_count`] |
//! | NodeRuleCreate, NodeRuleUpdate, NodeRuleDelete, EdgeRule | [`rules`] |
//! | SFlowMetric, FlowHops, FlowsWithShortestPath, FlowSumStep, Sort | [`what_a_switch_samples`] |
//!
//! PatchOVS and the life of a machine are in `topology.rs`, captures in `capture.rs`, the steps over flows in
//! the golden queries of the Gremlin crate.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::lab::Lab;
use crate::support::{Server, eventually};

struct Rig {
    lab: Lab,
    server: Server,
    _data: tempfile::TempDir,
}

/// Milliseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 584,000,000")
}

impl Rig {
    fn new() -> Self {
        let lab = Lab::up("s");
        let data = tempfile::tempdir().expect("a directory");
        let server = lab.server_counting(data.path());
        Self {
            lab,
            server,
            _data: data,
        }
    }

    /// The metadata of what `G.STEPS` leads to, once it is one node; it was one in the past as well then.
    fn seen(&self, steps: &str) -> Value {
        let query = format!("{steps}.Dedup()");
        let mut one = eventually(steps, || {
            let nodes = self.server.query(&format!("G.{query}"));
            (nodes.as_array()?.len() == 1).then_some(nodes)
        });
        let then = now();
        assert_eq!(
            self.count(&format!("At({then}).{query}.Count()")),
            1,
            "{then}: {steps}"
        );
        one[0]["Metadata"].take()
    }

    /// Waits until `G.STEPS` leads nowhere. `then` it led somewhere.
    fn gone(&self, steps: &str, then: u64) {
        eventually(&format!("the end of {steps}"), || {
            (self.count(&format!("{steps}.Count()")) == 0).then_some(())
        });
        assert_ne!(
            self.count(&format!("At({then}).{steps}.Count()")),
            0,
            "{then}: {steps}"
        );
        let after = now();
        assert_eq!(
            self.count(&format!("At({after}).{steps}.Count()")),
            0,
            "{after}: {steps}"
        );
    }

    fn count(&self, steps: &str) -> u64 {
        self.server.count(&format!("G.{steps}"))
    }

    /// `ip` in the switch's namespace.
    fn ip(&self, arguments: &str) {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        self.lab.ip(&self.lab.switch(), &arguments);
    }

    fn vsctl(&self, arguments: &str) {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        self.lab.vsctl(&arguments);
    }

    /// Makes something with `flowtap client KIND create`, and returns its id.
    fn create(&self, kind: &str, arguments: &[&str]) -> String {
        let arguments: Vec<&str> = ["client", kind, "create"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let made: Value = serde_json::from_str(&self.server.text(&arguments)).expect("JSON");
        made["UUID"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn skydives_functional_tests_of_the_topology() {
    let rig = Rig::new();
    an_open_vswitch(&rig);
    interfaces_of_the_kernel(&rig);
    namespaces_and_what_they_count(&rig);
    rules(&rig);
    what_a_switch_samples(&rig);
}

fn an_open_vswitch(rig: &Rig) {
    rig.vsctl("add-br br-t -- set bridge br-t datapath_type=netdev other_config:note=x");
    rig.vsctl("add-port br-t intf1 tag=7 -- set interface intf1 type=internal");
    let bridge = rig.seen("V().Has('Type', 'ovsbridge', 'Name', 'br-t')");
    assert_eq!(bridge["Ovs"]["DatapathType"], "netdev", "{bridge}");
    assert_eq!(bridge["Ovs"]["OtherConfig"]["note"], "x");
    let on_bridge = "V().Has('Type', 'ovsbridge', 'Name', 'br-t').Out('Type', 'ovsport', 'Name', 'intf1')";
    assert_eq!(rig.seen(on_bridge)["Vlans"], 7);
    let interface =
        format!("{on_bridge}.Out('Type', 'internal', 'Name', 'intf1').HasKey('UUID').HasKey('OfPort')");
    assert!(rig.seen(&interface)["MAC"].is_string());
    // The bridge owns its port, the host the interface.
    rig.seen(&format!(
        "{on_bridge}.InE('RelationType', 'ownership').InV('Name', 'br-t')"
    ));
    rig.seen(
        "V().Has('Name', 'intf1', 'Type', 'internal').InE('RelationType', 'ownership').InV('Type', 'host')",
    );
    // A bond is one port with two interfaces.
    rig.vsctl(
        "add-bond br-t bond1 bm1 bm2 bond_mode=balance-slb lacp=active -- set interface bm1 type=internal \
         -- set interface bm2 type=internal",
    );
    let bond = "V().Has('Type', 'ovsport', 'Name', 'bond1', 'BondMode', 'balance-slb', 'LACP', 'active')";
    for member in ["bm1", "bm2"] {
        rig.seen(&format!("{bond}.Out('Type', 'internal', 'Name', '{member}')"));
    }
    // Trunks, and a port that changes.
    rig.vsctl("set port intf1 trunks=[4,30] vlan_mode=native-tagged");
    let trunk = rig.seen(&format!("{on_bridge}.Has('Trunks', 30)"));
    assert_eq!(
        (&trunk["Trunks"], &trunk["Ovs"]["VlanMode"]),
        (&json!([4, 30]), &json!("native-tagged"))
    );

    // The interface moves into a namespace, and is still the bridge's.
    let namespace = rig.lab.add_namespace("ovs");
    rig.ip(&format!("link set intf1 netns {namespace}"));
    rig.seen(&format!(
        "V().Has('Type', 'netns', 'Name', '{namespace}').Out('Name', 'intf1', 'Type', 'internal')"
    ));
    rig.seen(&interface);
    let then = now();
    rig.vsctl("del-br br-t");
    for steps in [
        "V().Has('Name', 'br-t')",
        "V().Has('Name', 'bond1')",
        "V().Has('Name', 'intf1')",
    ] {
        rig.gone(steps, then);
    }
    rig.lab.delete_namespace("ovs");
}

fn interfaces_of_the_kernel(rig: &Rig) {
    rig.ip("link add fa0 type veth peer name fb0");
    rig.ip("link set fa0 up");
    rig.ip("link set fb0 up");
    let pair =
        "V().Has('Type', 'veth', 'Name', 'fa0').BothE('RelationType', 'layer2', 'Type', 'veth').BothV()";
    rig.seen(&format!("{pair}.Has('Name', 'fb0')"));

    rig.ip("link add fbr type bridge");
    rig.ip("link set fbr up");
    rig.ip("link set fb0 master fbr");
    let member = "V().Has('Type', 'bridge', 'Name', 'fbr').OutE('Type', 'bridge').OutV('Name', 'fb0')";
    let port = rig.seen(member);
    assert_eq!(
        port["MasterIndex"],
        rig.seen("V().Has('Type', 'bridge', 'Name', 'fbr')")["IfIndex"]
    );
    let path =
        "V().Has('Name', 'fa0').ShortestPathTo(Metadata('Name', 'fbr'), Metadata('RelationType', 'layer2'))";
    let way = rig.server.query(&format!("G.{path}"));
    assert_eq!(way[0].as_array().map(Vec::len), Some(3), "{way}");
    // What the kernel tells of on a bridge of its own: forwarding entries.
    let fdb = [
        "fdb",
        "add",
        "02:00:00:00:0f:db",
        "dev",
        "fb0",
        "master",
        "static",
    ];
    rig.lab
        .inside(&rig.lab.switch(), &[&["bridge"], &fdb[..]].concat());
    rig.seen("V().Has('Name', 'fb0', 'FDB.MAC', '02:00:00:00:0f:db')");
    let then = now();
    rig.ip("link set fb0 nomaster");
    rig.gone(member, then);

    // Name and address change; it is the same interface, and its past has the old ones.
    let before = now();
    for change in ["down", "name fc0", "address 02:00:00:00:00:aa", "up"] {
        let name = if change == "down" || change == "name fc0" {
            "fb0"
        } else {
            "fc0"
        };
        rig.ip(&format!("link set {name} {change}"));
    }
    let renamed = rig.seen("V().Has('Name', 'fc0', 'MAC', '02:00:00:00:00:aa', 'State', 'UP')");
    assert_eq!(renamed["IfIndex"], port["IfIndex"]);
    rig.gone("V().Has('Name', 'fb0')", before);
    rig.seen(&format!("{pair}.Has('Name', 'fc0')"));

    // Addresses, MTU.
    rig.ip("link set fa0 mtu 1400");
    rig.ip("addr add 10.99.0.1/24 dev fa0");
    rig.seen("V().Has('Name', 'fa0', 'MTU', 1400, 'IPV4', '10.99.0.1/24')");
    // Neighbours.
    rig.ip("neigh add 10.99.0.9 lladdr 02:00:00:00:00:09 dev fa0 nud permanent");
    let neighbour =
        "V().Has('Name', 'fa0', 'Neighbors.IP', '10.99.0.9', 'Neighbors.MAC', '02:00:00:00:00:09')";
    rig.seen(neighbour);
    // Routes come and go, and the way to where they lead.
    rig.ip("route add 198.51.100.0/24 via 10.99.0.9");
    let route = "V().Has('Name', 'fa0', 'RoutingTables.Routes.Prefix', '198.51.100.0/24')";
    rig.seen(route);
    let hops = rig.server.query(&format!("G.{route}.NextHop('198.51.100.7')"));
    let hop = hops[0]
        .as_object()
        .and_then(|hops| hops.values().next())
        .cloned()
        .unwrap_or_default();
    assert_eq!(hop["IP"], "10.99.0.9", "{hops}");
    let then = now();
    rig.ip("route del 198.51.100.0/24 via 10.99.0.9");
    rig.gone(route, then);
    rig.ip("neigh del 10.99.0.9 dev fa0");
    rig.gone(neighbour, then);
    // Features.
    for setting in ["off", "on"] {
        let set = ["ethtool", "-K", "fa0", "tx-checksum-ip-generic", setting];
        rig.lab.inside(&rig.lab.switch(), &set);
        let is_on = setting == "on";
        eventually("the feature", || {
            let node = rig.seen("V().Has('Name', 'fa0')");
            (node["Features"]["tx-checksum-ip-generic"] == is_on).then_some(())
        });
    }
    // Kinds that stand on another interface, as far as this kernel has them.
    for (kind, options) in [
        ("macvlan", "mode bridge"),
        ("ipvlan", "mode l2"),
        ("vlan", "id 5"),
        ("macvtap", ""),
    ] {
        let name = format!("k{kind}");
        let line = format!("link add {name} link fa0 type {kind} {options}");
        if !rig.lab.has_kind(&line) {
            continue;
        }
        let upon =
            format!("V().Has('Name', 'fa0').OutE('Type', '{kind}').OutV('Name', '{name}', 'Type', '{kind}')");
        rig.seen(&upon);
        let then = now();
        rig.ip(&format!("link del {name}"));
        rig.gone(&upon, then);
    }
    if rig.lab.has_kind("link add kbond type bond mode active-backup") {
        rig.ip("link set fc0 down");
        rig.ip("link set fc0 master kbond");
        rig.seen("V().Has('Name', 'kbond', 'Type', 'bond', 'BondMode', 'active-backup').Out('Name', 'fc0').HasKey('BondSlave')");
    }
    let then = now();
    rig.ip("link del fa0");
    rig.gone("V().Has('Name', 'fa0')", then);
    rig.gone("V().Has('Name', 'fc0')", then);
}

/// Skydive's name for `text`: UUIDv5 under the OID namespace, whose 17th digit its generator writes otherwise.
fn skydives_uuid(text: &str) -> String {
    let mut bytes = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).into_bytes();
    bytes[8] = bytes[8] & 0x3f | 0x40;
    Uuid::from_bytes(bytes).to_string()
}

fn namespaces_and_what_they_count(rig: &Rig) {
    let namespace = rig.lab.add_namespace("ns");
    let owner = format!("V().Has('Type', 'netns', 'Name', '{namespace}')");
    let node = rig.seen(&owner);
    // Both as Skydive's agents tell them, where /var/run is a link to /run as everywhere.
    let path = format!("/var/run/netns/{namespace}");
    assert_eq!(node["Path"], path, "{node}");
    let host = rig.seen("V().Has('Type', 'host')");
    let root = host["TID"].as_str().expect("a TID");
    assert_eq!(
        node["TID"],
        skydives_uuid(&format!("{root}{path}netns")),
        "{node}"
    );
    rig.ip(&format!(
        "link add fv0 type veth peer name eth0 netns {namespace}"
    ));
    rig.seen(&format!("{owner}.Out('Name', 'eth0', 'Type', 'veth')"));
    rig.seen("V().Has('Name', 'fv0').BothE('Type', 'veth').BothV().Has('Name', 'eth0')");

    rig.lab.ip(&namespace, &["link", "set", "lo", "up"]);
    let lo = format!("{owner}.Out('Name', 'lo')");
    rig.seen(&format!("{lo}.Has('State', 'UP')"));
    // Each of these is read in at least one interval of its own: all of them are kept.
    for pings in 1..=3_u64 {
        rig.lab
            .inside(&namespace, &["ping", "-c", "10", "-i", "0.01", "-q", "127.0.0.1"]);
        let of_lo = format!("{lo}.HasKey('Metric').Metrics()");
        eventually("what was counted", || {
            let sum = rig.count(&format!("At(NOW, 600).{of_lo}.Sum('RxPackets')"));
            assert!(sum <= 20 * pings, "{sum} of {pings}");
            (sum == 20 * pings).then_some(())
        });
        let intervals = rig.server.query(&format!("G.At(NOW, 600).{of_lo}"));
        let intervals = intervals[0]
            .as_object()
            .and_then(|nodes| nodes.values().next())
            .cloned();
        let intervals = intervals.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
        assert!(
            u64::try_from(intervals).expect("few") >= pings,
            "{intervals} intervals"
        );
        // As Grafana asks.
        let aggregated = rig
            .server
            .query(&format!("G.At(NOW, 600).{of_lo}.Aggregates(10)"));
        let slices = aggregated[0]["Aggregated"].as_array().expect("slices");
        let sum: u64 = slices
            .iter()
            .filter_map(|slice| slice["RxPackets"].as_u64())
            .sum();
        assert_eq!(sum, 20 * pings, "{aggregated}");
    }
    let then = now();
    rig.lab.delete_namespace("ns");
    rig.gone(&owner, then);
    // What it counted can still be asked for.
    assert_eq!(
        rig.count(&format!("At({then}, 600).{lo}.Metrics().Sum('RxPackets')")),
        60
    );
}

fn rules(rig: &Rig) {
    let tor = [
        "--action=create",
        "--node-name=TOR1",
        "--node-type=fabric",
        "--metadata=Rack=r7",
    ];
    let create = rig.create("node-rule", &tor);
    rig.seen("V().Has('Name', 'TOR1', 'Type', 'fabric', 'Rack', 'r7')");
    // The host's own: labs of other tests have ports of this name, in their namespaces.
    let on_tap = "V().Has('Type', 'host').Out('Type', 'veth', 'Name', 'tapvm1')";
    let update = |metadata: &str| {
        let query = format!("--query=G.{on_tap}");
        let metadata = format!("--metadata={metadata}");
        rig.create("node-rule", &["--action=update", &query, &metadata])
    };
    let first = update("Rack.row=7, Rack.unit=1");
    let second = update("Rack.unit=2");
    let tap = rig.seen(&format!("{on_tap}.Has('Rack.unit', 2)"));
    assert_eq!(tap["Rack"], json!({"row": 7, "unit": 2}));
    let link = [
        "--src=G.V().Has('Name', 'TOR1')",
        "--relationtype=layer2",
        "--metadata=Speed=10G",
    ];
    let dst = format!("--dst=G.{on_tap}");
    let edges = rig.create("edge-rule", &[&link[..], &[dst.as_str()]].concat());
    let cabled =
        "V().Has('Name', 'TOR1').OutE('RelationType', 'layer2', 'Speed', '10G').OutV('Name', 'tapvm1')";
    rig.seen(cabled);
    let then = now();
    let delete = |kind: &str, id: &str| drop(rig.server.text(&["client", kind, "delete", id]));
    delete("node-rule", &second);
    let tap = rig.seen(&format!("{on_tap}.Has('Rack.unit', 1)"));
    assert_eq!(
        tap["Rack"],
        json!({"row": 7, "unit": 1}),
        "what the other rule says"
    );
    delete("node-rule", &first);
    rig.gone(&format!("{on_tap}.HasKey('Rack')"), then);
    delete("edge-rule", &edges);
    rig.gone(cabled, then);
    delete("node-rule", &create);
    rig.gone("V().Has('Name', 'TOR1')", then);
}

fn what_a_switch_samples(rig: &Rig) {
    rig.vsctl("set Open_vSwitch . other_config:stats-update-interval=1000");
    rig.lab.script("sflow.sh", &["on"]);
    let began = now();
    let ping = || {
        let vm1 = rig.lab.namespace("vm1");
        rig.lab
            .inside(&vm1, &["ping", "-c", "10", "-i", "0.02", "-q", "10.77.1.12"])
    };
    ping();
    let flow = "Flows().Has('Application', 'ICMPv4', 'Network.A', '10.77.1.11')";
    eventually("the ping's flow", || {
        (rig.count(&format!("{flow}.Count()")) == 1).then_some(())
    });
    // Counters as the switch keeps them, and as its sFlow agent sends them, over both pings.
    let since = |from: u64| format!("At(NOW, {})", (now() - from) / 1000 + 2);
    for (what, steps) in [
        (
            "Ovs",
            "V().Has('Name', 'tapvm1').HasKey('Ovs.Metric').Metrics('Ovs').Sum('RxPackets')",
        ),
        (
            "SFlow",
            "V().Has('Type', 'switchport', 'Name', 'tapvm1').HasKey('SFlow').Metrics('SFlow').Sum('IfInUcastPkts')",
        ),
    ] {
        let sum = || rig.count(&format!("{}.{steps}", since(began)));
        let before = eventually(what, || Some(sum()).filter(|sum| *sum > 0));
        ping();
        eventually(what, || (sum() >= before + 10).then_some(()));
    }
    let aggregated = rig.server.query(&format!(
        "G.{}.V().Has('Type', 'switchport').HasKey('SFlow').Metrics('SFlow').Aggregates(1)",
        since(began)
    ));
    assert!(
        aggregated[0]["Aggregated"]
            .as_array()
            .is_some_and(|slices| slices.len() > 1),
        "{aggregated}"
    );

    // From the flow to where it was seen and whose it is, and back.
    let nodes = rig
        .server
        .query(&format!("G.{flow}.Nodes().Dedup().Values('Type')"));
    assert!(
        nodes
            .as_array()
            .is_some_and(|types| types.contains(&json!("sflowagent"))),
        "{nodes}"
    );
    let machine = format!(
        "V().Has('Type', 'netns', 'Name', '{}').Out('Name', 'eth0')",
        rig.lab.namespace("vm1")
    );
    let way = format!("{machine}.ShortestPathTo(Metadata('Type', 'sflowagent'))");
    let of_way = format!("{way}.Flows().Has('Application', 'ICMPv4', 'Network.A', '10.77.1.11')");
    assert_eq!(rig.count(&format!("{of_way}.Count()")), 3, "each ping is one");
    eventually("all of the pings", || {
        (rig.count(&format!("{flow}.Sum('Metric.ABPackets')")) == 30).then_some(())
    });
    let sorted = rig.server.query("G.Flows().Sort(DESC, 'Last').Values('Last')");
    let last: Vec<_> = sorted
        .as_array()
        .expect("times")
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    assert!(last.is_sorted_by(|a, b| a >= b), "{last:?}");
    let then = now();
    assert_eq!(rig.count(&format!("At({then}, 60).{flow}.Count()")), 3);
    rig.lab.script("sflow.sh", &["off"]);
}

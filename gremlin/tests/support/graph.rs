//! A fixed graph, its past, and an engine over both.
//!
//! ```text
//! compute-1 ─┬─ br-int ─┬─ port-a ══ tap-a ══ veth0 (in vm1)
//!            │          └─ port-b ══ tap-b
//!            ├─ tap-a, tap-b, eth0 ══ sw1 ⟲
//!            └─ vm1 ─── veth0                 lonely
//! ```
//! `─` is ownership, `═` layer 2. Nothing owns `sw1` and `lonely`.

use std::collections::HashSet;
use std::sync::Arc;

use flowtap_gremlin::{Engine, EngineOptions};
use flowtap_topology::{
    Budget, Edge, Edit, Graph, History, HistoryError, Interval, Metadata, NewNode, Node, NodeId, NodeMetric,
    Slice, Snapshot, Tid, Topology, Wanted,
};
use serde_json::{Value as Json, json};

use super::{MemoryReader, Record, T, TinyCompiler, sample};

fn metadata(value: Json) -> Metadata {
    match value {
        Json::Object(map) => map,
        _ => Metadata::new(),
    }
}

fn put(edit: &mut Edit<'_>, id: &str, value: Json) -> NodeId {
    let node = NewNode {
        id: Some(NodeId::from(id)),
        metadata: metadata(value),
        ..NewNode::default()
    };
    edit.put_node(node).expect("a new ID")
}

/// IDs begin with numbers that give them their order: all but the host come at one instant.
pub(crate) fn fixed() -> Arc<Graph> {
    let graph = Arc::new(Graph::new("compute-1"));
    let host = graph.host().clone();
    graph.edit(|edit| {
        let routes = json!([
            {"ID": 254, "Src": "192.168.0.5", "Routes": [
                {"Protocol": 3, "Prefix": "0.0.0.0/0", "NextHops": [{"Priority": 100, "IP": "192.168.0.254", "IfIndex": 2}]},
                {"Protocol": 2, "Prefix": "10.0.0.0/8", "NextHops": [{"Priority": 0, "IP": "192.168.0.253", "IfIndex": 2}]},
                {"Protocol": 2, "Prefix": "10.0.0.0/24", "NextHops": [{"Priority": 0, "IfIndex": 3}]},
            ]},
            {"ID": 255, "Routes": [
                {"Protocol": 2, "Prefix": "192.168.0.5/32", "NextHops": [{"Priority": 0, "IfIndex": 1}]},
            ]},
        ]);
        edit.merge_metadata(&host, metadata(json!({"RoutingTables": routes, "OS": "linux"}))).expect("the host");
        let bridge = put(edit, "n1-br-int", json!({
            "Name": "br-int", "Type": "ovsbridge", "UUID": "b1", "Ovs": {"Protocols": ["OpenFlow13"]},
        }));
        let port_a = put(edit, "n2-port-a", json!({"Name": "tap-a", "Type": "ovsport", "UUID": "p1"}));
        let tap_a = put(edit, "n3-tap-a", json!({
            "Name": "tap-a", "Type": "tun", "IfIndex": 3, "MTU": 1450, "State": "UP",
            "MAC": "fe:16:3e:00:00:02", "PeerIntfMAC": "fa:16:3e:00:00:02",
            "ExtID": {"vm-id": "vm-1", "iface-status": "active"}, "VM": {"ID": "vm-1"},
            "Neighbors": [{"IP": "10.0.0.2", "MAC": "fa:16:3e:00:00:02", "IfIndex": 3, "State": ["NUD_REACHABLE"]}],
            "LastUpdateMetric": {"RxBytes": 100, "RxPackets": 2, "Start": T, "Last": T + 30_000},
            "Metric": {"RxBytes": 700, "RxPackets": 9},
        }));
        let port_b = put(edit, "n4-port-b", json!({"Name": "tap-b", "Type": "ovsport", "UUID": "p2"}));
        let tap_b = put(edit, "n5-tap-b", json!({
            "Name": "tap-b", "Type": "tun", "IfIndex": 4, "MTU": 1500, "State": "DOWN",
            "MAC": "FA:16:3E:00:00:03", "ExtID": {"vm-id": "vm-2", "iface-status": "inactive"},
            "LastUpdateMetric": {"RxBytes": 50, "TxBytes": 8, "Start": T + 15_000, "Last": T + 45_000},
            "Ovs": {"LastUpdateMetric": {"RxBytes": 7, "Start": T, "Last": T + 1_000}},
        }));
        let eth0 = put(edit, "n6-eth0", json!({
            "Name": "eth0", "Type": "device", "IfIndex": 2, "MTU": 1500, "State": "UP",
            "MAC": "fa:16:3e:00:00:05", "IPV4": ["192.168.0.5/24", "172.16.0.1/12"], "IPV6": ["fe80::5/64"],
            "Neighbors": [{"IP": "192.168.0.254", "MAC": "fa:16:3e:00:00:fe", "IfIndex": 2}],
            "SFlow": {"LastUpdateMetric": {"IfInOctets": 9, "Start": T, "Last": T + 10_000}},
            "Speed": 1000, "Ratio": 0.5,
        }));
        let namespace = put(edit, "n7-vm1", json!({
            "Name": "vm1", "Type": "netns", "Path": "/run/netns/vm1",
        }));
        let veth0 = put(edit, "n8-veth0", json!({
            "Name": "veth0", "Type": "veth", "IfIndex": 2, "MTU": 1450, "State": "UP",
            "MAC": "fa:16:3e:00:00:02", "IPV4": ["10.0.0.1/24"],
            "Sockets": [
                {"Protocol": "TCP", "State": "ESTABLISHED", "Process": "curl",
                 "LocalAddress": "192.168.0.5", "LocalPort": 47_838,
                 "RemoteAddress": "173.194.40.147", "RemotePort": 80},
                {"Protocol": "UDP", "State": "CLOSE", "Process": "dnsmasq",
                 "LocalAddress": "8.8.8.8", "LocalPort": 53,
                 "RemoteAddress": "192.168.0.5", "RemotePort": 37_686},
            ],
        }));
        let switch = put(edit, "n9-sw1", json!({
            "Name": "sw1", "Type": "switch", "Note-1": true, "Captures": [{"ID": "c1"}, {"ID": "c2", "Kind": "x"}],
            "Labels": {"app.kubernetes.io/name": "fabric", "a": {"b.c": 1}}, "Empty": [], "Nothing": null,
        }));
        put(edit, "na-lonely", json!({"Type": "device", "MTU": 9000, "Sockets": []}));
        for (owner, owned) in [
            (&host, &bridge), (&host, &tap_a), (&host, &tap_b), (&host, &eth0), (&host, &namespace),
            (&bridge, &port_a), (&bridge, &port_b), (&namespace, &veth0),
        ] {
            edit.link(owner, owned, "ownership", Metadata::new()).expect("both are there");
        }
        for (parent, child, kind) in [
            (&port_a, &tap_a, None), (&port_b, &tap_b, None), (&tap_a, &veth0, Some("veth")), (&eth0, &switch, None),
        ] {
            let extra = kind.map(|kind| ("Type".to_owned(), Json::from(kind)));
            edit.link(parent, child, "layer2", extra.into_iter().collect()).expect("both are there");
        }
        edit.link(&switch, &switch, "mirroring", Metadata::new()).expect("both are there");
    });
    graph
}

/// The TID that `id` has in the fixed graph.
pub(crate) fn tid(graph: &Graph, id: &str) -> Tid {
    graph
        .node(&NodeId::from(id))
        .and_then(|node| node.tid())
        .expect("a node with an owner")
}

/// The sample flows, seen at `tap-a` and (those of `node-b`) at `veth0`.
pub(crate) fn flows(graph: &Graph) -> Vec<Record> {
    let mut records = sample();
    for record in &mut records {
        let id = if &*record.flow.node_tid == "node-b" {
            "n8-veth0"
        } else {
            "n3-tap-a"
        };
        record.flow.node_tid = tid(graph, id).as_str().into();
    }
    records
}

/// Versions of elements, each from its `UpdatedAt` until the next one or its end.
pub(crate) struct Past {
    nodes: Vec<(i64, i64, Node)>,
    edges: Vec<(i64, i64, Edge)>,
    intervals: Vec<Interval>,
}

/// A bridge since 100 s before [`T`]; a port that was down, then up from 10 s on, until its end at 20 s;
/// another one, younger, that is still there. The flows of `graph` at `tap-a` were seen at the first
/// port, those at `veth0` at the second.
pub(crate) fn past(graph: &Graph) -> Past {
    let [first, second] = ["n3-tap-a", "n8-veth0"].map(|id| tid(graph, id).to_string());
    let node = |id: &str, created: i64, updated: i64, until: i64, revision: u64, value: Json| {
        let deleted = (until < i64::MAX && revision != 1).then(|| T + until);
        let node = json!({"ID": id, "Host": "compute-1", "Origin": "agent.compute-1", "CreatedAt": T + created,
            "UpdatedAt": T + updated, "DeletedAt": deleted, "Revision": revision, "Metadata": value});
        (
            T + updated,
            T.saturating_add(until),
            serde_json::from_value(node).expect("a node"),
        )
    };
    let edge = |child: &str, created: i64, until: i64| {
        let edge = json!({"ID": format!("e-{child}"), "Parent": "p1-br0", "Child": child, "Host": "compute-1",
            "Origin": "agent.compute-1", "CreatedAt": T + created, "UpdatedAt": T + created, "Revision": 1,
            "Metadata": {"RelationType": "ownership"}});
        (
            T + created,
            T.saturating_add(until),
            serde_json::from_value(edge).expect("an edge"),
        )
    };
    let metric = json!({"RxBytes": 5, "Start": T - 5_000, "Last": T});
    Past {
        nodes: vec![
            node(
                "p9-eth2",
                5_000,
                5_000,
                i64::MAX,
                1,
                json!({"Name": "eth2", "Type": "device", "TID": second, "Metric": {"RxBytes": 9},
                    "SFlow": {"Metric": {"IfInOctets": 9}}}),
            ),
            node(
                "p2-eth1",
                0,
                0,
                10_000,
                1,
                json!({"Name": "eth1", "Type": "device", "State": "DOWN", "TID": first}),
            ),
            node(
                "p2-eth1",
                0,
                10_000,
                20_000,
                2,
                json!({"Name": "eth1", "Type": "device", "State": "UP", "TID": first, "LastUpdateMetric": metric}),
            ),
            node(
                "p1-br0",
                -100_000,
                -100_000,
                i64::MAX,
                1,
                json!({"Name": "br0", "Type": "bridge", "TID": "br"}),
            ),
        ],
        edges: vec![edge("p9-eth2", 5_000, i64::MAX), edge("p2-eth1", 0, 20_000)],
        intervals: intervals(),
    }
}

/// What the second port and the bridge counted, the last of it after 40 s.
fn intervals() -> Vec<Interval> {
    let interval = |node: &str, metric, start: i64, last: i64, counters: Json| Interval {
        node: NodeId::from(node),
        metric,
        start: T + start,
        last: T + last,
        counters: metadata(counters),
    };
    use NodeMetric::{Interface, Ovs, SFlow};
    vec![
        interval(
            "p9-eth2",
            Interface,
            20_000,
            30_000,
            json!({"RxBytes": 600, "TxBytes": 3}),
        ),
        interval(
            "p9-eth2",
            Interface,
            10_000,
            20_000,
            json!({"RxBytes": 1_000, "RxPackets": 10}),
        ),
        interval("p9-eth2", Interface, 30_000, 40_000, json!({"TxBytes": 8})),
        interval("p9-eth2", Ovs, 10_000, 15_000, json!({"RxBytes": 990})),
        interval("p1-br0", Interface, 10_000, 40_000, json!({"RxBytes": 300})),
        interval("p9-eth2", SFlow, 10_000, 20_000, json!({"IfInOctets": 70})),
    ]
}

impl History for Past {
    fn slice(&self, slice: Slice, wanted: Wanted<'_>, budget: &Budget) -> Result<Snapshot, HistoryError> {
        let rank = |node: &Node| {
            let is_wanted = match wanted {
                Wanted::Node(meets) => meets(node),
                Wanted::Newest | Wanted::Edge(_) => false,
            };
            (is_wanted, node.revision)
        };
        let mut spending = budget.spending("nodes and edges");
        let within = |from: i64, until: i64| from <= slice.to && until > slice.from;
        let mut nodes: Vec<Node> = Vec::new();
        for (_, _, node) in self.nodes.iter().filter(|(from, until, _)| within(*from, *until)) {
            budget.check()?;
            spending.add(node.bytes())?;
            match nodes.iter_mut().find(|other| other.id == node.id) {
                Some(other) if rank(other) < rank(node) => other.clone_from(node),
                Some(_) => {}
                None => nodes.push(node.clone()),
            }
        }
        let edges = self.edges.iter().filter(|(from, until, _)| within(*from, *until));
        Ok(Snapshot::of(
            nodes.into_iter().map(Arc::new),
            edges.map(|(_, _, edge)| Arc::new(edge.clone())),
        ))
    }

    fn intervals(
        &self,
        metric: NodeMetric,
        nodes: &HashSet<NodeId>,
        slice: Slice,
        _: &Budget,
    ) -> Result<Vec<Interval>, HistoryError> {
        let all = self.intervals.iter().filter(|interval| {
            let in_time = interval.start >= slice.from && interval.last <= slice.to;
            interval.metric == metric && nodes.contains(&interval.node) && in_time
        });
        Ok(all.cloned().collect())
    }
}

/// An engine over the fixed graph and its past.
pub(crate) fn graph_engine(options: EngineOptions) -> Engine {
    let graph = fixed();
    let records = flows(&graph);
    let reader = MemoryReader {
        records,
        ..MemoryReader::default()
    };
    let past = past(&graph);
    let topology = Topology::new(graph, Some(Arc::new(past)));
    Engine::new(Arc::new(reader), topology, Arc::new(TinyCompiler), options)
}

//! Queries over a graph of 10,000 interfaces: 100 bridges of 100 ports each, every port joined to the
//! next one of its bridge.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use flowtap_gremlin::NodeExpression;
use flowtap_topology::{Edge, Node, Snapshot};
use serde_json::{Value, json};

const BRIDGES: usize = 100;
const PORTS: usize = 100;

fn node(id: &str, created: usize, metadata: Value) -> Arc<Node> {
    let node = json!({"ID": id, "CreatedAt": created, "Metadata": metadata});
    Arc::new(serde_json::from_value(node).expect("a node"))
}

fn edge(parent: &str, child: &str, relation: &str) -> Arc<Edge> {
    let id = format!("{parent}-{child}-{relation}");
    let edge = json!({"ID": id, "Parent": parent, "Child": child, "Metadata": {"RelationType": relation}});
    Arc::new(serde_json::from_value(edge).expect("an edge"))
}

fn graph() -> Snapshot {
    let mut nodes = vec![node("host", 0, json!({"Name": "compute-1", "Type": "host"}))];
    let mut edges = Vec::new();
    for bridge in 0..BRIDGES {
        let bridge_id = format!("bridge-{bridge}");
        let metadata = json!({"Name": format!("br{bridge}"), "Type": "ovsbridge", "TID": bridge_id});
        nodes.push(node(&bridge_id, bridge, metadata));
        edges.push(edge("host", &bridge_id, "ownership"));
        for port in 0..PORTS {
            let index = bridge * PORTS + port;
            let id = format!("port-{index}");
            let metadata = json!({
                "Name": format!("eth{index}"), "Type": "veth", "TID": id, "IfIndex": index, "MTU": 1500,
                "MAC": format!("02:00:00:00:{bridge:02x}:{port:02x}"), "State": "UP", "Driver": "veth",
                "IPV4": [format!("10.{bridge}.{port}.1/24")], "LinkFlags": ["UP", "BROADCAST", "RUNNING"],
                "ExtID": {"vm-id": format!("vm-{index}"), "iface-status": "active"},
                "Metric": {"RxBytes": index, "TxBytes": index, "Start": 1, "Last": 2},
            });
            nodes.push(node(&id, index, metadata));
            edges.push(edge(&bridge_id, &id, "ownership"));
            if port > 0 {
                edges.push(edge(&format!("port-{}", index - 1), &id, "layer2"));
            }
        }
    }
    Snapshot::of(nodes, edges)
}

fn bench(c: &mut Criterion) {
    let graph = graph();
    let mut group = c.benchmark_group("graph_10000");
    for (name, query) in [
        ("by_name", "G.V().Has('Name', 'eth0')"),
        ("by_ext_id", "G.V().Has('ExtID.vm-id', 'vm-9999')"),
        ("by_regex", "G.V().Has('Name', Regex('eth99.*'))"),
        ("by_network", "G.V().Has('IPV4', IPV4Range('10.7.0.0/16'))"),
        ("all_in_order", "G.V().Limit(10)"),
        (
            "ports_of_bridges",
            "G.V().Has('Type', 'ovsbridge').Out('Type', 'veth')",
        ),
        ("descendants", "G.V().Has('Type', 'host').Descendants(3)"),
        (
            "shortest_path",
            "G.V().Has('Name', 'eth9999').ShortestPathTo(Metadata('Name', 'eth0'))",
        ),
        (
            "shortest_paths_of_all",
            "G.V().Has('Type', 'veth').ShortestPathTo(Metadata('Type', 'host'))",
        ),
    ] {
        let expression = NodeExpression::parse(query).expect("a query");
        let found = expression.select(&graph).expect("an answer");
        assert!(!found.is_empty(), "{query}");
        group.bench_function(name, |b| b.iter(|| black_box(expression.select(&graph))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

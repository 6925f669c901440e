//! What a graph of 10,000 interfaces costs: a change, a snapshot after each change, a subscriber's
//! wait, a scan, and memory. Prints figures; `cargo bench -p flowtap-topology --bench graph`.

#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::hint::black_box;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use flowtap_topology::{Graph, Metadata, NodeId, NodeSpec};
use serde_json::json;

const NODES: usize = 10_000;
const CHANGES: usize = 2_000;

fn main() {
    let before = resident_bytes();
    let started = Instant::now();
    let (graph, interfaces) = in_namespaces();
    let made = started.elapsed() / u32::try_from(NODES).unwrap_or(1);
    let bytes = resident_bytes().saturating_sub(before) / NODES as u64;
    report("make an interface of 25 entries", made);
    println!("{bytes:>12} bytes of memory a node, with its edge");

    report("change, nobody reads", change_alone(&graph, &interfaces));
    report(
        "change, a snapshot is taken after each",
        change_and_snapshot(&graph, &interfaces),
    );
    report(
        "metrics, a snapshot is taken after each",
        metrics_and_snapshot(&graph, &interfaces),
    );
    report(
        "change until a waiting thread has it",
        until_received(&graph, &interfaces),
    );
    let snapshot = graph.snapshot();
    report(
        "scan for a name",
        median(20, |_| {
            let found = snapshot
                .nodes()
                .filter(|node| node.name() == Some("eth77"))
                .count();
            black_box(found);
        }),
    );
    drop(snapshot);

    let graph = on_the_host();
    report(
        "interface of a host with 10,000 comes and goes, a snapshot after each",
        come_and_go(&graph),
    );
}

fn report(what: &str, time: Duration) {
    println!("{:>9.1} µs  {what}", time.as_secs_f64() * 1e6);
}

/// The median time of `count` calls.
fn median(count: usize, mut call: impl FnMut(usize)) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|number| {
            let started = Instant::now();
            call(number);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[count / 2]
}

/// As netlink tells of one.
fn interface(number: usize) -> Metadata {
    let metadata = json!({
        "EncapType": "ether", "IfIndex": number, "Driver": "veth", "MTU": 1500,
        "MAC": format!("52:54:00:00:{:02x}:{:02x}", number >> 8 & 255, number & 255), "State": "UP",
        "LinkFlags": ["UP", "BROADCAST", "RUNNING", "MULTICAST", "LOWER_UP"],
        "IPV4": [format!("10.0.{}.{}/24", number >> 8, number & 255)],
        "IPV6": ["fe80::5054:ff:fe00:1/64"], "PeerIfIndex": number + 1, "LinkNetNsID": 0, "Speed": 10_000,
        "Features": {"rx-checksum": true, "tx-checksum": true, "gro": true, "gso": true, "tso": true},
        "Neighbors": [{"MAC": "52:54:00:00:00:01", "IP": "10.0.0.1", "State": ["NUD_REACHABLE"], "IfIndex": number}],
        "RoutingTables": [{"ID": 254, "Routes": [{"Prefix": "0.0.0.0/0", "NextHops": [{"IP": "10.0.0.1"}]}]}],
        "Metric": {"RxBytes": 1_000_000, "TxBytes": 1_000_000, "RxPackets": 1_000, "TxPackets": 1_000},
        "ExtID": {"vm-id": "4a5c1d9e-vm", "attached-mac": "52:54:00:00:00:01", "iface-id": "port"},
    });
    metadata.as_object().cloned().unwrap_or_default()
}

fn in_namespaces() -> (Arc<Graph>, Vec<NodeId>) {
    let graph = Arc::new(Graph::new("bench"));
    let mut interfaces = Vec::with_capacity(NODES);
    let mut netns = graph.host().clone();
    for number in 0..NODES {
        if number % 100 == 0 {
            let name = format!("vm{number}");
            let spec = NodeSpec::new(graph.host(), "netns", &name).with("Path", format!("/run/netns/{name}"));
            netns = graph.upsert_node(spec).expect("room");
        }
        let name = format!("eth{}", number % 100);
        let spec = NodeSpec::new(&netns, "veth", &name).with_all(interface(number));
        interfaces.push(graph.upsert_node(spec).expect("room"));
    }
    (graph, interfaces)
}

fn on_the_host() -> Graph {
    let graph = Graph::new("bench");
    for number in 0..NODES {
        let name = format!("eth{number}");
        let spec = NodeSpec::new(graph.host(), "veth", &name).with_all(interface(number));
        graph.upsert_node(spec).expect("room");
    }
    graph
}

fn change_alone(graph: &Graph, interfaces: &[NodeId]) -> Duration {
    median(CHANGES, |number| {
        let id = &interfaces[number * 7 % NODES];
        graph.set_metadata(id, "MTU", number).expect("it is there");
    })
}

fn change_and_snapshot(graph: &Graph, interfaces: &[NodeId]) -> Duration {
    let mut held = graph.snapshot();
    let time = median(CHANGES, |number| {
        let id = &interfaces[number * 11 % NODES];
        graph
            .set_metadata(id, "MTU", number + NODES)
            .expect("it is there");
        held = graph.snapshot();
    });
    black_box(held);
    time
}

fn metrics_and_snapshot(graph: &Graph, interfaces: &[NodeId]) -> Duration {
    let mut held = graph.snapshot();
    let time = median(CHANGES, |number| {
        let id = &interfaces[number * 11 % NODES];
        let metric = |metric: &mut serde_json::Value| *metric = json!({"RxBytes": number});
        graph.update_metrics(id, "Metric", metric).expect("it is there");
        held = graph.snapshot();
    });
    black_box(held);
    time
}

fn until_received(graph: &Arc<Graph>, interfaces: &[NodeId]) -> Duration {
    let (_, mut events) = graph.subscribe();
    let (received, wait) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for _ in 0..CHANGES {
            while let Ok(None) = events.next_within(Duration::from_secs(10)) {}
            if received.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let mut times: Vec<Duration> = (0..CHANGES)
        .filter_map(|number| {
            let started = Instant::now();
            let id = &interfaces[number * 13 % NODES];
            graph
                .set_metadata(id, "MTU", number + 2 * NODES)
                .expect("it is there");
            Some(wait.recv().ok()? - started)
        })
        .collect();
    drop(reader.join());
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn come_and_go(graph: &Graph) -> Duration {
    let mut held = graph.snapshot();
    let time = median(CHANGES / 10, |number| {
        let name = format!("tap{number}");
        let id = graph
            .upsert_node(NodeSpec::new(graph.host(), "veth", &name))
            .expect("room");
        held = graph.snapshot();
        graph.edit(|edit| edit.remove_node(&id));
        held = graph.snapshot();
    });
    black_box(held);
    time
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}

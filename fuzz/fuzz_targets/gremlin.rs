//! Text of any kind through the query language, and what parses is run over recorded flows and a graph.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{FilterCompiler, LinkType, Packet, PacketFilter};
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::point::PointOptions;
use flowtap_flow::query::Cancel;
use flowtap_flow::timestamp::Timestamp;
use flowtap_fuzz::table;
use flowtap_gremlin::{Engine, EngineOptions, Limits, NodeExpression, parse, parse_flow_filter};
use flowtap_topology::{Graph, NodeSpec, Topology};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// libpcap's compiler is not what is tested here: every other packet passes, whatever was asked.
struct EveryOther;

impl FilterCompiler for EveryOther {
    fn compile(&self, expression: &str, _: LinkType) -> Result<Box<dyn PacketFilter>, String> {
        if expression.is_empty() {
            Err("syntax error".to_owned())
        } else {
            Ok(Box::new(Self))
        }
    }
}

impl PacketFilter for EveryOther {
    fn matches(&self, _: &[u8], len: u32) -> bool {
        len % 2 == 0
    }
}

static RECORDING: &[u8] = include_bytes!("../../fixtures/ovs-sflow-tcp-udp.truth.pcap");

/// A host with two bridges of two ports, and metadata of every shape.
static GRAPH: LazyLock<Arc<Graph>> = LazyLock::new(|| {
    let graph = Graph::new("host");
    for name in ["br0", "br1"] {
        let spec = NodeSpec::new(graph.host(), "bridge", name).with("MTU", 1500);
        let bridge = graph.upsert_node(spec).expect("room");
        for port in ["eth0", "eth1"] {
            let spec = NodeSpec::new(&bridge, "device", port)
                .with("IPV4", json!(["10.0.0.1/24"]))
                .with("ExtID", json!({"vm-id": "v", "a.b": [{"ID": 1}]}))
                .with("LastUpdateMetric", json!({"RxBytes": 7, "Start": 1, "Last": 2}));
            graph.upsert_node(spec).expect("room");
        }
    }
    Arc::new(graph)
});

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let (table, _) = table(65_536);
    let mut sink = table
        .points(PointOptions::default(), Arc::new(Ledger::default()))
        .open("node");
    StreamParser::new(Timestamp::ZERO)
        .push(RECORDING, &mut |batch: &[Packet<'_>]| sink.packets(batch))
        .expect("the recording is whole");
    sink.flush();
    let limits = Limits {
        max_rows: 1_000,
        max_bytes: 1 << 20,
        timeout: Duration::from_secs(1),
    };
    Engine::new(
        table,
        Topology::new(Arc::clone(&GRAPH), None),
        Arc::new(EveryOther),
        EngineOptions {
            limits,
            ..EngineOptions::default()
        },
    )
});

fuzz_target!(|text: &str| {
    let end = text.chars().count() + 1;
    if let Err(error) = parse_flow_filter(text) {
        assert!(
            error.column.is_none_or(|column| (1..=end).contains(&column)),
            "{error}"
        );
    }
    match parse(text) {
        Err(error) => {
            assert!(
                error.column.is_none_or(|column| (1..=end).contains(&column)),
                "{error}"
            );
            assert!(!error.message.is_empty());
        }
        Ok(query) => {
            assert!(query.kind().is_ok(), "what parses has a kind");
            if let Ok(expression) = NodeExpression::parse(text) {
                let graph = GRAPH.snapshot();
                let selected = expression.select(&graph).map(|nodes| nodes.len());
                let explained = expression.explain(&graph).map(|explanation| explanation.count());
                // Paths are counted as paths there, and their nodes here.
                assert_eq!(selected.is_ok_and(|n| n > 0), explained.is_ok_and(|n| n > 0));
            }
            let now = Timestamp::from_secs(1_790_000_000);
            if let Ok(answer) = ENGINE.run(text, now, &Cancel::default()) {
                let _json = answer.to_json();
                let _dot = answer.to_dot();
                let _packets = answer.into_packets();
            }
        }
    }
});

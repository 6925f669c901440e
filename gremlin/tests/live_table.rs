//! A recording through the live flow table: real packets, real flows, real answers.

mod support;

use std::sync::Arc;

use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{BATCH, LinkType, Packet, Sink};
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::point::PointOptions;
use flowtap_flow::query::{Batch, Cancel, UpdateSink};
use flowtap_flow::table::{FlowTable, TableOptions};
use flowtap_flow::timestamp::Timestamp;
use flowtap_gremlin::{Answer, Engine, EngineOptions};
use flowtap_topology::{Graph, Topology};
use support::TinyCompiler;

/// Pings between two ports of an Open vSwitch bridge.
const RECORDING: &[u8] = include_bytes!("../../fixtures/ovs-sflow-icmp.truth.pcap");

/// A store that forgets: the flows asked for here are all alive.
struct Forget;

impl UpdateSink for Forget {
    fn send(&self, batch: &mut Batch) {
        *batch = Batch::default();
    }
}

/// When a packet was seen, and its bytes.
type Seen = (Timestamp, Vec<u8>);

/// The recording in a table, and its packets in the order of the file.
/// The sink comes along: while it lives, what it keeps is not handed over.
fn replayed() -> (Engine, Vec<Seen>, Box<dyn Sink>) {
    let table = FlowTable::new(TableOptions::default(), Arc::new(Forget));
    let options = PointOptions {
        raw_packet_limit: PointOptions::UNLIMITED,
        can_wait: true,
        ..PointOptions::default()
    };
    let mut sink = table.points(options, Arc::new(Ledger::default())).open("port-1");
    let mut seen = Vec::new();
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let mut take = |batch: &[Packet<'_>]| {
        seen.extend(
            batch
                .iter()
                .map(|packet| (packet.timestamp, packet.data.to_vec())),
        );
        batch.chunks(BATCH).for_each(|batch| sink.packets(batch));
    };
    assert!(parser.push(RECORDING, &mut take).is_ok());
    assert_eq!(parser.finish().cut_bytes, 0, "the recording is whole");
    sink.flush();
    (
        Engine::new(
            table,
            Topology::new(Arc::new(Graph::new("compute-1")), None),
            Arc::new(TinyCompiler),
            EngineOptions::default(),
        ),
        seen,
        sink,
    )
}

fn number(engine: &Engine, text: &str) -> i64 {
    match engine.run(text, Timestamp::ZERO, &Cancel::default()) {
        Ok(Answer::Number(number)) => number,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn pings_are_found_counted_and_given_back() {
    let (engine, seen, _sink) = replayed();
    // ICMP in IPv4 in Ethernet, told from the bytes alone.
    let is_ping = |data: &[u8]| data.get(12..14) == Some(&[8, 0]) && data.get(23) == Some(&1);
    let mut pings: Vec<Seen> = seen.into_iter().filter(|(_, data)| is_ping(data)).collect();
    pings.sort_by_key(|(timestamp, _)| *timestamp);
    assert!(pings.len() >= 2, "the recording holds pings");

    let flows = "G.Flows().Has('Application', 'ICMPv4', 'Network', IPV4Range('0.0.0.0/0'))";
    let ab = number(&engine, &format!("{flows}.Sum('Metric.ABPackets')"));
    let ba = number(&engine, &format!("{flows}.Sum('Metric.BAPackets')"));
    assert_eq!(usize::try_from(ab + ba).unwrap(), pings.len());
    assert_eq!(
        number(&engine, &format!("{flows}.Metrics().Sum('ABPackets')")),
        ab
    );

    let query = format!("{flows}.RawPackets().BPF('icmp')");
    let packets = engine
        .run(&query, Timestamp::ZERO, &Cancel::default())
        .unwrap()
        .into_packets()
        .unwrap();
    assert!(
        packets
            .iter()
            .all(|packet| packet.link_type == LinkType::ETHERNET)
    );
    let packets: Vec<Seen> = packets
        .into_iter()
        .map(|packet| (packet.timestamp, packet.data.to_vec()))
        .collect();
    assert_eq!(packets, pings);

    // The window ends with the first ping: one flow's first packet is all there is.
    let first_ms = pings[0].0.millis();
    let query = format!("G.At({first_ms}).Flows('Application', 'ICMPv4').RawPackets()");
    let until = engine
        .run(&query, Timestamp::ZERO, &Cancel::default())
        .unwrap()
        .into_packets()
        .unwrap();
    let in_time = pings
        .iter()
        .filter(|(timestamp, _)| timestamp.millis() <= first_ms)
        .count();
    assert_eq!(until.len(), in_time);
    assert_eq!(
        number(
            &engine,
            &format!("G.At({}).Flows('Application', 'ICMPv4').Count()", first_ms - 1)
        ),
        0
    );
}

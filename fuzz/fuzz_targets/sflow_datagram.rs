//! Datagrams of any bytes through the sFlow decoder into a flow table and a topology.
//!
//! Input: datagrams as [`flowtap_fuzz::pieces`].
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use flowtap_collectors::sflow::{Decoder, Received, SflowStats};
use flowtap_flow::ledger::Ledger;
use flowtap_flow::point::PointOptions;
use flowtap_flow::timestamp::Timestamp;
use flowtap_fuzz::{pieces, read_all, table};
use flowtap_topology::Graph;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (table, _) = table(4_096);
    let ledger = Arc::new(Ledger::default());
    let points = table.points(PointOptions::default(), Arc::clone(&ledger));
    let graph = Arc::new(Graph::new("host"));
    let stats = Arc::new(SflowStats::default());
    let mut decoder = Decoder::new(graph, points, Arc::clone(&ledger), stats);

    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let begin = Timestamp::from_secs(1_700_000_000);
    let received: Vec<_> = (0..)
        .zip(pieces(data))
        .map(|(number, bytes)| Received {
            bytes,
            source,
            timestamp: begin.plus(Duration::from_millis(100) * number),
        })
        .collect();
    for burst in received.chunks(3) {
        decoder.burst(burst);
    }
    let end = begin.plus(Duration::from_secs(60));
    decoder.idle(end);
    let counted = ledger.snapshot();
    assert!(counted.balances(), "{counted:?}");
    read_all(&table);
    drop(decoder);
    table.drain();
});

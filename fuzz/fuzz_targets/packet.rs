//! Packets of any bytes through decoder and flow table, with every option on or off.
//!
//! Input: a byte of options, a byte that picks the link type, then packets as [`flowtap_fuzz::pieces`], each
//! after one more byte that says how much later it came.
#![no_main]

use std::sync::Arc;

use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{BATCH, LinkType, Packet};
use flowtap_flow::point::{ExtraLayers, LayerKeyMode, PointOptions};
use flowtap_flow::timestamp::Timestamp;
use flowtap_fuzz::{pieces, read_all, table};
use libfuzzer_sys::fuzz_target;

const LINK_TYPES: [LinkType; 9] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType(147),
];

fuzz_target!(|data: &[u8]| {
    let [options, link_type, rest @ ..] = data else {
        return;
    };
    let is = |bit: u8| options & bit != 0;
    let ip_defrag = is(1);
    let point = PointOptions {
        layer_key_mode: if is(2) { LayerKeyMode::L3 } else { LayerKeyMode::L2 },
        raw_packet_limit: if is(4) { PointOptions::UNLIMITED } else { 2 },
        raw_budget_bytes: if is(8) { 4_096 } else { 1 << 20 },
        can_wait: is(16),
        extra_tcp_metric: is(32),
        ip_defrag,
        reassemble_tcp: is(32),
        extra_layers: ExtraLayers(if is(64) { u32::MAX } else { 0 }),
        ..PointOptions::default()
    };
    let (table, totals) = table(if is(128) { 1 } else { 65_536 });
    let ledger = Arc::new(Ledger::default());
    let mut sink = table.points(point, Arc::clone(&ledger)).open("node");

    let link_type = LINK_TYPES[usize::from(*link_type) % LINK_TYPES.len()];
    let mut now = Timestamp::from_secs(1_700_000_000);
    let mut packets = Vec::new();
    for piece in pieces(rest) {
        let (later, bytes) = piece.split_first().unwrap_or((&0, &[]));
        // From nanoseconds to minutes, and sometimes back.
        let step = 1i64 << (later & 0x1f) << (later >> 5 & 3) << (later >> 5 & 3);
        now = Timestamp::from_nanos(now.nanos() + if later & 0x80 == 0 { step } else { -step });
        let len = bytes.len() as u32 + u32::from(*later);
        packets.push(Packet::new(now, len, link_type, bytes));
    }
    for batch in packets.chunks(BATCH) {
        ledger.receive(
            batch.len() as u64,
            batch.iter().map(|packet| u64::from(packet.len)).sum(),
        );
        sink.packets(batch);
    }
    let counted = ledger.snapshot();
    assert!(counted.balances(), "{counted:?}");

    let (flows, raw_packets) = read_all(&table);
    assert!(
        counted.kept == 0 || !flows.is_empty() || ip_defrag,
        "packets were kept but there is no flow"
    );
    assert!(
        raw_packets.len() as u64 <= counted.raw_kept,
        "{} raw packets, {counted:?}",
        raw_packets.len()
    );
    table.tick(now);
    drop(sink);
    table.drain();
    if !ip_defrag {
        assert_eq!(
            totals.packets(),
            counted.kept,
            "flows must add up to the packets kept"
        );
    }
});

//! What is kept and handed over: raw packets, fragments, and every flow at every moment.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use flowtap_flow::flow::MacAddr;
use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{LinkType, Packet};
use flowtap_flow::point::PointOptions;
use flowtap_flow::query::{Cancel, FlowReader};
use flowtap_flow::table::TableOptions;
use flowtap_flow::timestamp::Timestamp;
use support::{A, B, Bench, dot1q, ethernet, fragment, icmp_echo, ipv4, kept, udp_frame};

#[test]
fn fragments_become_one_packet_and_all_count() {
    let point = PointOptions {
        ip_defrag: true,
        ..PointOptions::default()
    };
    let echo = icmp_echo(true, 7, 1, &[3; 2992]);
    let piece = |offset: usize, to: usize, more| {
        let offset_bytes = u16::try_from(offset).expect("fits");
        let packet = fragment(
            "10.0.0.1",
            "10.0.0.2",
            1,
            99,
            offset_bytes,
            more,
            &echo[offset..to],
        );
        ethernet(A, B, 0x0800, &packet)
    };
    let pieces = [
        piece(0, 1000, true),
        piece(1000, 2000, true),
        piece(2000, 3000, false),
    ];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut bench = Bench::with(TableOptions::default(), point.clone());
        for (at, i) in (1000..).zip(order) {
            assert!(bench.live().is_empty(), "fragments wait for each other");
            bench.see(at, &pieces[i]);
        }
        let flows = bench.live();
        assert_eq!(flows.len(), 1);
        assert_eq!(&*flows[0].layers_path, "Ethernet/IPv4/Fragment/ICMPv4");
        assert_eq!(
            (flows[0].metric.ab_packets, flows[0].metric.ab_bytes),
            (3, 3 * (34 + 1000))
        );
        assert_eq!(
            flows[0]
                .extra
                .as_ref()
                .and_then(|e| e.ip_metric)
                .map(|m| m.fragments),
            Some(3)
        );
        assert_eq!(kept(&bench).len(), 3, "every fragment is kept as it came");
        bench.balance();
    }
    // The answer comes the other way, in pieces too.
    let mut bench = Bench::with(TableOptions::default(), point.clone());
    for (at, i) in (1000..).zip([0, 1, 2]) {
        bench.see(at, &pieces[i]);
    }
    let reply = icmp_echo(false, 7, 1, &[3; 1992]);
    for (offset, to, more) in [(0u16, 1000, true), (1000, 2000, false)] {
        let packet = fragment(
            "10.0.0.2",
            "10.0.0.1",
            1,
            5,
            offset,
            more,
            &reply[offset.into()..to],
        );
        bench.see(1010, &ethernet(B, A, 0x0800, &packet));
    }
    let flows = bench.live();
    assert_eq!(flows.len(), 1);
    assert_eq!((flows[0].metric.ab_packets, flows[0].metric.ba_packets), (3, 2));
    assert_eq!(flows[0].metric.rtt, 8_000_000);
    let ends = flows[0].link.map(|link| (link.a, link.b));
    assert_eq!(ends, MacAddr::parse(A).zip(MacAddr::parse(B)));
    // Another answer is in one piece.
    let whole = ipv4("10.0.0.2", "10.0.0.1", 1, &icmp_echo(false, 7, 2, &[3; 60]));
    bench.see(1020, &ethernet(B, A, 0x0800, &whole));
    let flows = bench.live();
    assert_eq!((flows.len(), flows[0].metric.ba_packets), (1, 3));
    // One that never becomes whole is counted as what it is.
    let mut bench = Bench::with(TableOptions::default(), point.clone());
    bench.see(1000, &pieces[0]);
    bench.see(40_000, &udp_frame(true, 1, 2, b"x"));
    let alone = bench
        .live()
        .into_iter()
        .find(|flow| &*flow.layers_path == "Ethernet/IPv4/Fragment");
    assert_eq!(alone.map(|flow| flow.metric.ab_packets), Some(1));
    // The same addresses and identification in two VLANs are two packets.
    let mut bench = Bench::with(TableOptions::default(), point.clone());
    for (offset, to, more) in [(0u16, 1000, true), (1000, 3000, false)] {
        for vlan in [7, 8] {
            let payload = &echo[offset.into()..to];
            let packet = fragment("10.0.0.1", "10.0.0.2", 1, 99, offset, more, payload);
            bench.see(1000, &ethernet(A, B, 0x8100, &dot1q(vlan, 0x0800, &packet)));
        }
    }
    // VLANs are no part of a flow's key.
    let whole = &bench.live()[0];
    assert_eq!(&*whole.layers_path, "Ethernet/Dot1Q/IPv4/Fragment/ICMPv4");
    assert_eq!(whole.metric.ab_packets, 4);
    // Overlapping ones are never joined.
    let mut bench = Bench::with(TableOptions::default(), point);
    bench.see(1000, &pieces[0]);
    bench.see(1001, &pieces[0]);
    let flow = &bench.live()[0];
    assert_eq!(
        (&*flow.layers_path, flow.metric.ab_packets),
        ("Ethernet/IPv4/Fragment", 2)
    );
    assert_eq!(
        flow.extra
            .as_ref()
            .and_then(|e| e.ip_metric)
            .map(|m| m.fragment_errors),
        Some(2)
    );
}

#[test]
fn the_first_packets_of_each_flow_are_kept_as_they_were() {
    let point = PointOptions {
        raw_packet_limit: 2,
        ..PointOptions::default()
    };
    let mut bench = Bench::with(TableOptions::default(), point);
    let frame = udp_frame(true, 1, 2, b"payload");
    for at in 0..4 {
        let time = Timestamp::from_nanos(1_000_000_007 + at);
        bench.see_packet(Packet::new(time, 1500, LinkType::ETHERNET, &frame));
    }
    let packets = kept(&bench);
    assert_eq!(packets.iter().map(|p| p.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(packets[1].timestamp.nanos(), 1_000_000_008);
    assert_eq!((packets[0].len, &packets[0].data[..]), (1500, &frame[..]));
    assert_eq!(bench.live()[0].raw_packets_captured, 2);
    assert_eq!(bench.balance().raw_kept, 2);
}

#[test]
fn each_reader_of_a_point_counts_in_its_own_ledger() {
    let mut bench = Bench::new();
    let frame = udp_frame(true, 1, 2, b"payload");
    bench.see(1_000, &frame);
    let first = Arc::clone(&bench.ledger);
    // The source ends; another one begins at the same node.
    let ledger = Arc::new(Ledger::default());
    let points = bench.table.points(PointOptions::default(), Arc::clone(&ledger));
    bench.sink = points.open("");
    bench.ledger = ledger;
    bench.see(1_001, &frame);
    bench.see(1_002, &frame);
    bench.sink.flush();
    assert_eq!((first.snapshot().kept, first.snapshot().raw_kept), (1, 1));
    assert_eq!((bench.balance().kept, bench.balance().raw_kept), (2, 2));
    assert_eq!(bench.live().len(), 1);
}

#[test]
fn a_budget_that_is_used_up_is_counted_or_waited_for() {
    let frame = udp_frame(true, 1, 2, &[0; 1000]);
    let unlimited = PointOptions {
        raw_packet_limit: PointOptions::UNLIMITED,
        raw_budget_bytes: 50_000,
        ..PointOptions::default()
    };
    let mut bench = Bench::with(TableOptions::default(), unlimited.clone());
    for _ in 0..100 {
        bench.see(1000, &frame);
    }
    let ledger = bench.balance();
    assert!(ledger.raw_over_budget > 0 && ledger.raw_kept > 0);
    assert_eq!(ledger.raw_kept + ledger.raw_over_budget, 100);
    assert!(bench.table.stats().raw_packets_bytes <= 50_000);

    let mut bench = Bench::with(
        TableOptions::default(),
        PointOptions {
            can_wait: true,
            ..unlimited
        },
    );
    for _ in 0..1000 {
        bench.see(1000, &frame);
    }
    assert_eq!(
        bench.balance().raw_over_budget,
        0,
        "a source that can wait loses none"
    );
    let mut packets: Vec<_> = bench
        .handed_over()
        .into_iter()
        .map(|(_, packet)| packet)
        .collect();
    packets.extend(kept(&bench));
    assert_eq!(packets.len(), 1000);
    assert!(
        (1..)
            .zip(&packets)
            .all(|(index, packet)| packet.index == index && packet.data[..] == frame)
    );
}

#[test]
fn kept_packets_go_out_at_each_tick_and_at_the_end() {
    let point = PointOptions {
        raw_packet_limit: 5,
        ..PointOptions::default()
    };
    let mut bench = Bench::with(TableOptions::default(), point);
    for (at, port) in (1000..).zip([1, 2, 1]) {
        bench.see(at, &udp_frame(true, port, 9, b"x"));
    }
    let uuids: Vec<_> = bench.live().iter().map(|flow| flow.uuid).collect();
    assert_eq!(kept(&bench).len(), 3);
    assert_eq!(bench.handed_over(), []);
    bench.table.tick(Timestamp::from_secs(100));
    assert_eq!(kept(&bench).len(), 0);
    let out: Vec<_> = bench
        .handed_over()
        .iter()
        .map(|(uuid, packet)| (*uuid, packet.index))
        .collect();
    assert_eq!(out, [(uuids[0], 1), (uuids[1], 1), (uuids[0], 2)]);
    bench.see(1004, &udp_frame(true, 1, 9, b"x"));
    bench.table.drain();
    assert_eq!(bench.handed_over()[0].1.index, 3);
    bench.see(1005, &udp_frame(true, 1, 9, b"x"));
    drop(std::mem::replace(&mut bench.sink, Box::new(Nothing)));
    assert_eq!(bench.handed_over()[0].1.index, 1, "of a flow that began anew");
    bench.balance();
    assert_eq!(bench.table.stats().raw_packets_bytes, 0);
}

struct Nothing;

impl flowtap_flow::packet::Sink for Nothing {
    fn packets(&mut self, _: &[Packet<'_>]) {}

    fn flush(&mut self) {}
}

/// A store that only remembers which flows it was sent.
#[derive(Default)]
struct Sent(std::sync::Mutex<std::collections::HashSet<u16>>);

impl flowtap_flow::query::UpdateSink for Sent {
    fn send(&self, batch: &mut flowtap_flow::query::Batch) {
        let batch = std::mem::take(batch);
        // Long enough for a reader to look between the table and here.
        for _ in 0..2_000 {
            std::thread::yield_now();
        }
        self.0
            .lock()
            .expect("no poison")
            .extend(batch.updates.iter().map(|update| port_of(&update.flow)));
    }
}

fn port_of(flow: &flowtap_flow::flow::Flow) -> u16 {
    flow.transport.expect("UDP").a
}

#[test]
fn a_flow_is_in_the_table_or_sent_at_every_moment() {
    use flowtap_flow::query::FlowQuery;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

    let sent = Arc::new(Sent::default());
    let options = TableOptions {
        max_flows: 512,
        ..TableOptions::default()
    };
    let table = flowtap_flow::table::FlowTable::new(options, Arc::clone(&sent) as _);
    let points = table.points(PointOptions::default(), Arc::default());
    let (begun, done) = (AtomicU16::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sink = points.open("");
            for at in 0..3_000u16 {
                let frame = udp_frame(true, at, 9, b"x");
                sink.packets(&[Packet::new(Timestamp::ZERO, 43, LinkType::ETHERNET, &frame)]);
                begun.store(at + 1, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let at_least = begun.load(Ordering::Acquire);
                let mut seen = std::collections::HashSet::new();
                table
                    .flows(&FlowQuery::all(), &Cancel::default(), &mut |flow| {
                        seen.insert(port_of(&flow));
                        ControlFlow::Continue(())
                    })
                    .expect("the live table always answers");
                seen.extend(sent.0.lock().expect("no poison").iter().copied());
                let missing = (0..at_least).find(|port| !seen.contains(port));
                assert_eq!(missing, None, "of {at_least} flows");
            }
        });
    });
}

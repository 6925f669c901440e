//! What the table makes of packets: directions, ends, intervals, eviction, names, samples.

mod support;

use std::time::Duration;

use flowtap_flow::flow::FinishType;
use flowtap_flow::ledger::DropReason;
use flowtap_flow::packet::{LinkType, Packet};
use flowtap_flow::point::{ApplicationPorts, ExtraLayers, PointOptions};
use flowtap_flow::query::FlowUpdate;
use flowtap_flow::table::TableOptions;
use flowtap_flow::timestamp::Timestamp;
use support::{
    A, ACK, B, Bench, FIN, RST, SYN, dns, ethernet, icmp_echo, ipv4, ipv6, kept, tcp_frame, udp, udp_frame,
};

#[test]
fn a_connection_with_handshake_and_fin_both_ways() {
    let mut bench = Bench::new();
    bench.see(1000, &tcp_frame(true, 1234, SYN, 1, &[]));
    bench.see(1030, &tcp_frame(false, 1234, SYN | ACK, 9, &[]));
    bench.see(1031, &tcp_frame(true, 1234, ACK, 2, b"GET"));
    assert_eq!(bench.live()[0].finish_type, FinishType::NotFinished);
    bench.see(1032, &tcp_frame(true, 1234, FIN | ACK, 5, &[]));
    assert_eq!(
        bench.live()[0].finish_type,
        FinishType::NotFinished,
        "one side goes on"
    );
    bench.see(1040, &tcp_frame(false, 1234, FIN | ACK, 10, &[]));
    let flow = &bench.live()[0];
    assert_eq!(flow.finish_type, FinishType::Fin);
    assert_eq!((flow.metric.ab_packets, flow.metric.ba_packets), (3, 2));
    assert_eq!(flow.metric.rtt, 30_000_000);
    // The last acknowledgement still belongs to it; a SYN begins the next connection.
    bench.see(1041, &tcp_frame(true, 1234, ACK, 6, &[]));
    assert_eq!(bench.live().len(), 1);
    bench.see(1050, &tcp_frame(true, 1234, SYN, 100, &[]));
    let updates = bench.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(
        (updates[0].flow.finish_type, updates[0].flow.metric.ab_packets),
        (FinishType::Fin, 4)
    );
    bench.table.tick(Timestamp::from_secs(2));
    let packets = bench.handed_over();
    let of_first = packets.iter().filter(|(uuid, _)| *uuid == updates[0].flow.uuid);
    assert_eq!((of_first.count(), packets.len()), (6, 7));
    let second = &bench.live()[0];
    assert_eq!(second.start, Timestamp::from_millis(1050));
    assert_ne!(second.uuid, updates[0].flow.uuid);
    assert_eq!(second.tracking_id, updates[0].flow.tracking_id);
    bench.balance();
}

#[test]
fn a_refused_connection_ends_by_rst() {
    let mut bench = Bench::new();
    bench.see(1000, &tcp_frame(true, 1234, SYN, 1, &[]));
    bench.see(1002, &tcp_frame(false, 1234, RST | ACK, 0, &[]));
    let flow = &bench.live()[0];
    assert_eq!((flow.finish_type, flow.metric.rtt), (FinishType::Rst, 2_000_000));
}

#[test]
fn directions_on_loopback_are_those_of_the_packets() {
    let zero = "00:00:00:00:00:00";
    let frame = |source, destination| {
        ethernet(
            zero,
            zero,
            0x0800,
            &ipv4("127.0.0.1", "127.0.0.1", 17, &udp(source, destination, b"x")),
        )
    };
    for (client, server) in [(40000, 5001), (1000, 5001)] {
        let mut bench = Bench::new();
        for _ in 0..3 {
            bench.see(1000, &frame(client, server));
        }
        bench.see(1001, &frame(server, client));
        let flow = &bench.live()[0];
        assert_eq!((flow.metric.ab_packets, flow.metric.ba_packets), (3, 1));
        assert_eq!(flow.transport.map(|t| (t.a, t.b)), Some((client, server)));
    }
    let mut bench = Bench::new();
    for (at, request) in [(1000, true), (1003, false)] {
        let echo = ipv4("127.0.0.1", "127.0.0.1", 1, &icmp_echo(request, 7, 1, &[]));
        bench.see(at, &ethernet(zero, zero, 0x0800, &echo));
    }
    let flow = &bench.live()[0];
    assert_eq!(
        (flow.metric.ab_packets, flow.metric.ba_packets, flow.metric.rtt),
        (1, 1, 3_000_000)
    );
}

#[test]
fn round_trip_times_of_dns_pair_question_and_answer() {
    let mut bench = Bench::new();
    bench.see(1000, &udp_frame(true, 5353, 53, &dns(1, false)));
    bench.see(1001, &udp_frame(true, 5353, 53, &dns(2, false)));
    bench.see(1005, &udp_frame(false, 5353, 53, &dns(1, true)));
    assert_eq!(
        bench.live()[0].metric.rtt,
        0,
        "the answer is to the first question"
    );
    bench.see(1008, &udp_frame(false, 5353, 53, &dns(2, true)));
    assert_eq!(bench.live()[0].metric.rtt, 7_000_000);
}

#[test]
fn silence_ends_a_flow_by_the_packets_own_time() {
    let mut bench = Bench::new();
    bench.see(0, &udp_frame(true, 1, 2, b"x"));
    bench.see(600_000, &udp_frame(true, 1, 2, b"x"));
    assert!(
        bench
            .updates()
            .iter()
            .all(|update| update.flow.finish_type == FinishType::NotFinished)
    );
    bench.see(1_200_001, &udp_frame(true, 1, 2, b"x"));
    let updates = bench.updates();
    let last = updates.last().expect("the old flow");
    assert_eq!(
        (last.flow.finish_type, last.flow.metric.ab_packets),
        (FinishType::Timeout, 2)
    );
    assert_eq!(bench.live()[0].metric.ab_packets, 1);
}

#[test]
fn intervals_add_up_to_the_totals() {
    let mut bench = Bench::new();
    for second in 0..150 {
        bench.see(second * 1000, &udp_frame(second % 3 != 0, 1, 2, b"x"));
    }
    let updates = bench.updates();
    assert_eq!(updates.len(), 2, "one for each minute that has passed");
    assert!(updates[0].first && !updates[1].first);
    assert_eq!(
        updates[0].interval.ab_packets + updates[0].interval.ba_packets,
        60
    );
    assert_eq!(updates[1].interval.start, updates[0].interval.last);
    assert_eq!(
        updates[1].flow.metric.ab_packets + updates[1].flow.metric.ba_packets,
        120
    );
    assert_eq!(bench.live()[0].last_update_metric, Some(updates[1].interval));
    bench.table.drain();
    let rest = bench.updates();
    assert_eq!(rest[0].interval.ab_packets + rest[0].interval.ba_packets, 30);
    assert_eq!(
        rest[0].flow.metric.ab_packets + rest[0].flow.metric.ba_packets,
        150
    );
}

#[test]
fn ticks_hand_over_quiet_flows_and_end_silent_ones() {
    let mut bench = Bench::new();
    bench.see(1000, &udp_frame(true, 1, 2, b"x"));
    let wall = |second: i64| Timestamp::from_secs(1_700_000_000 + second);
    let mut second = 0;
    let mut tick_until = |bench: &mut Bench, end: i64| {
        while second <= end {
            bench.table.tick(wall(second));
            second += 1;
        }
        bench.updates()
    };
    let updates = tick_until(&mut bench, 12);
    assert_eq!(updates.len(), 1, "once, when its source went quiet");
    assert_eq!(updates[0].flow.finish_type, FinishType::NotFinished);
    let updates = tick_until(&mut bench, 620);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].flow.finish_type, FinishType::Timeout);
    assert!(bench.live().is_empty());
    assert_eq!((bench.table.stats().flows, bench.table.stats().expired), (0, 1));
}

#[test]
fn a_full_table_evicts_to_the_store_and_counts() {
    let table = TableOptions {
        max_flows: 512,
        ..TableOptions::default()
    };
    let mut bench = Bench::with(table, PointOptions::default());
    for port in 0..10_000 {
        bench.see(1000, &udp_frame(true, port, 9, b"x"));
    }
    let stats = bench.table.stats();
    assert!(stats.flows <= 512, "{} flows", stats.flows);
    assert_eq!(stats.flows + stats.evicted, 10_000);
    let updates = bench.updates();
    assert_eq!(updates.len() as u64, stats.evicted);
    assert!(
        updates
            .iter()
            .all(|update| update.flow.finish_type == FinishType::Evicted)
    );
    bench.balance();
}

#[test]
fn flows_in_use_outlive_those_that_are_not() {
    let table = TableOptions {
        max_flows: 2560,
        ..TableOptions::default()
    };
    let mut bench = Bench::with(table, PointOptions::default());
    for port in 0..20_000 {
        bench.see(1000, &udp_frame(true, 60_000, 9, b"busy"));
        bench.see(1000, &udp_frame(true, port, 9, b"x"));
    }
    let busy = bench
        .live()
        .into_iter()
        .find(|flow| flow.transport.is_some_and(|t| t.a == 60_000));
    assert_eq!(busy.map(|flow| flow.metric.ab_packets), Some(20_000));
}

#[test]
fn sampled_packets_are_scaled_and_their_raw_sums_stay() {
    let mut bench = Bench::new();
    let frame = udp_frame(true, 1, 2, b"x");
    for rate in [64, 64, 128] {
        let mut packet = Packet::new(Timestamp::from_millis(1000), 100, LinkType::ETHERNET, &frame);
        packet.sampling_rate = rate;
        bench.see_packet(packet);
    }
    let flow = &bench.live()[0];
    assert_eq!((flow.metric.ab_packets, flow.metric.ab_bytes), (256, 25_600));
    let sampling = flow.sampling.expect("raw sums");
    assert_eq!(
        (sampling.rate, sampling.ab_packets, sampling.ab_bytes),
        (128, 3, 300)
    );
    assert!((sampling.error_percent() - 113.16).abs() < 0.01);
}

#[test]
fn ports_name_applications_where_the_user_says_so() {
    let ports = ApplicationPorts {
        udp: [(5001, "IPERF".into())].into(),
        ..ApplicationPorts::default()
    };
    let point = PointOptions {
        application_ports: ports.into(),
        ..PointOptions::default()
    };
    let mut bench = Bench::with(TableOptions::default(), point);
    bench.see(1000, &udp_frame(true, 40000, 5001, b"x"));
    bench.see(1001, &udp_frame(true, 40000, 5002, b"x"));
    let names: Vec<_> = bench
        .live()
        .iter()
        .map(|flow| flow.application.to_string())
        .collect();
    assert_eq!(names, ["IPERF", "UDP"]);
}

#[test]
fn tls_shows_when_the_hello_comes() {
    let mut bench = Bench::new();
    bench.see(1000, &tcp_frame(true, 1234, SYN, 1, &[]));
    assert_eq!(&*bench.live()[0].application, "TCP");
    bench.see(
        1001,
        &tcp_frame(true, 1234, ACK, 2, &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]),
    );
    let flow = &bench.live()[0];
    assert_eq!(
        (&*flow.application, &*flow.layers_path),
        ("TLS", "Ethernet/IPv4/TCP/TLS")
    );
}

#[test]
fn extra_layers_are_kept_where_asked_for() {
    let point = PointOptions {
        extra_layers: ExtraLayers(ExtraLayers::DNS),
        ..PointOptions::default()
    };
    let mut bench = Bench::with(TableOptions::default(), point);
    bench.see(1000, &udp_frame(true, 5353, 53, &dns(7, false)));
    let flow = serde_json::to_value(&bench.live()[0]).expect("a document");
    assert_eq!(flow["DNS"]["Questions"][0]["Name"], "www.lab.test");
}

#[test]
fn what_cannot_be_decoded_is_counted_by_its_reason() {
    let mut bench = Bench::new();
    bench.see(1000, &[0; 13]);
    bench.see_packet(Packet::new(Timestamp::ZERO, 40, LinkType(195), &[0; 40]));
    bench.see(1000, &udp_frame(true, 1, 2, b"x"));
    let ledger = bench.balance();
    assert_eq!((ledger.received, ledger.kept), (3, 1));
    assert_eq!(ledger.dropped_for(DropReason::Undecodable), 1);
    assert_eq!(ledger.dropped_for(DropReason::LinkType), 1);
}

#[test]
fn cut_packets_give_what_they_hold() {
    let frame = tcp_frame(true, 1234, SYN, 1, &[]);
    let path_of = |len: usize| {
        let mut bench = Bench::new();
        bench.see(1000, &frame[..len]);
        bench
            .live()
            .first()
            .map(|flow| (flow.layers_path.to_string(), flow.transport.map(|t| t.b)))
    };
    assert_eq!(path_of(54), Some(("Ethernet/IPv4/TCP".into(), Some(80))));
    assert_eq!(
        path_of(38),
        Some(("Ethernet/IPv4/TCP".into(), Some(80))),
        "four bytes hold both ports"
    );
    assert_eq!(path_of(37), Some(("Ethernet/IPv4".into(), None)));
    assert_eq!(
        path_of(26),
        Some(("Ethernet".into(), None)),
        "cut inside the IPv4 header"
    );
    assert_eq!(path_of(13), None);
    let echo = ethernet(
        A,
        B,
        0x0800,
        &ipv4("10.0.0.1", "10.0.0.2", 1, &icmp_echo(true, 7, 1, b"x")),
    );
    let icmp_of = |len: usize| {
        let mut bench = Bench::new();
        bench.see(1000, &echo[..len]);
        bench.live()[0].icmp.map(|icmp| (icmp.number, icmp.id))
    };
    assert_eq!(
        [42, 40, 38, 37].map(icmp_of),
        [Some((8, 7)), Some((8, 7)), Some((8, 0)), None]
    );
}

#[test]
fn other_link_types_and_ip_in_ip() {
    let inner = ipv4("10.0.0.1", "10.0.0.2", 17, &udp(1, 2, b"x"));
    let mut cooked = vec![0; 14];
    cooked.extend([8, 0]);
    let mut cooked2 = vec![8, 0];
    cooked2.extend([0; 18]);
    let cases: [(u16, Vec<u8>); 6] = [
        (101, inner.clone()),
        (228, inner.clone()),
        (0, [&[2, 0, 0, 0][..], &inner].concat()),
        (108, [&[0, 0, 0, 2][..], &inner].concat()),
        (113, [&cooked[..], &inner].concat()),
        (276, [&cooked2[..], &inner].concat()),
    ];
    for (link_type, data) in cases {
        let mut bench = Bench::new();
        let len = u32::try_from(data.len()).expect("fits");
        bench.see_packet(Packet::new(Timestamp::ZERO, len, LinkType(link_type), &data));
        let flow = &bench.live()[0];
        assert_eq!(&*flow.layers_path, "IPv4/UDP", "link type {link_type}");
        assert!(flow.link.is_none());
        assert_eq!(kept(&bench)[0].data, data);
    }
    let outer = ipv6("fd00::1", "fd00::2", 4, &inner);
    let mut bench = Bench::new();
    bench.see(1000, &ethernet(A, B, 0x86dd, &outer));
    let flow = &bench.live()[0];
    assert_eq!(&*flow.layers_path, "Ethernet/IPv6/IPv4/UDP");
    assert_eq!(flow.network.map(|network| network.protocol()), Some("IPV6"));
}

#[test]
fn several_sinks_of_one_node_share_their_flows() {
    let bench = Bench::new();
    let points = bench.table.points(
        PointOptions {
            capture_id: "c".into(),
            ..PointOptions::default()
        },
        std::sync::Arc::clone(&bench.ledger),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut sink = points.open("node");
                for port in 0..500 {
                    let frame = udp_frame(true, port, 9, b"x");
                    bench.ledger.receive(1, 0);
                    let len = u32::try_from(frame.len()).expect("fits");
                    sink.packets(&[Packet::new(Timestamp::ZERO, len, LinkType::ETHERNET, &frame)]);
                }
            });
        }
    });
    let flows = bench.live();
    assert_eq!(flows.len(), 500);
    assert!(
        flows
            .iter()
            .all(|flow| flow.metric.ab_packets == 4 && &*flow.node_tid == "node")
    );
    bench.balance();
}

#[test]
fn a_short_update_interval_is_kept() {
    let table = TableOptions {
        update_interval: Duration::from_secs(1),
        ..TableOptions::default()
    };
    let mut bench = Bench::with(table, PointOptions::default());
    for at in [0, 999, 1000, 2500] {
        bench.see(at, &udp_frame(true, 1, 2, b"x"));
    }
    let intervals: Vec<_> = bench
        .updates()
        .iter()
        .map(|update| update.interval.ab_packets)
        .collect();
    assert_eq!(intervals, [2, 1]);
}

#[test]
fn flows_that_begin_anew_within_a_millisecond_stay_apart() {
    let table = TableOptions {
        max_flows: 256,
        ..TableOptions::default()
    };
    let mut bench = Bench::with(table, PointOptions::default());
    for round in 0..3 {
        // Opened, refused, opened again; and so many others that it is evicted in between.
        bench.see(1000, &tcp_frame(true, 1, SYN, round, &[]));
        bench.see(1000, &tcp_frame(false, 1, RST | ACK, 0, &[]));
        for port in 0..1000 {
            bench.see(1000, &udp_frame(true, port, 9, b"x"));
        }
    }
    bench.table.drain();
    let updates = bench.updates();
    let uuids: std::collections::HashSet<_> = updates.iter().map(|update| update.flow.uuid).collect();
    assert_eq!(uuids.len(), updates.len(), "no two flows share a UUID");
    assert_eq!(updates.len() as u64, bench.table.stats().begun);
    let packets: u64 = updates
        .iter()
        .map(|update| update.flow.metric.ab_packets + update.flow.metric.ba_packets)
        .sum();
    assert_eq!(packets, 3 * 1002);
}

#[test]
fn intervals_of_single_packets_can_be_told_apart() {
    let mut bench = Bench::new();
    let mut intervals = Vec::new();
    for (round, at) in (0..).zip([1000, 1000, 500]) {
        bench.see(at, &udp_frame(true, 1, 2, b"x"));
        // So quiet that what came goes to the store.
        for second in 0..10 {
            bench.table.tick(Timestamp::from_secs(10 * round + second));
        }
        intervals.extend(bench.updates().into_iter().map(|update| update.interval));
    }
    assert_eq!(intervals.len(), 3);
    assert!(
        intervals.windows(2).all(|pair| pair[0].start < pair[1].start),
        "{intervals:?}"
    );
    assert!(
        intervals
            .iter()
            .all(|interval| interval.ab_packets == 1 && interval.start <= interval.last)
    );
}

#[test]
fn counters_stop_at_their_end() {
    let mut bench = Bench::new();
    let frame = udp_frame(true, 1, 2, b"x");
    for _ in 0..3 {
        let mut packet = Packet::new(Timestamp::ZERO, u32::MAX, LinkType::ETHERNET, &frame);
        packet.sampling_rate = u32::MAX;
        bench.see_packet(packet);
    }
    let metric = bench.live()[0].metric;
    assert_eq!(
        (metric.ab_bytes, metric.ab_packets),
        (u64::MAX, 3 * u64::from(u32::MAX))
    );
}

#[test]
fn an_authentication_header_hides_nothing() {
    let datagram = udp(1000, 2000, b"x");
    // Next header, length in words less two, reserved, SPI, sequence number, check value.
    let header = [&[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[7; 12]].concat();
    let behind = |header: &[u8]| [header, &datagram].concat();
    let mut bench = Bench::new();
    bench.see(
        1000,
        &ethernet(A, B, 0x0800, &ipv4("10.0.0.1", "10.0.0.2", 51, &behind(&header))),
    );
    bench.see(
        1001,
        &ethernet(A, B, 0x86dd, &ipv6("fe80::1", "fe80::2", 51, &behind(&header))),
    );
    // One that says that it is longer than the packet.
    let mut too_long = header;
    too_long[1] = 200;
    bench.see(
        1002,
        &ethernet(
            A,
            B,
            0x0800,
            &ipv4("10.0.0.3", "10.0.0.4", 51, &behind(&too_long)),
        ),
    );
    let seen: Vec<_> = bench
        .live()
        .into_iter()
        .map(|flow| (flow.layers_path.to_string(), flow.transport.map(|ports| ports.b)))
        .collect();
    let expected = [
        ("Ethernet/IPv4/IPSecAH/UDP", Some(2000)),
        ("Ethernet/IPv6/IPSecAH/UDP", Some(2000)),
        ("Ethernet/IPv4/IPSecAH", None),
    ];
    assert_eq!(seen, expected.map(|(path, port)| (path.to_owned(), port)));
}

#[test]
fn an_orderly_stop_tells_how_flows_ended() {
    let mut bench = Bench::new();
    bench.see(1000, &tcp_frame(true, 1, SYN, 1, &[]));
    bench.see(1001, &tcp_frame(false, 1, RST | ACK, 0, &[]));
    bench.table.drain();
    assert_eq!(bench.updates()[0].flow.finish_type, FinishType::Rst);
    assert!(bench.live().is_empty());
}

#[test]
fn a_flow_that_ended_is_handed_over_again_only_if_more_comes() {
    for late in [false, true] {
        let mut bench = Bench::new();
        for (at, flags) in [
            (1000, SYN),
            (1001, SYN | ACK),
            (1002, FIN | ACK),
            (1003, FIN | ACK),
        ] {
            bench.see(at, &tcp_frame(at % 2 == 0, 1, flags, 1, &[]));
        }
        let mut told = Vec::new();
        for second in 0..60 {
            bench.table.tick(Timestamp::from_secs(second));
            told.extend(bench.updates().into_iter().map(|update| {
                let metric = update.interval;
                (update.flow.finish_type, metric.ab_packets + metric.ba_packets)
            }));
            if second == 12 {
                assert_eq!(told, [(FinishType::Fin, 4)], "long before it leaves the table");
                assert_eq!(bench.live().len(), 1);
                if late {
                    bench.see(1004, &tcp_frame(true, 1, ACK, 2, &[]));
                }
            }
        }
        assert!(bench.live().is_empty());
        bench.table.drain();
        assert!(bench.updates().is_empty());
        assert_eq!(told.len(), 1 + usize::from(late));
        assert_eq!(told.last(), Some(&(FinishType::Fin, if late { 1 } else { 4 })));
        assert_eq!(bench.table.stats().finished, 1);
    }
}

#[test]
fn an_orderly_stop_hands_each_flow_over_once() {
    let mut bench = Bench::new();
    bench.see(1000, &udp_frame(true, 1, 2, b"x"));
    for second in 0..10 {
        bench.table.tick(Timestamp::from_secs(second));
    }
    assert_eq!(
        bench.updates().len(),
        1,
        "so quiet that it is with the store already"
    );
    for port in 3..1000 {
        bench.see(1001, &udp_frame(true, port, 2, b"x"));
    }
    bench.table.drain();
    let updates = bench.updates();
    assert_eq!(updates.len(), 997);
    let is_first_and_open = |update: &FlowUpdate| {
        update.first
            && update.interval == update.flow.metric
            && update.flow.finish_type == FinishType::NotFinished
    };
    assert!(updates.iter().all(is_first_and_open));
    assert_eq!(bench.table.stats().flows, 0);
    bench.table.drain();
    assert_eq!(bench.updates().len(), 0);
    bench.see(2000, &udp_frame(true, 1, 2, b"x"));
    assert_eq!(
        bench.live()[0].metric.ab_packets,
        1,
        "what comes too late begins anew"
    );
}

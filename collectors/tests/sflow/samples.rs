//! What Open vSwitch does not send, but others do.

use std::time::Duration;

use flowtap_collectors::sflow::wire::{DecodeError, Format};
use flowtap_flow::ledger::DropReason;
use flowtap_flow::packet::LinkType;
use flowtap_flow::timestamp::Timestamp;

use crate::encoder::*;
use crate::harness::{Harness, START, Seen};

/// Feeds one sample; gives what came out.
fn one(sample: Vec<u8>) -> (Harness, Vec<Seen>) {
    let mut harness = Harness::new();
    harness.feed(&Datagram::default().with(&[sample]));
    let seen = harness.seen();
    (harness, seen)
}

fn tid(harness: &Harness, name: &str) -> String {
    harness.node(name).tid().unwrap().to_string()
}

#[test]
fn an_expanded_sample_is_as_a_compact_one() {
    let frame = udp_frame(1, 128);
    let records = [extended_switch(10), raw_header(1, 1518, 4, &frame)];
    let (harness, compact) = one(FlowSample::default().compact(&records));
    let (_, expanded) = one(FlowSample::default().expanded(&records));
    assert_eq!(compact, expanded);
    assert_eq!(
        compact,
        [Seen {
            node_tid: tid(&harness, "port 7"),
            timestamp: Timestamp::from_secs(START + 1),
            len: 1514,
            link_type: LinkType::ETHERNET,
            sampling_rate: 100,
            captured: true,
            data: frame,
        }]
    );
    assert_eq!(harness.agent().sampling_rate, 100);
    let large = FlowSample {
        index: 0x0200_0000,
        ..FlowSample::default()
    };
    let (harness, seen) = one(large.expanded(&records));
    assert_eq!(seen[0].node_tid, tid(&harness, "port 33554432"));
}

#[test]
fn a_discarded_packet_counts_once_with_its_reason() {
    let drop = FlowSample {
        rate: 0,
        ..FlowSample::default()
    };
    let (harness, seen) = one(drop.discarded(258, &[raw_header(1, 68, 4, &udp_frame(1, 64))]));
    assert_eq!((seen.len(), seen[0].sampling_rate, seen[0].len), (1, 1, 64));
    let agent = harness.agent();
    assert_eq!((agent.drop_samples, agent.flow_samples), (1, 0));
    assert_eq!(agent.drop_reasons.of(258), 1);
}

#[test]
fn bare_ip_headers() {
    let packet = &udp_frame(1, 128)[14..];
    for (protocol, link_type) in [(11, LinkType::IPV4), (12, LinkType::IPV6)] {
        let (_, seen) = one(FlowSample::default().compact(&[raw_header(protocol, 1500, 0, packet)]));
        assert_eq!((seen[0].link_type, seen[0].len), (link_type, 1500));
        assert_eq!(seen[0].data, packet);
    }
}

#[test]
fn other_header_protocols_cost_their_record_alone() {
    let (good, token_ring) = (
        raw_header(1, 132, 4, &udp_frame(1, 128)),
        raw_header(2, 132, 4, &[0; 64]),
    );
    let samples = [
        FlowSample::default().compact(std::slice::from_ref(&good)),
        FlowSample {
            sequence: 2,
            ..FlowSample::default()
        }
        .compact(std::slice::from_ref(&token_ring)),
        FlowSample {
            sequence: 3,
            ..FlowSample::default()
        }
        .compact(&[token_ring, good]),
    ];
    let mut harness = Harness::new();
    harness.feed(&Datagram::default().with(&samples));
    assert_eq!(harness.seen().len(), 2);
    assert_eq!(harness.dropped(DropReason::LinkType), 1);
    let agent = harness.agent();
    assert_eq!(agent.unknown_protocols.of(2), 2);
    assert_eq!(agent.decode_errors.of(DecodeError::HeaderProtocol), 2);
}

#[test]
fn fields_without_a_header_become_a_packet() {
    let (v4, v6) = ("10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
    let ethernet = sampled_ethernet(1518, [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], 0x0800);
    let ipv4 = sampled_ipv4(1500, v4, "10.0.0.2".parse().unwrap(), (6, 443, 50_000, 0x10));
    let ipv6 = sampled_ipv6(1400, v6, "2001:db8::2".parse().unwrap(), (17, 53, 5353, 0));

    let (_, seen) = one(FlowSample::default().compact(std::slice::from_ref(&ipv4)));
    assert_eq!(
        (seen[0].link_type, seen[0].len, seen[0].captured),
        (LinkType::IPV4, 1500, false)
    );
    assert_eq!(seen[0].data[20..24], [1, 187, 0xc3, 0x50]);
    let (_, seen) = one(FlowSample::default().compact(&[ipv6]));
    assert_eq!(
        (seen[0].link_type, seen[0].len, seen[0].captured),
        (LinkType::IPV6, 1400, false)
    );
    let (_, seen) = one(FlowSample::default().compact(&[ipv4.clone(), ethernet.clone()]));
    assert_eq!((seen[0].link_type, seen[0].len), (LinkType::ETHERNET, 1514));
    assert_eq!(
        (seen[0].data[5], seen[0].data[11], seen[0].data.len()),
        (2, 1, 54)
    );
    let (_, seen) = one(FlowSample::default().compact(&[ethernet]));
    assert_eq!((seen[0].data.len(), seen[0].len), (14, 1514));

    let header = raw_header(1, 132, 4, &udp_frame(1, 128));
    let (_, seen) = one(FlowSample::default().compact(&[ipv4, header]));
    assert_eq!(
        (seen.len(), seen[0].captured, seen[0].data.len()),
        (1, true, 128),
        "real bytes come first"
    );
}

#[test]
fn a_sample_may_tell_of_no_packet() {
    let (harness, seen) = one(FlowSample::default().compact(&[extended_switch(1)]));
    assert!(seen.is_empty());
    assert_eq!(harness.agent().samples_without_packet, 1);
    assert_eq!(harness.ledger().received, 0);
}

#[test]
fn the_agents_own_clock_is_believed_within_reason() {
    let header = raw_header(1, 132, 4, &udp_frame(1, 128));
    let arrived = Timestamp::from_secs(START + 1);
    let own = arrived.minus(Duration::from_nanos(437_123_456));
    let at = |nanos: i64| extended_timestamp(u64::try_from(nanos).unwrap());
    let (_, seen) = one(FlowSample::default().compact(&[header.clone(), at(own.nanos())]));
    assert_eq!(seen[0].timestamp, own);
    for absurd in [0, i64::MAX, arrived.nanos() + 3_600_000_000_000] {
        let (harness, seen) = one(FlowSample::default().compact(&[at(absurd), header.clone()]));
        assert_eq!(seen[0].timestamp, arrived);
        assert_eq!(harness.agent().decode_errors.of(DecodeError::Timestamp), 1);
    }
}

#[test]
fn types_without_use_are_counted_by_name() {
    let header = raw_header(1, 132, 4, &udp_frame(1, 128));
    let vendor = Format(4413 << 12 | 7);
    let samples = [
        FlowSample::default().compact(&[tlv(1002, &[0; 16]), tlv(vendor.0, b"x"), header]),
        tlv(4300 << 12 | 1002, b"realtime metric"),
    ];
    let mut harness = Harness::new();
    harness.feed(&Datagram::default().with(&samples));
    assert_eq!(harness.seen().len(), 1);
    let json = serde_json::to_value(harness.agent()).unwrap();
    assert_eq!(
        json["UnknownRecords"],
        serde_json::json!({"0:1002": 1, "4413:7": 1})
    );
    assert_eq!(json["UnknownSamples"], serde_json::json!({"4300:1002": 1}));
    assert_eq!(json["DecodeErrors"], serde_json::json!({}));
}

#[test]
fn counters_of_all_forms_reach_their_port() {
    let mut harness = Harness::new();
    let records = |octets| vec![if_counters(9, (octets, 10), (7, 1)), port_name(b"ge-0/0/9")];
    harness.feed(&Datagram::numbered(1).with(&[counters(1, 0, 9, &records(1_000))]));
    harness.feed(&Datagram::numbered(2).with(&[counters_expanded(2, 0, 9, &records(1_500))]));
    let lag = lag_port([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 5, 0x76], 3);
    harness.feed(&Datagram::numbered(3).with(&[counters(3, 0, 9, &[lag])]));
    let port = harness.node("ge-0/0/9");
    assert_eq!(port.metadata["SFlow"]["Metric"]["IfInOctets"], 1_500);
    assert_eq!(
        port.metadata["LACP"],
        serde_json::json!({
            "ActorSystemID": "02:00:00:00:00:01",
            "PartnerSystemID": "02:00:00:00:05:76",
            "AggregatorIfIndex": 3,
        })
    );
    let last = &port.metadata["SFlow"]["LastUpdateMetric"];
    assert_eq!(last["Last"], (START + 3) * 1000);
    assert_eq!(last["Start"], (START + 2) * 1000);
    let agent = harness.node("192.0.2.1");
    assert_eq!(agent.metadata["SFlow"]["IfMetrics"]["9"]["IfInUcastPkts"], 7);
}

#[test]
fn counters_go_into_the_graph_once_a_second_and_at_the_end() {
    let mut harness = Harness::new();
    let at = |millis| Timestamp::from_secs(START).plus(Duration::from_millis(millis));
    let feed = |harness: &mut Harness, sequence: u32, millis| {
        let records = [if_counters(9, (u64::from(sequence), 1), (0, 0))];
        let datagram = Datagram::numbered(sequence).with(&[counters(sequence, 0, 9, &records)]);
        harness.feed_at(&datagram, at(millis));
    };
    let octets = |harness: &Harness| {
        let metric = &harness.node("port 9").metadata["SFlow"]["Metric"];
        metric["IfInOctets"].as_u64()
    };
    feed(&mut harness, 1, 0);
    assert_eq!(octets(&harness), Some(1));
    feed(&mut harness, 2, 400);
    feed(&mut harness, 3, 999);
    assert_eq!(octets(&harness), Some(1));
    harness.decoder.idle(at(1_000));
    assert_eq!(octets(&harness), Some(3));
    // A clock that is set back holds nothing up.
    feed(&mut harness, 4, 0);
    assert_eq!(octets(&harness), Some(4));
    feed(&mut harness, 5, 10);
    assert_eq!(octets(&harness), Some(4));
    harness.decoder.finish();
    assert_eq!(octets(&harness), Some(5));
}

#[test]
fn what_changed_since_the_last_update_is_shown() {
    let mut harness = Harness::new();
    for (sequence, octets) in [(1, 1_000), (2, 1_500)] {
        let records = [if_counters(9, (octets, 10), (7, 1))];
        harness.feed(&Datagram::numbered(sequence).with(&[counters(sequence, 0, 9, &records)]));
    }
    for name in ["port 9", "192.0.2.1"] {
        let sflow = &harness.node(name).metadata["SFlow"];
        assert_eq!(sflow["LastUpdateMetric"]["IfInOctets"], 500, "{name}");
        assert_eq!(sflow["Metric"]["IfInOctets"], 1_500, "{name}");
    }
}

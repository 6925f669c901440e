//! Who sends, what was lost on the way, and how many there may be.

use std::net::Ipv6Addr;

use flowtap_collectors::sflow::wire::DecodeError;
use flowtap_collectors::sflow::{MAX_AGENTS, MAX_SOURCES, Received};
use flowtap_flow::ledger::DropReason;
use flowtap_flow::timestamp::Timestamp;

use crate::encoder::*;
use crate::harness::{Harness, START, source};

fn sample(sequence: u32) -> Vec<u8> {
    let header = raw_header(1, 132, 4, &udp_frame(1, 128));
    FlowSample {
        sequence,
        class: 2,
        index: 1000,
        ..FlowSample::default()
    }
    .compact(&[header])
}

#[test]
fn losses_and_late_arrivals_are_exact() {
    let mut harness = Harness::new();
    for sequence in [10, 11, 14, 12, 15, 18] {
        harness.feed(&Datagram::numbered(sequence).with(&[sample(sequence)]));
    }
    let agent = harness.agent();
    assert_eq!(
        (agent.lost, agent.reordered, agent.restarts),
        (3, 1, 0),
        "13, 16 and 17 are missing"
    );
    assert_eq!(agent.lost_flow_samples, 3);
    assert_eq!(harness.seen().len(), 6);
}

#[test]
fn a_restart_begins_all_sequences_anew() {
    let mut harness = Harness::new();
    for (sequence, uptime_ms, number) in [(500, 900_000, 7_000), (1, 0, 1), (2, 1_000, 2)] {
        let datagram = Datagram {
            sequence,
            uptime_ms,
            ..Datagram::default()
        };
        harness.feed(&datagram.with(&[sample(number)]));
    }
    let agent = harness.agent();
    assert_eq!((agent.restarts, agent.lost, agent.lost_flow_samples), (1, 0, 0));
}

#[test]
fn drops_of_the_agent_add_up() {
    let mut harness = Harness::new();
    for (sequence, drops) in [(1, 5), (2, 5), (3, 9)] {
        let flow = FlowSample {
            sequence,
            drops,
            ..FlowSample::default()
        };
        harness.feed(&Datagram::numbered(sequence).with(&[flow.compact(&[extended_switch(1)])]));
    }
    assert_eq!(
        harness.agent().drops,
        4,
        "what it dropped before its first datagram is not ours to tell"
    );
}

#[test]
fn an_agent_is_what_it_says_it_is() {
    let mut harness = Harness::new();
    let v6 = Datagram {
        agent: "2001:db8::7".parse::<Ipv6Addr>().unwrap().into(),
        ..Datagram::default()
    };
    harness.feed(&v6.with(&[sample(1)]));
    harness.feed(&Datagram { sub_agent: 3, ..v6 }.with(&[sample(1)]));
    // Of address type 0: then the sender's address must do.
    harness.feed(&[words(&[5, 0, 0, 1, 0, 1]), sample(1)].concat());
    let names: Vec<_> = harness
        .stats
        .agents()
        .iter()
        .map(|a| (a.agent.to_string(), a.sub_agent))
        .collect();
    assert_eq!(
        names,
        [
            ("2001:db8::7".to_owned(), 0),
            ("2001:db8::7".to_owned(), 3),
            (source().ip().to_string(), 0)
        ]
    );
    assert_eq!(harness.node("2001:db8::7#3").metadata["SubAgentID"], 3);
}

#[test]
fn made_up_agents_fill_no_memory() {
    let mut harness = Harness::new();
    let extra = 100;
    for sub_agent in 0..u32::try_from(MAX_AGENTS + extra).unwrap() {
        harness.feed(
            &Datagram {
                sub_agent,
                ..Datagram::default()
            }
            .with(&[sample(1)]),
        );
    }
    assert_eq!(harness.stats.agents().len(), MAX_AGENTS);
    assert_eq!(harness.seen().len(), MAX_AGENTS);
    assert_eq!(harness.dropped(DropReason::Limit), extra as u64);
    assert_eq!(
        harness.stats.totals().refused.of(DecodeError::AgentLimit),
        extra as u64
    );
    // Those known before go on.
    harness.feed(&Datagram::numbered(2).with(&[sample(2)]));
    assert_eq!(harness.seen().len(), MAX_AGENTS + 1);
}

#[test]
fn made_up_data_sources_cost_no_packet() {
    let mut harness = Harness::new();
    let header = raw_header(1, 132, 4, &udp_frame(1, 128)[..16]);
    let (total, per_datagram) = (MAX_SOURCES + 500, 50);
    // VLANs until there is no more room, then interfaces.
    let sample = |index: usize| FlowSample {
        class: u32::from(index < MAX_SOURCES),
        index: u32::try_from(index).unwrap(),
        ..FlowSample::default()
    };
    for first in (0..total).step_by(per_datagram) {
        let samples: Vec<_> = (first..(first + per_datagram).min(total))
            .map(|index| sample(index).expanded(std::slice::from_ref(&header)))
            .collect();
        let bytes = Datagram::numbered(u32::try_from(first / per_datagram).unwrap()).with(&samples);
        let timestamp = Timestamp::from_secs(START);
        harness.decoder.burst(&[Received {
            bytes: &bytes,
            source: source(),
            timestamp,
        }]);
    }
    harness.decoder.idle(Timestamp::from_secs(START));
    assert_eq!(harness.agent().decode_errors.of(DecodeError::SourceLimit), 500);
    assert_eq!(harness.graph.nodes().len(), 2, "host and agent");
    let agent = harness.node("192.0.2.1").tid().unwrap();
    let seen = harness.seen();
    assert_eq!(seen.len(), total);
    assert!(seen.iter().all(|packet| packet.node_tid == agent.as_str()));
}

#[test]
fn drops_of_the_kernel_are_in_the_ledger() {
    let mut harness = Harness::new();
    harness.decoder.kernel_dropped(7);
    assert_eq!(
        (harness.ledger().received, harness.dropped(DropReason::Kernel)),
        (7, 7)
    );
    assert_eq!(harness.stats.totals().kernel_drops, 7);
}

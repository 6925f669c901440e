//! Who may send, how they really sample, and when they are forgotten.

use std::time::Duration;

use flowtap_collectors::sflow::wire::DecodeError;
use flowtap_collectors::sflow::{AllowList, MAX_AGENTS};
use flowtap_flow::ledger::DropReason;
use flowtap_flow::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::encoder::*;
use crate::harness::{Harness, START, source};

/// A flow sample of interface 7, one of 100 packets.
fn sample(sequence: u32) -> Vec<u8> {
    let flow = FlowSample {
        sequence,
        ..FlowSample::default()
    };
    flow.compact(&[raw_header(1, 132, 4, &udp_frame(1, 128))])
}

fn of_agent(sub_agent: u32, sequence: u32) -> Vec<u8> {
    let datagram = Datagram {
        sub_agent,
        ..Datagram::numbered(sequence)
    };
    datagram.with(&[sample(sequence)])
}

/// The rates that a node shows: as told, and as the samples tell.
fn rates(harness: &Harness, name: &str) -> (Value, Value) {
    let sflow = harness.node(name).metadata["SFlow"].clone();
    (
        sflow["SamplingRate"].clone(),
        sflow["EffectiveSamplingRate"].clone(),
    )
}

#[test]
fn each_sample_stands_for_the_packets_since_the_one_before_it_that_came() {
    let mut harness = Harness::new();
    harness.feed(&of_agent(0, 1));
    assert_eq!(harness.agent().effective_sampling_rate.get(), None);
    assert_eq!(rates(&harness, "port 7"), (json!(100), Value::Null));
    for sequence in [2, 3, 5] {
        harness.feed(&of_agent(0, sequence));
    }
    // 1:100, and one of the four samples since the first was lost.
    assert_eq!(harness.agent().effective_sampling_rate.get(), Some(133.333));
    for name in ["192.0.2.1", "port 7"] {
        assert_eq!(rates(&harness, name), (json!(100), json!(133.333)), "{name}");
    }
    // It was late, not lost.
    harness.feed(&of_agent(0, 4));
    assert_eq!(rates(&harness, "port 7").1, json!(100.0));
    // Twice is not more.
    harness.feed(&of_agent(0, 4));
    assert_eq!(rates(&harness, "port 7").1, json!(100.0));
    let revision = harness.node("port 7").revision;
    harness.feed(&of_agent(0, 6));
    assert_eq!(harness.node("port 7").revision, revision, "rates are no history");
}

#[test]
fn only_senders_on_the_list_are_heard() {
    let listed = |networks: &[&str]| {
        let list = AllowList::parse(networks).unwrap();
        let mut harness = Harness::with(|decoder| decoder.allow_only(list));
        harness.feed(&of_agent(0, 1));
        harness
    };
    let harness = listed(&["203.0.113.0/24", &source().ip().to_string()]);
    assert_eq!(harness.seen().len(), 1);
    // What the datagram says of itself does not count.
    let harness = listed(&["192.0.2.1"]);
    assert!(harness.seen().is_empty() && harness.stats.agents().is_empty());
    assert_eq!(harness.graph.nodes().len(), 1);
    assert_eq!(harness.dropped(DropReason::Denied), 1);
    let totals = harness.stats.totals();
    assert_eq!(
        (totals.datagrams, totals.refused.of(DecodeError::NotAllowed)),
        (1, 1)
    );
}

#[test]
fn an_agent_that_is_silent_is_forgotten_and_may_come_again() {
    let mut harness = Harness::with(|decoder| decoder.forget_after(Some(Duration::from_secs(10))));
    let names = |harness: &Harness| {
        let mut names: Vec<_> = harness
            .graph
            .nodes()
            .iter()
            .map(|node| node.name().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names
    };
    let counted = counters(1, 0, 7, &[if_counters(7, (1, 1), (1, 1))]);
    harness.feed(&Datagram::numbered(1).with(&[sample(1), counted]));
    let tid = harness.node("port 7").tid().unwrap();
    // Another one is heard of all the time.
    for sequence in 1..=9 {
        harness.feed(&of_agent(3, sequence));
    }
    assert_eq!(harness.stats.agents().len(), 2);
    harness.feed(&of_agent(3, 10));
    let agents = harness.stats.agents();
    assert_eq!((agents.len(), agents[0].sub_agent), (1, 3));
    assert_eq!(harness.stats.totals().agents_forgotten, 1);
    assert_eq!(names(&harness), ["192.0.2.1#3", "collector", "port 7"]);
    // It begins anew, at the same node.
    harness.feed(&of_agent(0, 500));
    let agent = harness.stats.agents().pop().unwrap();
    assert_eq!((agent.sub_agent, agent.lost, agent.restarts), (0, 0, 0));
    let seen = harness.seen();
    assert_eq!(seen.last().unwrap().node_tid, tid.as_str());
    assert_eq!(seen.len(), 12);
    assert_eq!(names(&harness).len(), 5);
}

#[test]
fn those_that_are_forgotten_make_room() {
    let idle = Duration::from_secs(60);
    let mut harness = Harness::with(|decoder| decoder.forget_after(Some(idle)));
    let now = Timestamp::from_secs(START);
    let agents = u32::try_from(MAX_AGENTS).unwrap();
    for round in 1..=2 {
        let at = now.plus(idle * round * 2);
        for sub_agent in 0..agents {
            harness.feed_at(&of_agent(round * agents + sub_agent, 1), at);
        }
        harness.feed_at(&of_agent(7, 1), at);
        assert_eq!(harness.stats.agents().len(), MAX_AGENTS);
        assert_eq!(harness.dropped(DropReason::Limit), u64::from(round));
        // Nothing more comes.
        harness.decoder.idle(at.plus(idle));
        assert!(harness.stats.agents().is_empty());
        assert_eq!(harness.graph.nodes().len(), 1);
    }
    assert_eq!(harness.stats.totals().agents_forgotten, u64::from(2 * agents));
}

//! Recordings of Open vSwitch against the packets that really entered the switch.

use flowtap_collectors::sflow::Received;
use flowtap_flow::packet::LinkType;
use serde_json::json;

use crate::harness::{Captured, Harness, Seen, datagrams, node, pcap, source};

/// Name, datagrams, flow samples, counter samples, header bytes: the table of `fixtures/README.md`.
pub(crate) const RECORDINGS: [(&str, u64, usize, u64, usize); 11] = [
    ("counters", 6, 0, 30, 128),
    ("dhcp", 16, 26, 59, 128),
    ("frag-short", 9, 31, 20, 128),
    ("header64", 8, 34, 20, 64),
    ("icmp", 10, 30, 20, 128),
    ("ipv6", 10, 36, 20, 128),
    ("mix-s64", 14, 42, 35, 128),
    ("restart", 13, 36, 35, 128),
    ("tcp-udp", 26, 155, 25, 128),
    ("two-bridges", 12, 28, 28, 128),
    ("vlan-arp", 11, 34, 30, 128),
];

fn replay(name: &str) -> Harness {
    let mut harness = Harness::new();
    for datagram in datagrams(name) {
        harness.feed_at(&datagram.data, datagram.timestamp);
    }
    harness
}

/// Takes from `truth` the packet that `seen` is a sample of; panics if there is none left.
fn take_original(truth: &mut Vec<Captured>, seen: &Seen, header: usize) {
    let is_original = |packet: &Captured| {
        // One truth file holds the first 64 bytes of each packet only.
        let known = packet.data.len().min(seen.data.len());
        packet.len == seen.len
            && seen.data.len() == header.min(packet.len as usize)
            && packet.data[..known] == seen.data[..known]
            && (known == seen.data.len() || packet.data.len() == 64)
    };
    let found = truth.iter().position(is_original);
    let found = found.unwrap_or_else(|| panic!("no packet entered the switch like {seen:?}"));
    truth.swap_remove(found);
}

#[test]
fn every_sampled_packet_comes_once_and_as_it_was() {
    for (name, count, flow_samples, counter_samples, header) in RECORDINGS {
        let harness = replay(name);
        let seen = harness.seen();
        assert_eq!(seen.len(), flow_samples, "{name}");
        let mut truth = pcap(&format!("ovs-sflow-{name}.truth.pcap"));
        for packet in &seen {
            take_original(&mut truth, packet, header);
            assert_eq!((packet.link_type, packet.captured), (LinkType::ETHERNET, true));
        }
        let rate = if name == "mix-s64" { 64 } else { 1 };
        assert!(seen.iter().all(|packet| packet.sampling_rate == rate), "{name}");

        let agents = harness.stats.agents();
        assert_eq!(
            agents.iter().map(|agent| agent.datagrams).sum::<u64>(),
            count,
            "{name}"
        );
        assert_eq!(
            agents.iter().map(|a| a.counter_samples).sum::<u64>(),
            counter_samples,
            "{name}"
        );
        for agent in &agents {
            assert_eq!(
                (agent.lost, agent.reordered, agent.duplicates),
                (0, 0, 0),
                "{name}"
            );
            assert_eq!(
                (agent.lost_flow_samples, agent.lost_counter_samples),
                (0, 0),
                "{name}"
            );
            assert_eq!(agent.decode_errors.iter().count(), 0, "{name}");
            assert_eq!(
                agent.unknown_records.total() + agent.unknown_samples.total(),
                0,
                "{name}"
            );
            assert_eq!(agent.samples_without_packet, 0, "{name}");
        }
        let ledger = harness.ledger();
        assert_eq!(
            (ledger.received, ledger.dropped_total()),
            (flow_samples as u64, 0),
            "{name}"
        );
        let bytes = seen.iter().map(|packet| u64::from(packet.len)).sum::<u64>();
        assert_eq!(ledger.received_bytes, bytes, "{name}");
    }
}

#[test]
fn one_burst_gives_what_single_datagrams_give() {
    for (name, ..) in RECORDINGS {
        let recorded = datagrams(name);
        let received: Vec<_> = recorded
            .iter()
            .map(|d| Received {
                bytes: &d.data,
                source: source(),
                timestamp: d.timestamp,
            })
            .collect();
        let mut harness = Harness::new();
        harness.decoder.burst(&received);
        harness.decoder.idle(recorded.last().unwrap().timestamp);
        let mut burst = harness.seen();
        let mut single = replay(name).seen();
        // Packets of several capture points keep their order at each point alone.
        burst.sort_by(|a, b| (&a.node_tid, a.timestamp).cmp(&(&b.node_tid, b.timestamp)));
        single.sort_by(|a, b| (&a.node_tid, a.timestamp).cmp(&(&b.node_tid, b.timestamp)));
        assert_eq!(burst, single, "{name}");
    }
}

#[test]
fn packets_of_one_datagram_keep_their_order_in_time() {
    let seen = replay("tcp-udp").seen();
    assert!(seen.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
}

#[test]
fn off_and_on_again_is_a_restart_and_no_loss() {
    let agent = replay("restart").agent();
    assert_eq!((agent.restarts, agent.lost, agent.lost_flow_samples), (1, 0, 0));
}

#[test]
fn bridges_are_told_apart_by_their_sub_agents() {
    let harness = replay("two-bridges");
    let agents = harness.stats.agents();
    let counts: Vec<_> = agents.iter().map(|a| (a.sub_agent, a.flow_samples)).collect();
    assert_eq!(counts, [(0, 23), (1, 5)]);
    let (int, ext) = (harness.node("127.0.0.1"), harness.node("127.0.0.1#1"));
    assert_eq!(int.metadata["Bridge"], "br-int");
    assert_eq!(int.metadata["DatapathID"], "00008a1a6f6c3a4d");
    assert_eq!(ext.metadata["Bridge"], "br-ex");
    let at = |node: &flowtap_topology::Node| {
        let tid = node.tid().unwrap();
        harness
            .seen()
            .iter()
            .filter(|packet| packet.node_tid == tid.as_str())
            .count()
    };
    assert_eq!((at(&int), at(&ext)), (23, 5));
}

#[test]
fn counters_stand_at_their_nodes() {
    let harness = replay("counters");
    let port = harness.node("tapvm2");
    assert_eq!(port.node_type(), Some("switchport"));
    assert_eq!(port.metadata["IfIndex"], 6);
    assert_eq!(port.metadata["OfPort"], 3);
    assert_eq!(port.metadata["State"], "UP");
    assert_eq!(port.metadata["Speed"], 10_000);
    let mut metric = port.metadata["SFlow"]["Metric"].clone();
    for time in ["Start", "Last"] {
        assert!(metric.as_object_mut().unwrap().remove(time).unwrap().is_i64());
    }
    assert_eq!(
        metric,
        json!({
            "IfInOctets": 3098, "IfInUcastPkts": 33,
            "IfOutOctets": 3450, "IfOutUcastPkts": 37, "IfOutDiscards": 1,
        })
    );

    let agent = harness.node("127.0.0.1");
    let sflow = &agent.metadata["SFlow"];
    assert_eq!(sflow["IfMetrics"]["6"], port.metadata["SFlow"]["Metric"]);
    assert_eq!(sflow["IfMetrics"].as_object().unwrap().len(), 4);
    let metric = &sflow["Metric"];
    assert_eq!(
        metric["IfInOctets"],
        90 + 666 + 3090 + 3098,
        "the sum of the ports"
    );
    assert_eq!(metric["OvsDpNHit"], 56, "as the switch said last, not added up");
    assert_eq!(metric["OvsDpNFlows"], 18);
    assert_eq!(metric["OvsAppMemUsed"], 18_640_896);
    assert_eq!(agent.metadata["AgentAddress"], "127.0.0.1");
}

#[test]
fn counters_make_no_revisions() {
    let (short, long) = (Harness::new(), replay("counters"));
    let mut short = short;
    for datagram in datagrams("counters").iter().take(2) {
        short.feed_at(&datagram.data, datagram.timestamp);
    }
    let (early, late) = (node(&short.graph, "tapvm1"), node(&long.graph, "tapvm1"));
    assert_ne!(early.metadata["SFlow"], late.metadata["SFlow"]);
    assert_eq!(early.revision, late.revision);
    assert_eq!(early.id, late.id);
}

//! The first packets of new interfaces reach every capture that names them in time. Sockets are real here, on
//! the loopback interface, which every machine has: run as root.

use flowtap_capture::{CaptureLimits, EventKind, FirstPackets, NewCapture};
use flowtap_topology::{NodeId, NodeSpec};
use serde_json::json;

use crate::support::{Lab, until};

/// The index of `lo`.
const LOOPBACK: u32 = 1;

fn loopback(lab: &Lab, name: &str, state: &str) -> NodeId {
    let host = lab.graph.host().clone();
    let spec = NodeSpec::new(&host, "device", name)
        .with("IfIndex", LOOPBACK)
        .with("State", state);
    lab.graph.upsert_node(spec).unwrap()
}

#[test]
fn every_capture_that_names_a_new_interface_gets_what_was_held() {
    let lab = Lab::new();
    let by_id = lab.create("G.V().HasKey('ExtID.vm-id')");
    let by_name = lab.create("G.V().Has('Name', 'tap0')");
    // No metadata yet: one capture knows it at once, the other later.
    let tap = loopback(&lab, "tap0", "DOWN");
    lab.until_state(&by_name, "active");
    assert_eq!(lab.captures.early_stats().opened, 1);
    lab.set(&tap, "ExtID", json!({"vm-id": "1"}));
    lab.until_state(&by_id, "active");
    let opened = lab.log.opened();
    assert_eq!(
        opened.iter().map(|with| with.has_early).collect::<Vec<_>>(),
        [true, true]
    );
    for id in [&by_id, &by_name] {
        let capture = lab.get(id);
        assert_eq!(capture.nodes[0].first_packets, Some(FirstPackets::Complete));
        let mut events = capture.events.into_iter();
        let capturing = events.find(|event| event.event == EventKind::Capturing).unwrap();
        assert!(
            capturing
                .detail
                .ends_with(" ms after the interface appeared; its packets are here from the first"),
            "{}",
            capturing.detail
        );
    }
    // A source that begins anew goes on where the last one left off.
    lab.log.end("tap0");
    until("both again", || lab.log.opened().len() == 4);
    assert!(lab.log.opened()[2..].iter().all(|with| with.has_early));
    lab.until_state(&by_id, "active");
    assert_eq!(
        lab.get(&by_id).nodes[0].first_packets,
        Some(FirstPackets::Complete)
    );
    // One that was up when it appeared may have sent before.
    loopback(&lab, "tap1", "UP");
    let up = lab.create("G.V().Has('Name', 'tap1')");
    let capture = lab.until_state(&up, "active");
    assert_eq!(capture.nodes[0].first_packets, Some(FirstPackets::Unknown));
    let stats = lab.captures.early_stats();
    assert_eq!((stats.opened, stats.failed, stats.given_up), (2, 0, 0));
}

#[test]
fn nothing_is_held_where_no_capture_could_want_it() {
    let lab = Lab::new();
    loopback(&lab, "tap0", "DOWN");
    let pcap = lab.create_type("G.V().Has('Type', 'device')", "pcap");
    loopback(&lab, "tap1", "DOWN");
    until("both nodes", || lab.get(&pcap).nodes.len() == 2);
    let broken = NewCapture::new("G.V(");
    lab.declare(broken).unwrap_err();
    assert_eq!(lab.captures.early_stats().opened, 0);

    let id = lab.create("G.V().Has('Name', 'nobody')");
    let tap = loopback(&lab, "tap2", "DOWN");
    // Nothing to read from: not an interface, and one of a name alone.
    lab.namespace("blue");
    let host = lab.graph.host().clone();
    lab.graph
        .upsert_node(NodeSpec::new(&host, "device", "drawn"))
        .unwrap();
    until("one socket", || lab.captures.early_stats().held == 1);
    lab.remove(&tap);
    until("no socket", || lab.captures.early_stats().held == 0);
    loopback(&lab, "tap3", "DOWN");
    until("one socket", || lab.captures.early_stats().held == 1);
    lab.captures.delete(&id).unwrap();
    until("no socket", || lab.captures.early_stats().held == 0);
    assert_eq!(lab.captures.early_stats().opened, 2);
}

#[test]
fn the_oldest_are_given_up_and_time_runs_out() {
    let limits = CaptureLimits {
        early_sockets: 2,
        early_hold: std::time::Duration::from_millis(300),
        ..CaptureLimits::default()
    };
    let lab = Lab::with_limits(limits);
    lab.create("G.V().Has('Name', 'nobody')");
    for name in ["tap0", "tap1", "tap2"] {
        loopback(&lab, name, "DOWN");
    }
    until("three sockets", || lab.captures.early_stats().opened == 3);
    assert_eq!(lab.captures.early_stats().given_up, 1);
    until("the end of their time", || lab.captures.early_stats().held == 0);
    // Then it is a late start like any other.
    let id = lab.create("G.V().Has('Name', 'tap2')");
    lab.until_state(&id, "active");
    assert!(!lab.log.opened()[0].has_early);
}

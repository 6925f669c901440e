//! Creating and deleting, and what is refused.

use std::time::Duration;

use flowtap_capture::{CaptureError, CaptureLimits, Captures, InputKind, NewCapture, StandingInput, State};
use flowtap_flow::point::PointOptions;
use flowtap_flow::timestamp::Timestamp;

use crate::support::{Lab, until};

fn bpf(gremlin: &str, filter: &str) -> NewCapture {
    NewCapture {
        bpf_filter: filter.to_owned(),
        ..NewCapture::new(gremlin)
    }
}

#[test]
fn what_is_created_is_listed_as_it_was_declared() {
    let lab = Lab::new();
    let new = NewCapture {
        raw_packet_limit: Some(-1),
        description: "all of it".into(),
        r#type: "pcapsocket".into(),
        port: 8_123,
        ..bpf("G.V().Has('Name', 'eth0')", "icmp")
    };
    let created = lab.declare(new).unwrap();
    assert_eq!(created.raw_packet_limit, -1);
    assert_eq!((created.state, created.count), (State::Waiting, 0));
    assert_eq!(created.gremlin_query, "G.V().Has('Name', 'eth0')");
    assert_eq!(lab.store.ids(), [created.uuid.as_str()]);
    let listed = lab.captures.list();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].uuid.as_str(), listed[0].port),
        (created.uuid.as_str(), 8_123)
    );
    assert!(listed[0].events.is_empty(), "lists have no logs");
    lab.interface("eth0", 7);
    lab.until_state(&created.uuid, "active");
    let opened = lab.log.opened();
    assert_eq!(
        (opened[0].port, opened[0].filter.as_deref()),
        (Some(8_123), Some("icmp"))
    );
    lab.captures.delete(&created.uuid).unwrap();
    assert!(lab.captures.list().is_empty() && lab.store.ids().is_empty());
    let gone = lab.captures.delete(&created.uuid).unwrap_err();
    assert_eq!(gone.to_string(), format!("Capture '{}' not found", created.uuid));
}

#[test]
fn refusals_change_nothing() {
    let lab = Lab::new();
    let first = lab.create("G.V()");
    let twin = lab.declare(NewCapture::new("G.V()")).unwrap_err();
    assert_eq!(twin, CaptureError::Duplicate { of: first });
    assert_eq!(twin.to_string(), "duplicated resource");
    lab.declare(bpf("G.V()", "icmp")).unwrap();

    let wrong = lab.declare(NewCapture::new("G.V(")).unwrap_err();
    assert!(
        matches!(&wrong, CaptureError::Invalid(text) if text.starts_with("Not a valid Gremlin expression: "))
    );
    let wrong = lab.declare(bpf("G.V()", "frob")).unwrap_err();
    assert!(wrong.to_string().starts_with("Not a valid BPF expression: "));
    // No collector here, and none that can run.
    let ebpf = NewCapture {
        r#type: "ebpf".into(),
        ..NewCapture::new("G.V()")
    };
    assert_eq!(
        lab.declare(ebpf).unwrap_err().to_string(),
        "capture type ebpf can't run: this version of flowtap lacks it"
    );
    *lab.log.unsupported.lock().unwrap() = Some("it needs CAP_NET_RAW".into());
    let pcap = NewCapture {
        r#type: "pcap".into(),
        ..NewCapture::new("G.V()")
    };
    assert_eq!(
        lab.declare(pcap).unwrap_err().to_string(),
        "capture type pcap can't run: it needs CAP_NET_RAW"
    );
    *lab.log.unsupported.lock().unwrap() = None;

    *lab.store.is_broken.lock().unwrap() = true;
    let full = lab.declare(NewCapture::new("G.V().Has('a', 'b')")).unwrap_err();
    assert_eq!(
        full.to_string(),
        "failed to keep the capture: the disk is on fire"
    );
    assert_eq!((lab.captures.list().len(), lab.store.ids().len()), (2, 2));
    *lab.store.is_broken.lock().unwrap() = false;
}

#[test]
fn what_a_machine_lacks_is_an_error_of_the_nodes_where_the_type_goes_by_node() {
    let lab = Lab::new();
    *lab.log.unsupported.lock().unwrap() = Some("it needs CAP_NET_RAW".into());
    let id = lab.create("G.V().Has('Name', 'eth0')");
    lab.interface("eth0", 7);
    let capture = lab.until_state(&id, "error");
    assert_eq!(capture.reason, "eth0: it needs CAP_NET_RAW");
    *lab.log.unsupported.lock().unwrap() = None;
    lab.until_state(&id, "active");
}

#[test]
fn the_list_has_a_bound() {
    let limits = CaptureLimits {
        captures: 2,
        ..CaptureLimits::default()
    };
    let lab = Lab::with_limits(limits);
    lab.create("G.V('a')");
    let id = lab.create("G.V('b')");
    let full = lab.declare(NewCapture::new("G.V('c')")).unwrap_err();
    assert_eq!(full, CaptureError::TooMany { max: 2 });
    lab.captures.delete(&id).unwrap();
    lab.create("G.V('c')");
}

#[test]
fn standing_inputs_are_no_declared_captures() {
    let lab = Lab::new();
    let input = StandingInput::new(InputKind::SFlow, "127.0.0.1:6343", Timestamp::ZERO);
    let standing = lab
        .captures
        .register(&input, &PointOptions::default(), Default::default())
        .unwrap();
    let id = lab.create("G.V()");
    let refused = lab.captures.delete(&standing).unwrap_err();
    assert_eq!(refused, CaptureError::Standing(standing.to_string()));
    let listed: Vec<_> = lab
        .captures
        .list()
        .into_iter()
        .map(|capture| capture.uuid)
        .collect();
    assert_eq!(listed, [standing.to_string(), id.clone()]);
    assert_eq!(lab.captures.counters().len(), 2);
    assert_eq!(lab.captures.counters()[0].interfaces, [("starting", 1)]);
    lab.interface("eth0", 7);
    until("the interface in the counters", || {
        lab.captures.counters()[1].interfaces == [("active", 1)]
    });
    assert!(lab.captures.get(&standing).unwrap().nodes.is_empty());
}

#[test]
fn without_a_reconciler_nothing_can_be_declared() {
    let captures = Captures::default();
    let refused = captures.create(NewCapture::new("G.V()"), None).unwrap_err();
    assert_eq!(refused, CaptureError::NotRunning);
    let mut lab = Lab::new();
    let id = lab.create("G.V()");
    assert_eq!(lab.stop(Duration::from_secs(20)), Vec::<String>::new());
    assert_eq!(lab.captures.delete(&id).unwrap_err(), CaptureError::NotRunning);
    assert_eq!(lab.captures.list().len(), 1);
    assert!(lab.captures.explain("G.V()", "").is_err());
}

//! The list of captures, as the binary fills it and the API reads it.

use std::sync::Arc;

use flowtap_capture::{CaptureError, Captures, InputKind, NewCapture, StandingInput, State};
use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_flow::point::PointOptions;
use flowtap_flow::timestamp::Timestamp;

use crate::support::Lab;

fn sflow() -> StandingInput {
    StandingInput::new(
        InputKind::SFlow,
        "127.0.0.1:6343",
        Timestamp::from_millis(1_700_000_000_123),
    )
}

#[test]
fn ids_are_the_same_after_a_restart_and_differ_between_inputs() {
    // Written out: stored flows name this id, so it must never change.
    assert_eq!(&*sflow().id(), "180146fc-7769-5aba-b51a-7e94ca05ac48");
    let elsewhere = StandingInput::new(InputKind::SFlow, "127.0.0.1:6344", Timestamp::ZERO);
    let other = StandingInput::new(InputKind::PcapSocket, "127.0.0.1:6343", Timestamp::ZERO);
    assert_ne!(sflow().id(), elsewhere.id());
    assert_ne!(sflow().id(), other.id());
}

#[test]
fn an_input_goes_from_starting_to_active_to_error() {
    let captures = Captures::default();
    let ledger = Arc::new(Ledger::default());
    let id = captures
        .register(&sflow(), &PointOptions::default(), ledger.clone())
        .unwrap();

    let capture = captures.get(&id).unwrap();
    assert_eq!((capture.state, capture.count), (State::Starting, 0));
    assert_eq!(capture.sflow_socket, "127.0.0.1:6343");
    assert_eq!((capture.port, capture.raw_packet_limit), (6343, 20));
    assert_eq!(capture.create_time, 1_700_000_000_123);

    captures.set_state(&id, State::Active, "").unwrap();
    ledger.receive(3, 300);
    ledger.keep(2);
    ledger.drop_packets(DropReason::Kernel, 1);
    let capture = captures.get(&id).unwrap();
    assert_eq!((capture.state, capture.count), (State::Active, 1));
    assert_eq!(
        (capture.ledger.received, capture.ledger.dropped["kernel"]),
        (3, 1)
    );

    captures.set_state(&id, State::Error, "socket closed").unwrap();
    let capture = captures.get(&id).unwrap();
    assert_eq!((capture.count, capture.reason.as_str()), (0, "socket closed"));
}

#[test]
fn a_port_chosen_by_the_kernel_is_shown_and_the_id_stays() {
    let captures = Captures::default();
    let input = StandingInput::new(InputKind::PcapSocket, "127.0.0.1:0", Timestamp::ZERO);
    let id = captures
        .register(&input, &PointOptions::default(), Arc::default())
        .unwrap();
    captures.set_listening(&id, "127.0.0.1:41234").unwrap();
    let capture = captures.get(&id).unwrap();
    assert_eq!(
        (capture.pcap_socket.as_str(), capture.port),
        ("127.0.0.1:41234", 41234)
    );
    assert_eq!(capture.listen, "127.0.0.1:41234");
    assert_eq!(capture.sflow_socket, "");
}

#[test]
fn the_list_keeps_its_order_and_refuses_twins() {
    let captures = Captures::default();
    let upload = StandingInput::new(InputKind::Upload, "/api/pcap", Timestamp::ZERO);
    captures
        .register(&sflow(), &PointOptions::default(), Arc::default())
        .unwrap();
    let unlimited = PointOptions {
        raw_packet_limit: PointOptions::UNLIMITED,
        ..PointOptions::default()
    };
    captures.register(&upload, &unlimited, Arc::default()).unwrap();

    let list = captures.list();
    assert_eq!(
        list.iter().map(|c| c.r#type.as_str()).collect::<Vec<_>>(),
        ["sflow", "upload"]
    );
    assert_eq!((list[1].raw_packet_limit, list[1].port), (-1, 0));
    assert_eq!(captures.counters().len(), 2);

    let twin = captures.register(&sflow(), &PointOptions::default(), Arc::default());
    assert_eq!(
        twin,
        Err(CaptureError::SameInput {
            kind: "sflow",
            address: "127.0.0.1:6343".into()
        })
    );
    let unknown = captures.set_state("x", State::Active, "");
    assert_eq!(unknown, Err(CaptureError::Unknown("x".into())));
}

#[test]
fn an_input_is_found_by_its_type_unless_that_is_a_name() {
    let lab = Lab::new();
    let id = lab
        .captures
        .register(&sflow(), &PointOptions::default(), Arc::default());
    assert_eq!(lab.captures.find("sflow").unwrap().uuid, *id.unwrap());
    assert_eq!(
        lab.captures.find("upload").unwrap_err(),
        CaptureError::Unknown("upload".into())
    );

    let new = NewCapture {
        name: "sflow".to_owned(),
        ..NewCapture::new("G.V('a')")
    };
    let named = lab.declare(new).unwrap().uuid;
    assert_eq!(lab.captures.find("sflow").unwrap().uuid, named);
}

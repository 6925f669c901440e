//! Interfaces that go down, come up, move and vanish under a capture.

use flowtap_collectors::afpacket::AfPacket;
use flowtap_collectors::pcap::Pcap;
use flowtap_collectors::{CaptureRequest, Collector};

use super::frames::{Sender, number, udp};
use super::lab::{Namespace, eventually};
use super::record::Running;

const BOTH: [&dyn Collector; 2] = [
    &AfPacket {
        ring_bytes: AfPacket::DEFAULT_RING_BYTES,
    },
    &Pcap {
        buffer_bytes: Pcap::DEFAULT_BUFFER_BYTES,
    },
];

#[test]
fn opened_while_down_it_captures_once_up() {
    let namespace = Namespace::new();
    namespace.ip("link add name va type veth peer name vb");
    let running = Running::start(&AfPacket::default(), namespace.request("vb"));
    namespace.ip("link set vb up");
    namespace.ip("link set va up");
    namespace.wait_for_carrier();
    Sender::new(&namespace, "va").send(&udp(&[], 53, 7, 60));
    let finished = running.stop();
    assert!(finished.result.is_ok());
    let last = finished.seen.last().expect("packets");
    assert_eq!(number(&last.data), Some(7));
}

#[test]
fn down_and_up_again() {
    for collector in BOTH {
        let namespace = Namespace::pair();
        let running = Running::start(collector, namespace.request("vb"));
        let sender = Sender::new(&namespace, "va");
        for round in 0..3 {
            sender.send(&udp(&[], 53, round, 60));
            namespace.ip("link set vb down");
            namespace.ip("link set vb up");
            namespace.wait_for_carrier();
        }
        let finished = running.stop();
        assert!(finished.result.is_ok(), "{}", collector.capture_type());
        let numbers = finished.seen.iter().filter(|seen| seen.data[12..14] == [8, 0]);
        let numbers: Vec<_> = numbers.filter_map(|seen| number(&seen.data)).collect();
        assert_eq!(numbers, [0, 1, 2], "{}", collector.capture_type());
        assert!(finished.ledger.balances());
    }
}

#[test]
fn deleted_or_moved_away_it_ends() {
    let elsewhere = Namespace::new();
    let ends = [
        "link del vb".to_owned(),
        format!("link set vb netns {}", elsewhere.name),
    ];
    for collector in BOTH {
        for end in &ends {
            for is_down in [false, true] {
                let namespace = Namespace::pair();
                let running = Running::start(collector, namespace.request("vb"));
                Sender::new(&namespace, "va").send(&udp(&[], 53, 1, 60));
                running.wait_for(1);
                if is_down {
                    namespace.ip("link set vb down");
                }
                namespace.ip(end);
                let finished = running.ends();
                let what = format!("{} {end} {is_down}", collector.capture_type());
                assert!(finished.result.is_ok(), "{what}: {:?}", finished.result);
                assert_eq!(finished.seen.len(), 1, "{what}");
                assert!(finished.ledger.balances());
                if end.contains("netns") {
                    elsewhere.ip("link del vb");
                }
            }
        }
    }
}

#[test]
fn a_stop_hands_on_what_has_arrived() {
    const COUNT: u32 = 1_000;
    for collector in BOTH {
        let namespace = Namespace::pair();
        let sender = Sender::new(&namespace, "va");
        for _ in 0..10 {
            let running = Running::start(collector, namespace.request("vb"));
            for round in 0..COUNT {
                sender.send(&udp(&[], 53, round, 60));
            }
            // Its last block is still open.
            let finished = running.stop();
            let numbers: Vec<_> = finished.seen.iter().map(|seen| number(&seen.data)).collect();
            let sent: Vec<_> = (0..COUNT).map(Some).collect();
            assert!(
                numbers == sent,
                "{}: {} packets",
                collector.capture_type(),
                numbers.len()
            );
            assert!(finished.ledger.balances());
        }
    }
}

#[test]
fn nothing_stays_behind() {
    let namespace = Namespace::pair();
    let promiscuity = || {
        let output = namespace
            .command("ip")
            .args(["-d", "link", "show", "vb"])
            .output();
        let text = String::from_utf8(output.expect("ip").stdout).expect("text");
        let (_, rest) = text.split_once("promiscuity ").expect("ip tells");
        rest.split_whitespace().next().expect("a number").to_owned()
    };
    let sockets = || {
        let table = namespace.inside(|| std::fs::read_to_string("/proc/thread-self/net/packet"));
        table.expect("the kernel tells").lines().count() - 1
    };
    for collector in BOTH {
        let request = CaptureRequest {
            filter: Some("udp".to_owned()),
            ..namespace.request("vb")
        };
        let running = Running::start(collector, request);
        assert_eq!(promiscuity(), "1", "{}", collector.capture_type());
        assert!(sockets() >= 2);
        assert!(running.stop().result.is_ok());
        // Programs that other tests start hold the sockets, too, for a moment.
        eventually("the sockets to close", || {
            (promiscuity() == "0" && sockets() == 0).then_some(())
        });
        // Opened and never run.
        drop(collector.open(namespace.request("vb")).expect("opened"));
        eventually("the sockets to close", || (sockets() == 0).then_some(()));
    }
}

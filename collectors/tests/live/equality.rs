//! The same packets as `tcpdump -w` on the same interface: times, lengths, tags, bytes.

use std::net::SocketAddr;

use flowtap_collectors::afpacket::AfPacket;
use flowtap_collectors::pcap::Pcap;
use flowtap_collectors::{Collector, NotYet};

use super::frames::{Sender, arp, mix, udp};
use super::lab::{Namespace, narrowed};
use super::record::{Finished, Running, Seen};
use super::tcpdump::Tcpdump;

/// Captures `frames`, sent at `va`, at `interface`, with flowtap and tcpdump at once: each of them once.
fn beside_tcpdump(
    collector: &dyn Collector,
    interface: &str,
    case: (&str, u32),
    frames: &[Vec<u8>],
) -> (Finished, Vec<Seen>) {
    let mut tries = (0..10).map(|_| try_beside_tcpdump(collector, interface, case, frames));
    let once = tries.find(|(_, _, refused)| *refused == 0);
    let (finished, truth, _) = once.expect("a moment in which the backlog has room for all frames");
    (finished, truth)
}

/// The same, with how often a frame was refused and sent again.
fn try_beside_tcpdump(
    collector: &dyn Collector,
    interface: &str,
    (filter, snaplen): (&str, u32),
    frames: &[Vec<u8>],
) -> (Finished, Vec<Seen>, u32) {
    let namespace = Namespace::pair();
    let request = narrowed(namespace.request(interface), filter, snaplen, &[]);
    // Whole for tcpdump is what the longest frame needs: each place of its ring has room for that much.
    let snaplen = format!("-s{}", if snaplen == 0 { 9_100 } else { snaplen });
    let tcpdump = Tcpdump::start(&namespace, interface, &[&snaplen, filter]);
    let running = Running::start(collector, request);
    let sender = Sender::new(&namespace, "va");
    for frame in frames {
        sender.send(frame);
    }
    let finished = running.stop();
    let truth = tcpdump.finish(finished.seen.len());
    (finished, truth, sender.refused())
}

fn compare(finished: &Finished, truth: &[Seen], what: &str) {
    assert!(finished.result.is_ok(), "{what}");
    assert_eq!(finished.seen.len(), truth.len(), "{what}: packets");
    for (number, (ours, theirs)) in finished.seen.iter().zip(truth).enumerate() {
        assert_eq!(ours.len, theirs.len, "{what}: length of packet {number}");
        assert_eq!(ours.link_type, theirs.link_type, "{what}");
        assert!(
            ours.data == theirs.data,
            "{what}: bytes of packet {number}: {:02x?} {:02x?}",
            ours.data,
            theirs.data
        );
        let apart = (ours.timestamp.nanos() - theirs.timestamp.nanos()).abs();
        assert!(apart <= 1_000, "{what}: packet {number} {apart} ns apart");
    }
    assert_eq!(finished.ledger.kept, truth.len() as u64, "{what}");
    assert_eq!(finished.ledger.dropped_total(), 0, "{what}");
    assert!(finished.ledger.balances(), "{what}: {:?}", finished.ledger);
}

#[test]
fn whole_packets_both_ways() {
    let frames = mix();
    for collector in [&AfPacket::default() as &dyn Collector, &Pcap::default()] {
        // At `vb` the kernel has taken the outer tag off; at `va` the frames are as they were sent.
        for interface in ["vb", "va"] {
            let what = format!("{} at {interface}", collector.capture_type());
            let (finished, truth) = beside_tcpdump(collector, interface, ("", 0), &frames);
            compare(&finished, &truth, &what);
            assert_eq!(finished.seen.len(), frames.len(), "{what}");
            let sent = finished.seen.iter().zip(&frames);
            assert!(sent.into_iter().all(|(seen, sent)| seen.data == *sent), "{what}");
            assert_eq!(finished.nodes, [interface]);
        }
    }
}

#[test]
fn filtered_and_cut() {
    let frames = mix();
    let cases = [
        ("", 96),
        ("", 14),
        ("", 13),
        ("udp port 53", 0),
        ("udp port 53", 64),
        ("vlan 100", 0),
        ("vlan 100 and udp port 53", 0),
        ("vlan 300 and vlan 100 and udp", 80),
        ("vlan", 0),
        ("not vlan", 0),
        ("arp or ether proto 0x88cc", 0),
        ("greater 2000", 128),
        ("less 100", 0),
        ("ip protochain 17", 0),
        ("host 10.9.9.9", 0),
    ];
    for collector in [&AfPacket::default() as &dyn Collector, &Pcap::default()] {
        for interface in ["vb", "va"] {
            for case in cases {
                let what = format!("{} at {interface}: {case:?}", collector.capture_type());
                let (finished, truth) = beside_tcpdump(collector, interface, case, &frames);
                compare(&finished, &truth, &what);
                // What the kernel refused is counted, but where libpcap filters by itself.
                if collector.capture_type().as_str() == "afpacket" || !case.0.contains("protochain") {
                    assert_eq!(finished.ledger.received, frames.len() as u64, "{what}");
                }
            }
        }
    }
}

/// Not beside tcpdump: libpcap filters the first packets by itself, and then knows no direction.
#[test]
fn directions() {
    let collectors: [&dyn Collector; 2] = [&AfPacket::default(), &Pcap::default()];
    for collector in collectors {
        for (interface, filter, expected) in [
            ("vb", "inbound", 10),
            ("vb", "outbound", 0),
            ("vb", "inbound and udp port 53", 10),
            ("va", "inbound", 0),
            ("va", "outbound", 10),
            ("va", "outbound and vlan", 0),
        ] {
            let what = format!("{} {filter} at {interface}", collector.capture_type());
            let namespace = Namespace::pair();
            let request = narrowed(namespace.request(interface), filter, 0, &[]);
            let running = Running::start(collector, request);
            let sender = Sender::new(&namespace, "va");
            (0..10).for_each(|round| sender.send(&udp(&[], 53, round, 60)));
            let finished = running.stop();
            assert_eq!(finished.seen.len(), expected, "{what}");
            assert_eq!(finished.ledger.received, 10, "{what}");
        }
    }
}

/// Not beside tcpdump either: libpcap filters the first packets by itself, when they are cut already.
#[test]
fn filters_see_more_than_is_kept() {
    let collectors: [&dyn Collector; 2] = [&AfPacket::default(), &Pcap::default()];
    for collector in collectors {
        for filter in ["udp port 53", "ip protochain 17 and udp port 53"] {
            for snaplen in [14, 20, 60] {
                let what = format!("{} {filter}, {snaplen} bytes", collector.capture_type());
                let namespace = Namespace::pair();
                let request = narrowed(namespace.request("vb"), filter, snaplen, &[]);
                let running = Running::start(collector, request);
                let sender = Sender::new(&namespace, "va");
                for round in 0..10 {
                    sender.send(&udp(&[], 53, round, 100));
                    sender.send(&udp(&[], 54, round, 100));
                }
                let finished = running.stop();
                assert_eq!(finished.seen.len(), 10, "{what}");
                let is_cut = |seen: &Seen| seen.data.len() == snaplen as usize && seen.len == 100;
                assert!(finished.seen.iter().all(is_cut), "{what}");
                assert!(finished.ledger.balances(), "{what}");
            }
        }
    }
}

/// `protochain` is a loop, which the kernel does not take: flowtap filters by itself, and cuts where it
/// was told to (libpcap cuts two bytes earlier then).
#[test]
fn filters_that_the_kernel_does_not_take() {
    let namespace = Namespace::pair();
    let request = narrowed(namespace.request("vb"), "ip protochain 17", 60, &[]);
    let running = Running::start(&AfPacket::default(), request);
    let sender = Sender::new(&namespace, "va");
    for round in 0..100 {
        sender.send(&udp(&[], 53, round, 400));
        sender.send(&arp());
    }
    let finished = running.stop();
    assert_eq!(finished.seen.len(), 100);
    let is_cut = |seen: &Seen| seen.data.len() == 60 && seen.len == 400;
    assert!(finished.seen.iter().all(is_cut));
    assert_eq!((finished.ledger.received, finished.ledger.filtered), (200, 100));
}

#[test]
fn own_traffic_is_left_out() {
    let namespace = Namespace::pair();
    let exclude: [SocketAddr; 2] = [
        "10.0.0.2:8082".parse().unwrap(),
        "[2001:db8::1]:53".parse().unwrap(),
    ];
    let collectors: [&dyn Collector; 2] = [&AfPacket::default(), &Pcap::default()];
    for collector in collectors {
        for (filter, expected) in [("", [53, 53]), ("udp", [53, 53]), ("udp or vlan 100", [53, 53])] {
            let request = narrowed(namespace.request("vb"), filter, 0, &exclude);
            let running = Running::start(collector, request);
            let sender = Sender::new(&namespace, "va");
            sender.send(&udp(&[], 53, 1, 60));
            sender.send(&udp(&[], 8_082, 2, 60));
            sender.send(&udp(&[(0x8100, 100)], 8_082, 3, 60));
            sender.send(&udp(&[], 53, 4, 60));
            let finished = running.stop();
            let ports: Vec<u8> = finished.seen.iter().map(|seen| seen.data[37]).collect();
            assert_eq!(ports, expected, "{} {filter}", collector.capture_type());
            assert_eq!((finished.ledger.received, finished.ledger.filtered), (4, 2));
        }
    }
}

#[test]
fn loopback_shows_each_packet_once_but_for_our_own() {
    let namespace = Namespace::new();
    namespace.ip("link set lo up");
    let collectors: [&dyn Collector; 2] = [&AfPacket::default(), &Pcap::default()];
    for collector in collectors {
        let exclude = ["127.0.0.1:8082".parse().unwrap()];
        let mut request = narrowed(namespace.request("lo"), "", 0, &exclude);
        request.interface.node_type = "device".to_owned();
        let running = Running::start(collector, request);
        namespace.inside(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..10 {
                socket.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
            }
            let own = std::net::UdpSocket::bind("127.0.0.1:8082").unwrap();
            socket.send_to(b"hello", own.local_addr().unwrap()).unwrap();
        });
        let finished = running.stop();
        assert_eq!(finished.seen.len(), 10, "{}", collector.capture_type());
        assert_eq!(finished.ledger.filtered, 1, "{}", collector.capture_type());
        assert!(finished.ledger.balances());
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let namespace = Namespace::pair();
    let failed = |request| {
        AfPacket::default()
            .open(request)
            .err()
            .expect("refused")
            .to_string()
    };
    let filter = failed(narrowed(namespace.request("vb"), "tcp and", 0, &[]));
    assert!(filter.starts_with("not a valid BPF expression: "), "{filter}");
    // It would be one between parentheses.
    let filter = failed(narrowed(
        namespace.request("vb"),
        "tcp) or (udp",
        0,
        &["[::1]:1".parse().unwrap()],
    ));
    assert!(filter.starts_with("not a valid BPF expression: "), "{filter}");
    let mut gone = namespace.request("vb");
    gone.interface.index = 4_000;
    assert!(failed(gone).contains("the interface is gone"));
    let mut elsewhere = namespace.request("vb");
    elsewhere.interface.netns = Some("/run/netns/flowtap-none".into());
    assert!(failed(elsewhere).contains("its network namespace is gone"));

    let mut interface = namespace.interface("vb");
    assert_eq!(AfPacket::default().accepts(&interface), Ok(()));
    assert_eq!(AfPacket::default().support(), Ok(()));
    interface.is_up = false;
    assert_eq!(AfPacket::default().accepts(&interface), Ok(()));
    assert!(matches!(
        Pcap::default().accepts(&interface),
        Err(NotYet::Wait(_))
    ));
    interface.index = 0;
    assert!(matches!(
        AfPacket::default().accepts(&interface),
        Err(NotYet::Wait(_))
    ));
    interface.node_type = "host".to_owned();
    let never = AfPacket::default().accepts(&interface).unwrap_err();
    assert_eq!(
        never.reason(),
        "Capture type afpacket not allowed on this node type: host; nothing can be captured there"
    );
}

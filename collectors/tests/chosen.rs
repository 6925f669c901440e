//! Captures of type pcapsocket and sflow at a chosen node: ports of their own, packets of that node.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowtap_collectors::pcapsocket::PcapSocketCollector;
use flowtap_collectors::sflow::{SflowCollector, SflowOptions};
use flowtap_collectors::{
    CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, ReaderContext, Unavailable,
};
use flowtap_flow::ledger::{Ledger, LedgerSnapshot};
use flowtap_flow::packet::{Packet, Sink};
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Graph;
use tokio_util::sync::CancellationToken;

/// What sinks got: at which node, how long on the wire, how many bytes.
type Seen = Arc<Mutex<Vec<(String, u32, usize)>>>;

struct Recorder {
    ledger: Arc<Ledger>,
    seen: Seen,
}

struct RecordingSink {
    node_tid: String,
    ledger: Arc<Ledger>,
    seen: Seen,
}

impl Points for Recorder {
    fn open(&self, node_tid: &str) -> Box<dyn Sink> {
        Box::new(RecordingSink {
            node_tid: node_tid.to_owned(),
            ledger: Arc::clone(&self.ledger),
            seen: Arc::clone(&self.seen),
        })
    }
}

impl Sink for RecordingSink {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        let seen = batch
            .iter()
            .map(|packet| (self.node_tid.clone(), packet.len, packet.data.len()));
        self.seen.lock().expect("no panic").extend(seen);
        self.ledger.keep(batch.len() as u64);
    }

    fn flush(&mut self) {}
}

struct Running {
    listens: SocketAddr,
    ledger: Arc<Ledger>,
    seen: Seen,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<(), CollectError>>>,
}

impl Running {
    fn start(collector: &dyn Collector, request: CaptureRequest) -> Result<Self, CollectError> {
        let reader = collector.open(request)?;
        let (ledger, seen, stop) = (
            Arc::<Ledger>::default(),
            Seen::default(),
            CancellationToken::new(),
        );
        let context = ReaderContext {
            points: Arc::new(Recorder {
                ledger: Arc::clone(&ledger),
                seen: Arc::clone(&seen),
            }),
            ledger: Arc::clone(&ledger),
            stop: stop.clone(),
        };
        Ok(Self {
            listens: reader.listens().expect("it listens"),
            ledger,
            seen,
            stop,
            thread: Some(std::thread::spawn(move || reader.run(context))),
        })
    }

    fn wait_for(&self, received: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.ledger.snapshot().received < received {
            assert!(Instant::now() < deadline, "{:?}", self.ledger.snapshot());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(mut self) -> (Vec<(String, u32, usize)>, LedgerSnapshot) {
        self.stop.cancel();
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("no panic").expect("no error");
        let seen = std::mem::take(&mut *self.seen.lock().expect("no panic"));
        (seen, self.ledger.snapshot())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn request(filter: &str, snaplen: u32, port: Option<u16>) -> CaptureRequest {
    CaptureRequest {
        interface: Interface {
            name: "eth0".to_owned(),
            index: 7,
            node_tid: Arc::from("the node"),
            node_type: "veth".to_owned(),
            ..Interface::default()
        },
        filter: Some(filter.to_owned()),
        snaplen,
        port,
        ..CaptureRequest::default()
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The whole packets of a file, and how many of them are UDP over IPv4.
fn count(file: &[u8]) -> (u64, u64) {
    let (mut all, mut udp) = (0, 0);
    let visit = &mut |batch: &[Packet<'_>]| {
        all += batch.len() as u64;
        let is_udp = |packet: &&Packet<'_>| {
            packet.data.get(12..14) == Some(&[8, 0]) && packet.data.get(23) == Some(&17)
        };
        udp += batch.iter().filter(is_udp).count() as u64;
    };
    StreamParser::new(Timestamp::ZERO)
        .push(file, visit)
        .expect("a pcap file");
    (all, udp)
}

/// An address of loopback that no other test and no flowtap listens on.
fn own_address(last: u8) -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, high.max(1), low, last))
}

const FILE: &str = "ovs-sflow-tcp-udp.truth.pcap";

#[test]
fn streams_are_shown_at_the_node_filtered_and_cut() {
    let file = fixture(FILE);
    let (all, udp) = count(&file);
    assert!(udp > 0 && udp < all);
    let collector = PcapSocketCollector {
        bind: own_address(1),
        ..PcapSocketCollector::default()
    };
    for (filter, snaplen, expected) in [("", 0, all), ("udp", 60, udp), ("vlan 7", 0, 0)] {
        let running = Running::start(&collector, request(filter, snaplen, None)).expect("opened");
        let mut stream = TcpStream::connect(running.listens).expect("it listens");
        stream.write_all(&file).expect("it takes all");
        stream.shutdown(Shutdown::Write).expect("shut down");
        running.wait_for(all);
        let (seen, ledger) = running.stop();
        assert_eq!(seen.len() as u64, expected, "{filter}");
        assert_eq!(
            (ledger.received, ledger.filtered),
            (all, all - expected),
            "{filter}"
        );
        assert!(ledger.balances());
        assert!(seen.iter().all(|(node, ..)| node == "the node"));
        if snaplen > 0 {
            assert!(
                seen.iter()
                    .all(|(_, len, bytes)| *bytes == (*len).min(snaplen) as usize)
            );
        }
    }
}

#[test]
fn each_capture_has_a_port_of_its_own_until_there_is_none() {
    let (pcap, graph) = (own_address(2), Arc::new(Graph::new("test")));
    let pcap = PcapSocketCollector {
        bind: pcap,
        ..PcapSocketCollector::default()
    };
    let sflow = SflowCollector {
        bind: own_address(3),
        ..SflowCollector::new(SflowOptions::new(graph))
    };
    let cases: [(&dyn Collector, u16, u16, &str); 2] = [
        (&pcap, 8_100, 8_132, "no TCP port from 8100 to 8132 is free on "),
        (&sflow, 6_345, 6_355, "no UDP port from 6345 to 6355 is free on "),
    ];
    for (collector, first, last, text) in cases {
        let start = |port| Running::start(collector, request("", 0, port));
        let mut running: Vec<_> = (first..=last)
            .map(|_| start(None).expect("a free port"))
            .collect();
        let ports: Vec<_> = running.iter().map(|capture| capture.listens.port()).collect();
        assert_eq!(ports, (first..=last).collect::<Vec<_>>());
        let none = start(None).err().expect("all are taken").to_string();
        assert!(none.starts_with(text), "{none}");
        assert!(
            none.ends_with("delete a capture that listens there, or name a port with --port"),
            "{none}"
        );
        let taken = start(Some(first)).err().expect("it is taken").to_string();
        assert!(
            taken.contains("perhaps this one at another of its nodes"),
            "{taken}"
        );
        let other = start(Some(last + 10)).expect("it is free");
        assert_eq!(other.listens.port(), last + 10);
        // One that ends makes room.
        drop(running.remove(3));
        assert_eq!(start(None).expect("a free port").listens.port(), first + 3);
    }
}

#[test]
fn samples_are_shown_at_the_node() {
    let collector = SflowCollector {
        bind: own_address(4),
        ..SflowCollector::new(SflowOptions::new(Arc::new(Graph::new("test"))))
    };
    for filter in ["", "arp"] {
        let running = Running::start(&collector, request(filter, 0, None)).expect("opened");
        let agent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let visit = &mut |batch: &[Packet<'_>]| {
            for packet in batch {
                // Ethernet, IPv4 and UDP headers stand before the datagram.
                agent.send_to(&packet.data[42..], running.listens).expect("sent");
            }
        };
        let file = fixture("ovs-sflow-vlan-arp.pcap");
        StreamParser::new(Timestamp::ZERO)
            .push(&file, visit)
            .expect("a pcap file");
        running.wait_for(20);
        let (seen, ledger) = running.stop();
        assert!(!seen.is_empty() && seen.iter().all(|(node, ..)| node == "the node"));
        assert!(ledger.balances());
        assert_eq!(ledger.filtered > 0, filter == "arp", "{ledger:?}");
    }
}

#[test]
fn what_cannot_be_says_why() {
    let collector = PcapSocketCollector::default();
    let refused = collector
        .open(request("tcp and", 0, None))
        .err()
        .expect("refused");
    assert!(
        refused.to_string().starts_with("not a valid BPF expression: "),
        "{refused}"
    );
    let mut host = request("", 0, None).interface;
    assert_eq!(collector.accepts(&host), Ok(()));
    host.node_type = "host".to_owned();
    assert!(matches!(collector.accepts(&host), Err(NotYet::Never(_))));

    let kinds = [
        (Unavailable::ebpf(), CaptureType::Ebpf),
        (Unavailable::ovs_mirror(), CaptureType::OvsMirror),
        (Unavailable::ovs_sflow(None), CaptureType::OvsSflow),
    ];
    for (unavailable, kind) in kinds {
        assert_eq!(unavailable.capture_type(), kind);
        let reason = unavailable.support().expect_err("it is not built in");
        assert!(reason.contains("afpacket"), "{kind}: {reason}");
        assert_eq!(unavailable.accepts(&host), Err(NotYet::Never(reason.clone())));
        let failed = unavailable.open(request("", 0, None)).err().expect("refused");
        assert_eq!(failed.to_string(), reason);
    }
    // Where flowtap really listens, for a switch of this host.
    for (listens, target) in [("0.0.0.0:7000", "127.0.0.1:7000"), ("[::1]:7", "[::1]:7")] {
        let unavailable = Unavailable::ovs_sflow(Some(listens.parse().unwrap()));
        let reason = unavailable.support().expect_err("it is not built in");
        assert!(reason.contains(&format!("target=\\\"{target}\\\"")), "{reason}");
    }
}

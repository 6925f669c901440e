//! Feeds a decoder, and keeps all that comes out of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use flowtap_collectors::sflow::{Decoder, Received, SflowAgentStats, SflowStats};
use flowtap_flow::ledger::{DropReason, Ledger, LedgerSnapshot};
use flowtap_flow::packet::{BATCH, LinkType, Packet, Sink};
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{Graph, Node};

/// A packet as a sink saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) node_tid: String,
    pub(crate) timestamp: Timestamp,
    pub(crate) len: u32,
    pub(crate) link_type: LinkType,
    pub(crate) sampling_rate: u32,
    pub(crate) captured: bool,
    pub(crate) data: Vec<u8>,
}

/// Sinks that keep what they get, as a flow table would.
pub(crate) struct Recorder {
    ledger: Arc<Ledger>,
    seen: Arc<Mutex<Vec<Seen>>>,
    unflushed: Arc<Mutex<usize>>,
}

impl Recorder {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            seen: Arc::default(),
            unflushed: Arc::default(),
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        assert_eq!(
            *self.unflushed.lock().unwrap(),
            0,
            "sinks hold packets that were not flushed"
        );
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Points for Recorder {
    fn open(&self, node_tid: &str) -> Box<dyn Sink> {
        Box::new(RecordingSink {
            node_tid: node_tid.to_owned(),
            ledger: Arc::clone(&self.ledger),
            seen: Arc::clone(&self.seen),
            unflushed: Arc::clone(&self.unflushed),
            held: 0,
        })
    }
}

struct RecordingSink {
    node_tid: String,
    ledger: Arc<Ledger>,
    seen: Arc<Mutex<Vec<Seen>>>,
    unflushed: Arc<Mutex<usize>>,
    held: usize,
}

impl Sink for RecordingSink {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        assert!(!batch.is_empty() && batch.len() <= BATCH);
        self.ledger.keep(batch.len() as u64);
        self.held += batch.len();
        *self.unflushed.lock().unwrap() += batch.len();
        self.seen.lock().unwrap().extend(batch.iter().map(|packet| Seen {
            node_tid: self.node_tid.clone(),
            timestamp: packet.timestamp,
            len: packet.len,
            link_type: packet.link_type,
            sampling_rate: packet.sampling_rate,
            captured: packet.captured,
            data: packet.data.to_vec(),
        }));
    }

    fn flush(&mut self) {
        *self.unflushed.lock().unwrap() -= std::mem::take(&mut self.held);
    }
}

/// A decoder and all that it writes to.
pub(crate) struct Harness {
    pub(crate) decoder: Decoder,
    pub(crate) graph: Arc<Graph>,
    pub(crate) stats: Arc<SflowStats>,
    ledger: Arc<Ledger>,
    recorder: Arc<Recorder>,
    clock: Timestamp,
}

/// When the harness's clock starts, in seconds since the epoch.
pub(crate) const START: i64 = 1_700_000_000;

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with(|decoder| decoder)
    }

    /// With a decoder that was told more.
    pub(crate) fn with(tell: impl FnOnce(Decoder) -> Decoder) -> Self {
        let ledger = Arc::new(Ledger::default());
        let recorder = Recorder::new(Arc::clone(&ledger));
        let graph = Arc::new(Graph::new("collector"));
        let stats = Arc::new(SflowStats::default());
        let decoder = Decoder::new(
            Arc::clone(&graph),
            Arc::clone(&recorder) as Arc<dyn Points>,
            Arc::clone(&ledger),
            Arc::clone(&stats),
        );
        let clock = Timestamp::from_secs(START);
        Self {
            decoder: tell(decoder),
            graph,
            stats,
            ledger,
            recorder,
            clock,
        }
    }

    /// Feeds one datagram, a second after the one before.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.clock = self.clock.plus(std::time::Duration::from_secs(1));
        self.feed_at(bytes, self.clock);
    }

    pub(crate) fn feed_at(&mut self, bytes: &[u8], timestamp: Timestamp) {
        self.decoder.burst(&[Received {
            bytes,
            source: source(),
            timestamp,
        }]);
        self.decoder.idle(timestamp);
    }

    /// What came out. Everything that went in is in the ledger, whatever it was.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.ledger();
        self.recorder.seen()
    }

    pub(crate) fn ledger(&self) -> LedgerSnapshot {
        let ledger = self.ledger.snapshot();
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.ledger().dropped_for(reason)
    }

    /// The one agent that there is.
    pub(crate) fn agent(&self) -> SflowAgentStats {
        let mut agents = self.stats.agents();
        assert_eq!(agents.len(), 1);
        agents.remove(0)
    }

    pub(crate) fn node(&self, name: &str) -> Arc<Node> {
        node(&self.graph, name)
    }
}

pub(crate) fn node(graph: &Graph, name: &str) -> Arc<Node> {
    let found = graph.nodes().into_iter().find(|node| node.name() == Some(name));
    found.unwrap_or_else(|| panic!("no node is named {name}"))
}

pub(crate) fn source() -> SocketAddr {
    "198.51.100.9:40000".parse().unwrap()
}

/// A packet of a pcap file.
#[derive(Clone)]
pub(crate) struct Captured {
    pub(crate) timestamp: Timestamp,
    pub(crate) len: u32,
    pub(crate) data: Vec<u8>,
}

/// The packets of `fixtures/NAME`.
pub(crate) fn pcap(name: &str) -> Vec<Captured> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut packets = Vec::new();
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let mut keep = |batch: &[Packet<'_>]| {
        packets.extend(batch.iter().map(|packet| Captured {
            timestamp: packet.timestamp,
            len: packet.len,
            data: packet.data.to_vec(),
        }));
    };
    parser.push(&bytes, &mut keep).unwrap();
    packets
}

/// The sFlow datagrams of `fixtures/ovs-sflow-NAME.pcap`: the payload behind Ethernet, IPv4 and UDP.
pub(crate) fn datagrams(name: &str) -> Vec<Captured> {
    let mut packets = pcap(&format!("ovs-sflow-{name}.pcap"));
    packets.retain_mut(|packet| {
        let ip = 14 + usize::from(packet.data[14] & 15) * 4;
        let is_sflow = packet.data[ip + 2..ip + 4] == 6343u16.to_be_bytes();
        packet.data.drain(..ip + 8);
        is_sflow
    });
    packets
}

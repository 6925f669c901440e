//! Real connections to a real socket, into a sink that records.

mod handover;
mod ingest;
mod server;
mod stop;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use flowtap_flow::ledger::{DropReason, Ledger, LedgerSnapshot};
use flowtap_flow::packet::{Packet, RawPacket, Sink};
use flowtap_flow::pcap::{StreamParser, to_pcapng};
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{PcapSocket, PcapSocketOptions, PcapSocketReader, PcapSocketStats};
use crate::{CollectError, ReaderContext};

/// Longer than anything here takes: a test that waits in vain fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What sinks were given; packets count as seen once they were flushed.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    packets: Vec<RawPacket>,
    /// Packets given, flushed or not.
    given: usize,
    nodes: Vec<String>,
    /// While set, sinks do not take packets.
    blocked: bool,
    /// Set, the next packet makes its sink panic.
    panics: bool,
}

impl Recorder {
    /// Waits for what `wanted` is looking for.
    fn wait(&self, wanted: impl Fn(&Seen) -> bool) {
        let seen = self.seen.lock().unwrap();
        let (seen, waited) = self
            .changed
            .wait_timeout_while(seen, PATIENCE, |seen| !wanted(seen))
            .unwrap();
        assert!(
            !waited.timed_out(),
            "{} packets seen, {} given",
            seen.packets.len(),
            seen.given
        );
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }

    fn packets(&self) -> Vec<RawPacket> {
        self.seen.lock().unwrap().packets.clone()
    }
}

struct RecordingPoints(Arc<Recorder>, Arc<Ledger>);

impl Points for RecordingPoints {
    fn open(&self, node_tid: &str) -> Box<dyn Sink> {
        self.0.change(|seen| seen.nodes.push(node_tid.to_owned()));
        Box::new(RecordingSink {
            recorder: Arc::clone(&self.0),
            ledger: Arc::clone(&self.1),
            held: Vec::new(),
        })
    }
}

struct RecordingSink {
    recorder: Arc<Recorder>,
    ledger: Arc<Ledger>,
    held: Vec<RawPacket>,
}

impl Sink for RecordingSink {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        let mut panics = false;
        self.recorder.change(|seen| {
            seen.given += batch.len();
            panics = std::mem::take(&mut seen.panics);
        });
        assert!(!panics, "as the test wants it");
        self.recorder.wait(|seen| !seen.blocked);
        self.ledger.keep(batch.len() as u64);
        self.held.extend(batch.iter().map(to_raw));
    }

    fn flush(&mut self) {
        self.recorder.change(|seen| seen.packets.append(&mut self.held));
    }
}

fn to_raw(packet: &Packet<'_>) -> RawPacket {
    RawPacket {
        timestamp: packet.timestamp,
        index: 0,
        len: packet.len,
        link_type: packet.link_type,
        data: packet.data.to_vec().into(),
    }
}

/// A socket that is listening, on a runtime of its own.
struct Server {
    runtime: Runtime,
    running: JoinHandle<Result<(), CollectError>>,
    address: SocketAddr,
    stats: Arc<PcapSocketStats>,
    recorder: Arc<Recorder>,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
}

impl Server {
    fn start() -> Self {
        Self::start_with(PcapSocketOptions::default())
    }

    fn start_with(options: PcapSocketOptions) -> Self {
        Self::run(bind(options), CancellationToken::new())
    }

    fn run(reader: PcapSocketReader, stop: CancellationToken) -> Self {
        let runtime = Runtime::new().unwrap();
        let (cx, recorder) = context(stop);
        let (address, stats) = (reader.local_addr(), reader.stats());
        let (ledger, stop) = (Arc::clone(&cx.ledger), cx.stop.clone());
        let running = runtime.spawn(reader.run(cx));
        Self {
            runtime,
            running,
            address,
            stats,
            recorder,
            ledger,
            stop,
        }
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends a whole stream and waits until the server has taken it.
    fn send(&self, bytes: &[u8]) {
        let mut client = self.connect();
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    /// Stops, and gives the ledger, which must add up.
    fn stop(self) -> (Vec<RawPacket>, LedgerSnapshot) {
        self.stop.cancel();
        self.runtime.block_on(self.running).unwrap().unwrap();
        let ledger = self.ledger.snapshot();
        assert!(ledger.balances(), "{ledger:?}");
        let packets = self.recorder.packets();
        assert_eq!(ledger.kept, packets.len() as u64);
        assert_eq!(
            ledger.received_bytes,
            packets.iter().map(|packet| u64::from(packet.len)).sum::<u64>()
        );
        assert_eq!(self.stats.snapshot().clients, []);
        (packets, ledger)
    }
}

fn bind(options: PcapSocketOptions) -> PcapSocketReader {
    PcapSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), options).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

fn context(stop: CancellationToken) -> (ReaderContext, Arc<Recorder>) {
    let (recorder, ledger) = (Arc::new(Recorder::default()), Arc::new(Ledger::default()));
    let points = Arc::new(RecordingPoints(Arc::clone(&recorder), Arc::clone(&ledger)));
    (ReaderContext { points, ledger, stop }, recorder)
}

/// True if the server has closed the connection, with an end or a reset.
fn is_closed(mut client: &TcpStream) -> bool {
    match client.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures")).join(name);
    std::fs::read(path).unwrap()
}

/// 160 packets of TCP and UDP.
fn sample() -> Vec<u8> {
    fixture("ovs-sflow-tcp-udp.truth.pcap")
}

/// The packets of a pcap file as that, as pcapng, and as gzip.
fn in_every_format(file: &[u8]) -> [Vec<u8>; 3] {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(file).unwrap();
    [
        file.to_vec(),
        to_pcapng(&parse(file)).unwrap(),
        gzip.finish().unwrap(),
    ]
}

fn parse(bytes: &[u8]) -> Vec<RawPacket> {
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let mut packets = Vec::new();
    parser
        .push(bytes, &mut |batch: &[Packet<'_>]| {
            packets.extend(batch.iter().map(to_raw))
        })
        .unwrap();
    packets
}

/// Where the packets of a little-endian pcap file begin, and its end.
fn boundaries(file: &[u8]) -> Vec<usize> {
    let mut at = 24;
    let mut boundaries = vec![at];
    while at < file.len() {
        at += 16 + u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap()) as usize;
        boundaries.push(at);
    }
    boundaries
}

fn malformed(ledger: &LedgerSnapshot) -> u64 {
    ledger.dropped_for(DropReason::Malformed)
}

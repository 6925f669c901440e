//! Over real UDP, on the loopback.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtap_collectors::sflow::{Sflow, SflowOptions, SflowStats};
use flowtap_collectors::{CollectError, ReaderContext};
use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Graph;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::encoder::*;
use crate::fixtures::RECORDINGS;
use crate::harness::{Recorder, datagrams, node};

struct Live {
    address: SocketAddr,
    graph: Arc<Graph>,
    stats: Arc<SflowStats>,
    ledger: Arc<Ledger>,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    reader: Option<flowtap_collectors::sflow::SflowReader>,
    running: Option<JoinHandle<Result<(), CollectError>>>,
}

impl Live {
    fn bind(address: &str, receive_buffer: usize) -> Self {
        let graph = Arc::new(Graph::new("collector"));
        let options = SflowOptions {
            receive_buffer,
            ..SflowOptions::new(Arc::clone(&graph))
        };
        let reader = Sflow::bind(address.parse().unwrap(), options).unwrap();
        let ledger = Arc::new(Ledger::default());
        Self {
            address: reader.local_addr(),
            graph,
            stats: reader.stats(),
            recorder: Recorder::new(Arc::clone(&ledger)),
            ledger,
            stop: CancellationToken::new(),
            reader: Some(reader),
            running: None,
        }
    }

    fn run(&mut self) {
        let cx = ReaderContext {
            points: Arc::clone(&self.recorder) as Arc<dyn Points>,
            ledger: Arc::clone(&self.ledger),
            stop: self.stop.clone(),
        };
        self.running = Some(tokio::spawn(self.reader.take().unwrap().run(cx)));
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.running.take().unwrap().await.unwrap().unwrap();
        let ledger = self.ledger.snapshot();
        assert!(ledger.balances(), "{ledger:?}");
    }

    fn sender(&self) -> UdpSocket {
        let any = if self.address.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(self.address).unwrap();
        socket
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "it never came to that: {:?}",
                self.stats.totals()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// One datagram with one packet, numbered.
fn numbered(sequence: u32) -> Vec<u8> {
    let header = raw_header(
        1,
        132,
        4,
        &udp_frame(u16::try_from(sequence & 0xffff).unwrap(), 128),
    );
    let sample = FlowSample {
        sequence,
        class: 2,
        index: 1,
        ..FlowSample::default()
    };
    Datagram::numbered(sequence).with(&[sample.compact(&[header])])
}

#[tokio::test]
async fn nothing_sent_before_the_stop_is_lost() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut live = Live::bind(address, SflowOptions::DEFAULT_RECEIVE_BUFFER);
        let sender = live.sender();
        let all: Vec<_> = RECORDINGS.iter().flat_map(|(name, ..)| datagrams(name)).collect();
        // Half of it while nobody reads yet: the kernel queues it from the bind on.
        let (before, after) = all.split_at(all.len() / 2);
        let began = Timestamp::now();
        before
            .iter()
            .for_each(|datagram| assert!(sender.send(&datagram.data).is_ok()));
        live.run();
        after
            .iter()
            .for_each(|datagram| assert!(sender.send(&datagram.data).is_ok()));
        live.stop().await;

        let totals = live.stats.totals();
        assert_eq!((totals.datagrams, totals.kernel_drops), (all.len() as u64, 0));
        let expected: usize = RECORDINGS
            .iter()
            .map(|(_, _, flow_samples, ..)| flow_samples)
            .sum();
        let seen = live.recorder.seen();
        assert_eq!(seen.len(), expected);
        let (first, last) = (
            seen.iter().map(|p| p.timestamp).min(),
            seen.iter().map(|p| p.timestamp).max(),
        );
        assert!(
            first >= Some(began) && last <= Some(Timestamp::now()),
            "the kernel's time stamps"
        );
        let agents = live.stats.agents();
        assert_eq!(agents[0].source.ip(), sender.local_addr().unwrap().ip());
        assert!(node(&live.graph, "tapvm1").metadata["SFlow"]["Metric"].is_object());
    }
}

#[tokio::test]
async fn a_datagram_is_visible_without_a_stop() {
    let mut live = Live::bind("127.0.0.1:0", SflowOptions::DEFAULT_RECEIVE_BUFFER);
    live.run();
    let sender = live.sender();
    for count in 1..=3 {
        sender.send(&numbered(u32::try_from(count).unwrap())).unwrap();
        live.until(|live| live.recorder.count() == count).await;
    }
    live.stop().await;
    assert_eq!(live.recorder.seen().len(), 3);
}

/// Sent = received + what the kernel says it dropped, and the sequence numbers say the same.
#[tokio::test]
async fn what_the_kernel_drops_is_counted_exactly() {
    let mut live = Live::bind("127.0.0.1:0", 16 << 10);
    let sender = live.sender();
    let sent = 2_000;
    (1..=sent).for_each(|sequence| assert!(sender.send(&numbered(sequence)).is_ok()));
    live.run();
    live.until(|live| live.recorder.count() > 0).await;
    sender.send(&numbered(sent + 1)).unwrap();
    live.until(|live| live.stats.agents()[0].lost > 0).await;
    live.stop().await;
    let (totals, ledger) = (live.stats.totals(), live.ledger.snapshot());
    assert!(totals.kernel_drops > 0);
    assert_eq!(totals.datagrams + totals.kernel_drops, u64::from(sent) + 1);
    assert_eq!(live.stats.agents()[0].lost, totals.kernel_drops);
    assert_eq!(ledger.received, u64::from(sent) + 1);
    assert_eq!(ledger.dropped_for(DropReason::Kernel), totals.kernel_drops);
}

/// Drops behind the last datagram that got through show in no datagram; the last look finds them.
#[tokio::test]
async fn drops_at_the_very_end_are_counted_too() {
    let mut live = Live::bind("127.0.0.1:0", 16 << 10);
    let sender = live.sender();
    let sent = 2_000;
    (1..=sent).for_each(|sequence| assert!(sender.send(&numbered(sequence)).is_ok()));
    live.run();
    live.stop().await;
    let totals = live.stats.totals();
    assert_eq!(totals.datagrams + totals.kernel_drops, u64::from(sent));
    assert_eq!(live.ledger.snapshot().received, u64::from(sent));
}

#[tokio::test]
async fn an_oversized_datagram_is_refused_whole() {
    let mut live = Live::bind("127.0.0.1:0", SflowOptions::DEFAULT_RECEIVE_BUFFER);
    let sender = live.sender();
    sender.send(&vec![0; 60_000]).unwrap();
    sender.send(&numbered(1)).unwrap();
    live.run();
    live.stop().await;
    assert_eq!(live.recorder.seen().len(), 1);
    assert_eq!(live.ledger.snapshot().dropped_for(DropReason::Limit), 1);
}

#[tokio::test]
async fn dropping_the_future_stops_the_reader() {
    let mut live = Live::bind("127.0.0.1:0", SflowOptions::DEFAULT_RECEIVE_BUFFER);
    live.run();
    let sender = live.sender();
    sender.send(&numbered(1)).unwrap();
    live.until(|live| live.recorder.count() == 1).await;
    live.running.take().unwrap().abort();
    // The port is free once the thread has let go of the socket.
    let free = |live: &Live| UdpSocket::bind(live.address).is_ok();
    live.until(free).await;
}

#[test]
fn a_port_that_is_taken_is_a_clear_error() {
    let graph = Arc::new(Graph::new("collector"));
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = UdpSocket::bind(taken).unwrap();
    let error = Sflow::bind(taken, SflowOptions::new(graph))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("failed to listen on UDP {taken}: ")),
        "{error}"
    );
    assert!(
        error.ends_with("; another program listens there: stop it or choose another port"),
        "{error}"
    );
    drop(holder);
}

#[test]
fn the_granted_buffer_is_told() {
    let live = Live::bind("127.0.0.1:0", 64 << 10);
    assert_eq!(live.reader.as_ref().unwrap().granted_receive_buffer(), 64 << 10);
}

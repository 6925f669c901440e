//! A capture that runs, and what comes out of it.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use flowtap_collectors::{CaptureRequest, CollectError, Collector, ReaderContext};
use flowtap_flow::ledger::{Ledger, LedgerSnapshot};
use flowtap_flow::packet::{BATCH, LinkType, Packet, Sink};
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;
use tokio_util::sync::CancellationToken;

use super::lab::eventually;

/// A packet as a sink saw it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) timestamp: Timestamp,
    pub(crate) len: u32,
    pub(crate) link_type: LinkType,
    pub(crate) data: Vec<u8>,
}

/// Sinks that keep what they get, as a flow table would, or hold the reader up.
#[derive(Default)]
pub(crate) struct Recorder {
    seen: Mutex<Vec<Seen>>,
    nodes: Mutex<Vec<String>>,
    unflushed: Mutex<usize>,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Recorder {
    /// Lets no batch pass until [`Recorder::open_gate`].
    pub(crate) fn close_gate(&self) {
        *self.closed.lock().expect("no thread panicked") = true;
    }

    pub(crate) fn open_gate(&self) {
        *self.closed.lock().expect("no thread panicked") = false;
        self.opened.notify_all();
    }
}

struct RecordingPoints {
    recorder: Arc<Recorder>,
    ledger: Arc<Ledger>,
}

impl Points for RecordingPoints {
    fn open(&self, node_tid: &str) -> Box<dyn Sink> {
        self.recorder
            .nodes
            .lock()
            .expect("no thread panicked")
            .push(node_tid.to_owned());
        Box::new(RecordingSink {
            recorder: Arc::clone(&self.recorder),
            ledger: Arc::clone(&self.ledger),
        })
    }
}

struct RecordingSink {
    recorder: Arc<Recorder>,
    ledger: Arc<Ledger>,
}

impl Sink for RecordingSink {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        assert!(!batch.is_empty() && batch.len() <= BATCH);
        let closed = self.recorder.closed.lock().expect("no thread panicked");
        drop(
            self.recorder
                .opened
                .wait_while(closed, |closed| *closed)
                .expect("no thread panicked"),
        );
        let seen = batch.iter().map(|packet| Seen {
            timestamp: packet.timestamp,
            len: packet.len,
            link_type: packet.link_type,
            data: packet.data.to_vec(),
        });
        self.recorder
            .seen
            .lock()
            .expect("no thread panicked")
            .extend(seen);
        *self.recorder.unflushed.lock().expect("no thread panicked") += batch.len();
        self.ledger.keep(batch.len() as u64);
    }

    fn flush(&mut self) {
        *self.recorder.unflushed.lock().expect("no thread panicked") = 0;
    }
}

/// A reader on its thread.
pub(crate) struct Running {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) ledger: Arc<Ledger>,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<(), CollectError>>>,
}

impl Running {
    pub(crate) fn start(collector: &dyn Collector, request: CaptureRequest) -> Self {
        Self::with(collector, request, Arc::default())
    }

    pub(crate) fn with(collector: &dyn Collector, request: CaptureRequest, recorder: Arc<Recorder>) -> Self {
        let reader = collector.open(request).unwrap_or_else(|error| panic!("{error}"));
        let (ledger, stop) = (Arc::<Ledger>::default(), CancellationToken::new());
        let context = ReaderContext {
            points: Arc::new(RecordingPoints {
                recorder: Arc::clone(&recorder),
                ledger: Arc::clone(&ledger),
            }),
            ledger: Arc::clone(&ledger),
            stop: stop.clone(),
        };
        Self {
            recorder,
            ledger,
            stop,
            thread: Some(std::thread::spawn(move || reader.run(context))),
        }
    }

    /// Waits until so many packets have come out.
    pub(crate) fn wait_for(&self, packets: usize) {
        eventually(&format!("{packets} packets"), || {
            (self.recorder.seen.lock().expect("no thread panicked").len() >= packets).then_some(())
        });
    }

    /// Waits until the reader ends by itself.
    pub(crate) fn ends(mut self) -> Finished {
        self.finish()
    }

    /// Stops it at once.
    pub(crate) fn stop(mut self) -> Finished {
        self.stop.cancel();
        self.finish()
    }

    fn finish(&mut self) -> Finished {
        let thread = self.thread.take().expect("it ends once");
        eventually("the reader to end", || thread.is_finished().then_some(()));
        let result = thread.join().expect("no panic");
        assert_eq!(
            *self.recorder.unflushed.lock().expect("no thread panicked"),
            0,
            "held and not flushed"
        );
        Finished {
            result,
            seen: std::mem::take(&mut self.recorder.seen.lock().expect("no thread panicked")),
            nodes: std::mem::take(&mut self.recorder.nodes.lock().expect("no thread panicked")),
            ledger: self.ledger.snapshot(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves no thread.
        self.stop.cancel();
        self.recorder.open_gate();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// What a reader left.
pub(crate) struct Finished {
    pub(crate) result: Result<(), CollectError>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) nodes: Vec<String>,
    pub(crate) ledger: LedgerSnapshot,
}

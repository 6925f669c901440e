//! Watches the packets of one node on their way to the flow table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flowtap_flow::packet::{Packet, Sink};
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;

/// What is told of the first packet: its time.
type OnFirst = Box<dyn Fn(Timestamp) + Send + Sync>;

/// One node as a reader's packets are seen at it: notices the first packet, and lets the node's TID
/// change while it is read. It costs a comparison for each batch of packets.
pub(crate) struct Watch {
    /// The TID that the reader was opened with, and names its sinks by.
    first_tid: Arc<str>,
    tid: Mutex<Arc<str>>,
    /// Counts the changes of `tid`.
    version: AtomicU64,
    has_packets: AtomicBool,
    on_first: OnFirst,
}

impl Watch {
    pub(crate) fn new(tid: Arc<str>, on_first: OnFirst) -> Self {
        Self {
            first_tid: Arc::clone(&tid),
            tid: Mutex::new(tid),
            version: AtomicU64::new(0),
            has_packets: AtomicBool::new(false),
            on_first,
        }
    }

    /// Says that the node has another TID: it was renamed, or its namespace was. Flows from the next batch
    /// on have that, and the source stays open.
    pub(crate) fn set_tid(&self, tid: &Arc<str>) {
        let mut known = self.tid.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != *tid {
            *known = Arc::clone(tid);
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    fn tid(&self) -> Arc<str> {
        Arc::clone(&self.tid.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Points whose sinks are watched.
pub(crate) struct WatchedPoints {
    points: Arc<dyn Points>,
    watch: Arc<Watch>,
}

impl WatchedPoints {
    pub(crate) fn new(points: Arc<dyn Points>, watch: Arc<Watch>) -> Self {
        Self { points, watch }
    }
}

impl Points for WatchedPoints {
    fn open(&self, node_tid: &str) -> Box<dyn Sink> {
        // A reader may see packets of other nodes too: sFlow does. Theirs are named by them.
        let is_own = *self.watch.first_tid == *node_tid;
        let version = self.watch.version.load(Ordering::Acquire);
        let sink = if is_own {
            self.points.open(&self.watch.tid())
        } else {
            self.points.open(node_tid)
        };
        Box::new(WatchedSink {
            sink,
            version: is_own.then_some(version),
            has_packets: false,
            points: Arc::clone(&self.points),
            watch: Arc::clone(&self.watch),
        })
    }
}

struct WatchedSink {
    sink: Box<dyn Sink>,
    /// The version of the TID that `sink` is for; `None` for other nodes.
    version: Option<u64>,
    has_packets: bool,
    points: Arc<dyn Points>,
    watch: Arc<Watch>,
}

impl Sink for WatchedSink {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        if let Some(known) = self.version {
            let version = self.watch.version.load(Ordering::Acquire);
            if version != known {
                self.sink.flush();
                self.sink = self.points.open(&self.watch.tid());
                self.version = Some(version);
            }
        }
        if !self.has_packets
            && let Some(first) = batch.first()
        {
            self.has_packets = true;
            if !self.watch.has_packets.swap(true, Ordering::Relaxed) {
                (self.watch.on_first)(first.timestamp);
            }
        }
        self.sink.packets(batch);
    }

    fn flush(&mut self) {
        self.sink.flush();
    }
}

#[cfg(test)]
mod tests {
    use flowtap_flow::packet::LinkType;

    use super::*;

    /// Notes TID and number of packets of each batch, and flushes as 0.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<(String, usize)>>>);

    struct RecorderSink(Recorder, String);

    impl Points for Recorder {
        fn open(&self, node_tid: &str) -> Box<dyn Sink> {
            Box::new(RecorderSink(self.clone(), node_tid.to_owned()))
        }
    }

    impl Sink for RecorderSink {
        fn packets(&mut self, batch: &[Packet<'_>]) {
            self.0.0.lock().unwrap().push((self.1.clone(), batch.len()));
        }

        fn flush(&mut self) {
            self.0.0.lock().unwrap().push((self.1.clone(), 0));
        }
    }

    #[test]
    fn a_renamed_nodes_packets_go_on_under_its_new_tid() {
        let (recorder, firsts) = (Recorder::default(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&firsts);
        let on_first = Box::new(move |at: Timestamp| noted.lock().unwrap().push(at));
        let watch = Arc::new(Watch::new("old".into(), on_first));
        let points = WatchedPoints::new(Arc::new(recorder.clone()), Arc::clone(&watch));
        let packet = |ms| Packet::new(Timestamp::from_millis(ms), 60, LinkType::ETHERNET, &[0; 60]);

        let (mut own, mut other) = (points.open("old"), points.open("port 7"));
        own.packets(&[]);
        own.packets(&[packet(1), packet(2)]);
        watch.set_tid(&"old".into());
        own.packets(&[packet(3)]);
        watch.set_tid(&"new".into());
        own.packets(&[packet(4)]);
        other.packets(&[packet(5)]);
        points.open("old").packets(&[packet(6)]);

        let text = |tid: &str, packets| (tid.to_owned(), packets);
        assert_eq!(
            *recorder.0.lock().unwrap(),
            [
                text("old", 0),
                text("old", 2),
                text("old", 1),
                text("old", 0),
                text("new", 1),
                text("port 7", 1),
                text("new", 1),
            ]
        );
        assert_eq!(*firsts.lock().unwrap(), [Timestamp::from_millis(1)]);
    }
}

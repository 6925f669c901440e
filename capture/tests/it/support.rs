//! A graph, captures, and collectors that note what is opened and closed.

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flowtap_capture::{
    Capture, CaptureError, CaptureLimits, CaptureServices, CaptureStore, Captures, EventKind, NewCapture,
    RunningCaptures,
};
use flowtap_collectors::{
    CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader, ReaderContext,
};
use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{LinkType, Packet, Sink};
use flowtap_flow::point::{PointOptions, Points};
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{Graph, NodeId, NodeSpec};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a condition may take on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `done`.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    let caller = Location::caller();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{caller}: {what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a source was opened with.
#[derive(Clone, Debug)]
pub(crate) struct OpenedWith {
    pub(crate) interface: Interface,
    pub(crate) filter: Option<String>,
    pub(crate) snaplen: u32,
    pub(crate) port: Option<u16>,
    pub(crate) has_early: bool,
}

/// A source that is open now.
#[derive(Clone)]
struct Source {
    with: OpenedWith,
    gone: CancellationToken,
    packet: Arc<Notify>,
}

/// What all fake collectors of a test share.
#[derive(Default)]
pub(crate) struct Log {
    /// Everything that was ever opened, in order.
    pub(crate) opened: Mutex<Vec<OpenedWith>>,
    open: Mutex<BTreeMap<u64, Source>>,
    /// Names of interfaces that cannot be opened, and why not.
    pub(crate) broken: Mutex<BTreeMap<String, String>>,
    /// Names of interfaces whose sources do not heed a stop.
    pub(crate) deaf: Mutex<Vec<String>>,
    /// What no type supports.
    pub(crate) unsupported: Mutex<Option<String>>,
    /// TIDs that packets were kept under, in order.
    pub(crate) tids: Mutex<Vec<String>>,
    /// Lets deaf sources go.
    pub(crate) release: CancellationToken,
}

impl Log {
    /// Names of the interfaces that are open now, sorted.
    pub(crate) fn open(&self) -> Vec<String> {
        let open = self.open.lock().unwrap();
        let mut names: Vec<String> = open
            .values()
            .map(|source| source.with.interface.name.clone())
            .collect();
        names.sort();
        names
    }

    /// Namespaces and indices of what is open now, sorted.
    pub(crate) fn places(&self) -> Vec<(String, u32)> {
        let open = self.open.lock().unwrap();
        let path = |source: &Source| {
            let netns = source.with.interface.netns.clone().unwrap_or_default();
            (netns.display().to_string(), source.with.interface.index)
        };
        let mut places: Vec<_> = open.values().map(path).collect();
        places.sort();
        places
    }

    pub(crate) fn opened(&self) -> Vec<OpenedWith> {
        self.opened.lock().unwrap().clone()
    }

    /// Has a packet come in at an interface.
    pub(crate) fn receive(&self, name: &str) {
        for source in self.open.lock().unwrap().values() {
            if source.with.interface.name == name {
                source.packet.notify_one();
            }
        }
    }

    /// Has the sources of an interface end by themselves, as when it is deleted.
    pub(crate) fn end(&self, name: &str) {
        for source in self.open.lock().unwrap().values() {
            if source.with.interface.name == name {
                source.gone.cancel();
            }
        }
    }
}

/// Notes what is asked of it.
pub(crate) struct Fake {
    pub(crate) kind: CaptureType,
    pub(crate) log: Arc<Log>,
}

impl Collector for Fake {
    fn capture_type(&self) -> CaptureType {
        self.kind
    }

    fn support(&self) -> Result<(), String> {
        self.log.unsupported.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn accepts(&self, interface: &Interface) -> Result<(), NotYet> {
        match self.kind {
            CaptureType::Pcap if !interface.is_up => Err(NotYet::Wait("the interface is down".to_owned())),
            CaptureType::AfPacket | CaptureType::Pcap if interface.index == 0 => {
                Err(NotYet::Never("it is no interface of this machine".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        let name = request.interface.name.clone();
        assert_ne!(name, "boom", "told to");
        let with = OpenedWith {
            interface: request.interface,
            filter: request.filter,
            snaplen: request.snaplen,
            port: request.port,
            has_early: request.early.is_some(),
        };
        self.log.opened.lock().unwrap().push(with.clone());
        if let Some(reason) = self.log.broken.lock().unwrap().get(&name) {
            return Err(CollectError::Filter(reason.clone()));
        }
        let mut open = self.log.open.lock().unwrap();
        let number = open.last_key_value().map_or(0, |(last, _)| last + 1);
        let source = Source {
            with,
            gone: CancellationToken::new(),
            packet: Arc::default(),
        };
        open.insert(number, source.clone());
        Ok(Box::new(FakeReader {
            number,
            source,
            kind: self.kind,
            log: Arc::clone(&self.log),
        }))
    }
}

struct FakeReader {
    number: u64,
    source: Source,
    kind: CaptureType,
    log: Arc<Log>,
}

impl Reader for FakeReader {
    fn run(self: Box<Self>, context: ReaderContext) -> Result<(), CollectError> {
        let interface = &self.source.with.interface;
        let mut sink = context.points.open(&interface.node_tid);
        let mut receive = || {
            let bytes = [0; 60];
            context.ledger.receive(1, 60);
            sink.packets(&[Packet::new(Timestamp::now(), 60, LinkType::ETHERNET, &bytes)]);
        };
        receive();
        let is_deaf = self.log.deaf.lock().unwrap().contains(&interface.name);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            loop {
                tokio::select! {
                    () = context.stop.cancelled(), if !is_deaf => break,
                    () = self.source.gone.cancelled() => break,
                    () = self.log.release.cancelled() => break,
                    () = self.source.packet.notified() => receive(),
                }
            }
        });
        sink.flush();
        Ok(())
    }

    fn listens(&self) -> Option<std::net::SocketAddr> {
        let port = 8100 + u16::try_from(self.number).unwrap();
        (self.kind == CaptureType::PcapSocket).then(|| ([127, 0, 0, 1], port).into())
    }
}

impl Drop for FakeReader {
    fn drop(&mut self) {
        self.log.open.lock().unwrap().remove(&self.number);
    }
}

/// Counts what it is given as kept.
struct Keep {
    ledger: Arc<Ledger>,
    log: Arc<Log>,
}

struct KeepAt {
    ledger: Arc<Ledger>,
    log: Arc<Log>,
    tid: String,
}

impl Points for Keep {
    fn open(&self, node_tid: &str) -> Box<dyn Sink> {
        Box::new(KeepAt {
            ledger: Arc::clone(&self.ledger),
            log: Arc::clone(&self.log),
            tid: node_tid.to_owned(),
        })
    }
}

impl Sink for KeepAt {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        self.ledger.keep(batch.len() as u64);
        self.log.tids.lock().unwrap().push(self.tid.clone());
    }

    fn flush(&mut self) {}
}

/// Keeps in memory, unless it is told to fail.
#[derive(Default)]
pub(crate) struct Store {
    kept: Mutex<Vec<(String, Value)>>,
    pub(crate) is_broken: Mutex<bool>,
}

impl Store {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.kept
            .lock()
            .unwrap()
            .iter()
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        if *self.is_broken.lock().unwrap() {
            return Err("the disk is on fire".to_owned());
        }
        Ok(())
    }
}

impl CaptureStore for Store {
    fn list(&self) -> Result<Vec<(String, Value)>, String> {
        self.check()?;
        Ok(self.kept.lock().unwrap().clone())
    }

    fn put(&self, id: &str, document: &Value) -> Result<(), String> {
        self.check()?;
        self.kept.lock().unwrap().push((id.to_owned(), document.clone()));
        Ok(())
    }

    fn delete(&self, id: &str) -> Result<(), String> {
        self.check()?;
        self.kept.lock().unwrap().retain(|(kept, _)| kept != id);
        Ok(())
    }
}

/// Everything together.
pub(crate) struct Lab {
    pub(crate) graph: Arc<Graph>,
    pub(crate) captures: Captures,
    pub(crate) log: Arc<Log>,
    pub(crate) store: Arc<Store>,
    limits: CaptureLimits,
    running: Option<RunningCaptures>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with_limits(CaptureLimits::default())
    }

    pub(crate) fn with_limits(limits: CaptureLimits) -> Self {
        let mut lab = Self {
            graph: Arc::new(Graph::new("here")),
            captures: Captures::default(),
            log: Arc::default(),
            store: Arc::default(),
            limits,
            running: None,
        };
        lab.start();
        lab
    }

    pub(crate) fn start(&mut self) {
        self.captures = Captures::default();
        self.running = Some(self.captures.start(self.services()).unwrap());
    }

    pub(crate) fn services(&self) -> CaptureServices {
        let types = [CaptureType::AfPacket, CaptureType::Pcap, CaptureType::PcapSocket];
        let fake = |kind| -> Arc<dyn Collector> {
            let log = Arc::clone(&self.log);
            Arc::new(Fake { kind, log })
        };
        let log = Arc::clone(&self.log);
        CaptureServices {
            graph: Arc::clone(&self.graph),
            collectors: types.map(fake).into(),
            points: Arc::new(move |_: PointOptions, ledger| {
                let log = Arc::clone(&log);
                Arc::new(Keep { ledger, log }) as Arc<dyn Points>
            }),
            store: self.store.clone(),
            exclude: Vec::new(),
            defaults: PointOptions::default(),
            limits: self.limits,
        }
    }

    /// Stops; returns who was late.
    pub(crate) fn stop(&mut self, deadline: Duration) -> Vec<String> {
        self.running
            .take()
            .map(|running| running.stop(deadline))
            .unwrap_or_default()
    }

    /// Declares a capture of what `gremlin` names. Returns its id.
    pub(crate) fn create(&self, gremlin: &str) -> String {
        self.declare(NewCapture::new(gremlin)).unwrap().uuid
    }

    pub(crate) fn create_type(&self, gremlin: &str, kind: &str) -> String {
        let new = NewCapture {
            r#type: kind.to_owned(),
            ..NewCapture::new(gremlin)
        };
        self.declare(new).unwrap().uuid
    }

    pub(crate) fn declare(&self, new: NewCapture) -> Result<Capture, CaptureError> {
        self.captures.create(new, None)
    }

    pub(crate) fn get(&self, id: &str) -> Capture {
        self.captures.get(id).unwrap()
    }

    /// An interface of the host that is up.
    pub(crate) fn interface(&self, name: &str, index: u32) -> NodeId {
        self.interface_of(&self.graph.host().clone(), name, index)
    }

    pub(crate) fn interface_of(&self, owner: &NodeId, name: &str, index: u32) -> NodeId {
        self.graph.upsert_node(veth(owner, name, index)).unwrap()
    }

    pub(crate) fn namespace(&self, name: &str) -> NodeId {
        let host = self.graph.host().clone();
        let spec = NodeSpec::new(&host, "netns", name).with("Path", format!("/run/netns/{name}"));
        self.graph.upsert_node(spec).unwrap()
    }

    pub(crate) fn remove(&self, node: &NodeId) {
        assert!(self.graph.edit(|edit| edit.remove_tree(node)));
    }

    pub(crate) fn set(&self, node: &NodeId, key: &str, value: impl Into<Value>) {
        self.graph.set_metadata(node, key, value).unwrap();
    }

    /// `Captures` of a node, without counters.
    pub(crate) fn written(&self, node: &NodeId) -> Value {
        let node = self.graph.node(node).unwrap();
        let mut list = node.metadata.get("Captures").cloned().unwrap_or(Value::Null);
        for entry in list.as_array_mut().into_iter().flatten() {
            entry.as_object_mut().unwrap().remove("PacketsReceived");
        }
        list
    }

    /// Waits for a state, with all of the node's states behind it.
    #[track_caller]
    pub(crate) fn until_state(&self, id: &str, state: &str) -> Capture {
        let mut last = Capture::default();
        let start = Instant::now();
        loop {
            let capture = self.get(id);
            if capture.state.as_str() == state {
                return capture;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{state} does not come, last: {last:#?}"
            );
            last = capture;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until exactly these interfaces are open.
    #[track_caller]
    pub(crate) fn until_open(&self, names: &[&str]) {
        let what = format!("{names:?}");
        let caller = Location::caller();
        until(&format!("{what} (for {caller})"), || self.log.open() == names);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.log.release.cancel();
        self.stop(PATIENCE);
    }
}

/// A veth that is up.
pub(crate) fn veth<'a>(owner: &'a NodeId, name: &'a str, index: u32) -> NodeSpec<'a> {
    NodeSpec::new(owner, "veth", name)
        .with("IfIndex", index)
        .with("State", "UP")
        .with("LinkFlags", vec!["UP"])
}

/// The words of a capture's log.
pub(crate) fn words(capture: &Capture) -> Vec<EventKind> {
    capture.events.iter().map(|event| event.event).collect()
}

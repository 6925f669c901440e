//! How long a new interface waits for its capture, among 10,000 others and 50 captures that want none of
//! them. Prints figures; `cargo bench -p flowtap-capture --bench reconcile`. No packet is read: what a
//! collector takes to open a source comes on top.

#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use flowtap_capture::{CaptureLimits, CaptureServices, CaptureStore, Captures, NewCapture, State};
use flowtap_collectors::{
    CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader, ReaderContext,
};
use flowtap_flow::packet::{Packet, Sink};
use flowtap_flow::point::{PointOptions, Points};
use flowtap_topology::{Graph, NodeId, NodeSpec, TopologyError};
use serde_json::{Value, json};

const NODES: u32 = 10_000;
const CAPTURES: usize = 50;
const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let each = |number| format!("G.V().Has('ExtID.vm-id', 'vm{number}')");
    measure("asked of each node by itself", each)?;
    let whole = |number| format!("G.V().Has('ExtID.vm-id', 'vm{number}').Both()");
    measure("asked of the whole graph", whole)?;
    Ok(())
}

fn measure(what: &str, expression: impl Fn(usize) -> String) -> Result<(), Box<dyn std::error::Error>> {
    println!("{CAPTURES} expressions, {what}:");
    let graph = Arc::new(Graph::new("bench"));
    let host = graph.host().clone();
    for number in 0..NODES {
        add(&graph, &host, &format!("port{number}"), number + 1_000_000)?;
    }
    let (sender, opened) = channel();
    let captures = Captures::default();
    let running = captures.start(services(&graph, sender))?;
    for number in 0..CAPTURES {
        captures.create(NewCapture::new(expression(number)), None)?;
    }
    let id = captures
        .create(NewCapture::new("G.V().Has('Name', 'new')"), None)?
        .uuid;

    let quiet = appear(&graph, &host, &captures, &id, &opened)?;
    report("an interface appears until its source is opened", quiet);
    let listed = times(20, |round| {
        // Another graph each time: nothing is known from before.
        graph.set_metadata(&host, "Round", round)?;
        std::hint::black_box(captures.list());
        Ok::<(), TopologyError>(())
    })?;
    report("a list of all captures, after a change of the graph", listed);
    let explained = times(20, |_| {
        captures.explain("G.V().Has('ExtID.vm-id', 'vm7')", "").map(drop)
    })?;
    report("an explanation", explained);
    for late in running.stop(Duration::from_secs(10)) {
        println!("late: {late}");
    }
    Ok(())
}

fn add(graph: &Graph, host: &NodeId, name: &str, index: u32) -> Result<NodeId, TopologyError> {
    let spec = NodeSpec::new(host, "veth", name)
        .with("IfIndex", index)
        .with("State", "UP")
        .with("LinkFlags", vec!["UP"])
        .with(
            "ExtID",
            json!({"iface-id": name, "attached-mac": "fa:16:3e:00:00:01"}),
        );
    graph.upsert_node(spec)
}

/// An interface comes and goes.
fn appear(
    graph: &Graph,
    host: &NodeId,
    captures: &Captures,
    id: &str,
    opened: &Receiver<Instant>,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let is = |state| captures.get(id).is_some_and(|capture| capture.state == state);
    while !is(State::Waiting)
        || captures
            .get(id)
            .is_some_and(|capture| capture.reason.contains("looked for"))
    {
        std::thread::yield_now();
    }
    let mut delays = Vec::with_capacity(ROUNDS);
    for index in (2_000_000..).take(ROUNDS) {
        let start = Instant::now();
        let node = add(graph, host, "new", index)?;
        delays.push(opened.recv()? - start);
        graph.edit(|edit| edit.remove_node(&node));
        while !is(State::Waiting) {
            std::thread::yield_now();
        }
    }
    Ok(delays)
}

fn times<E>(count: usize, mut run: impl FnMut(usize) -> Result<(), E>) -> Result<Vec<Duration>, E> {
    let mut taken = Vec::with_capacity(count);
    for round in 0..count {
        let start = Instant::now();
        run(round)?;
        taken.push(start.elapsed());
    }
    Ok(taken)
}

fn report(what: &str, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |part: usize| {
        taken
            .get(taken.len() * part / 100)
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    println!("{:>9.1} µs median, {:>9.1} µs at 99 %  {what}", at(50), at(99));
}

fn services(graph: &Arc<Graph>, opened: Sender<Instant>) -> CaptureServices {
    CaptureServices {
        graph: Arc::clone(graph),
        collectors: vec![Arc::new(Idle { opened })],
        points: Arc::new(|_: PointOptions, _| Arc::new(Nowhere) as Arc<dyn Points>),
        store: Arc::new(Nowhere),
        exclude: Vec::new(),
        defaults: PointOptions::default(),
        limits: CaptureLimits::default(),
    }
}

/// Says when it was asked to open a source, and reads nothing.
struct Idle {
    opened: Sender<Instant>,
}

impl Collector for Idle {
    fn capture_type(&self) -> CaptureType {
        CaptureType::AfPacket
    }

    fn support(&self) -> Result<(), String> {
        Ok(())
    }

    fn accepts(&self, _interface: &Interface) -> Result<(), NotYet> {
        Ok(())
    }

    fn open(&self, _request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        let _told = self.opened.send(Instant::now());
        Ok(Box::new(Nowhere))
    }
}

struct Nowhere;

impl Reader for Nowhere {
    fn run(self: Box<Self>, context: ReaderContext) -> Result<(), CollectError> {
        while !context.stop.is_cancelled() {
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }
}

impl Points for Nowhere {
    fn open(&self, _node_tid: &str) -> Box<dyn Sink> {
        Box::new(Nowhere)
    }
}

impl Sink for Nowhere {
    fn packets(&mut self, _batch: &[Packet<'_>]) {}

    fn flush(&mut self) {}
}

impl CaptureStore for Nowhere {
    fn list(&self) -> Result<Vec<(String, Value)>, String> {
        Ok(Vec::new())
    }

    fn put(&self, _id: &str, _document: &Value) -> Result<(), String> {
        Ok(())
    }

    fn delete(&self, _id: &str) -> Result<(), String> {
        Ok(())
    }
}

//! Ports of sFlow agents, beside the interfaces of this host that they are.
//!
//! An Open vSwitch that runs here is an sFlow agent like any other: its ports are nodes that its
//! datagrams tell of (`switchport`). Where the agent's datapath is that of a bridge in the graph, and the
//! port has ifindex and name (counter records 1 and 1005) of an interface on that bridge, both are the
//! same thing: a `layer2` edge with `Type` `sflow` says so, and a query gets from one to the other.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::debug;

use crate::element::{Edge, LAYER2, Metadata, Node};
use crate::error::TopologyError;
use crate::event::{Change, Subscription, Waker};
use crate::graph::{Edit, Graph};
use crate::identity::{EdgeId, NodeId};
use crate::snapshot::Snapshot;

mod known;
#[cfg(test)]
mod tests;

use known::{Key, Known};

/// Events read before ports are looked at: a burst of them is one piece of work.
const EVENTS_AT_ONCE: usize = 1024;

/// How long it sleeps when nothing happens; it is woken for everything that counts.
const IDLE: Duration = Duration::from_secs(3600);

/// A running watcher. It stops when it is dropped, and leaves its edges.
#[derive(Debug)]
pub struct SflowPorts {
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Starts to watch the graph.
///
/// # Errors
/// The system's, if it has no room for another thread.
pub fn start(graph: Arc<Graph>) -> io::Result<SflowPorts> {
    let (snapshot, events) = graph.subscribe();
    let waker = events.waker();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut watcher = Watcher {
        graph,
        events,
        known: Known::default(),
        linked: HashMap::new(),
    };
    watcher.begin(&snapshot);
    drop(snapshot);
    let thread = std::thread::Builder::new()
        .name("sflow-ports".to_owned())
        .spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                watcher.turn(IDLE);
            }
        })?;
    Ok(SflowPorts {
        stop,
        waker,
        thread: Some(thread),
    })
}

impl Drop for SflowPorts {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // If it panicked, that has been said already.
            let _ended = thread.join();
        }
    }
}

#[derive(Debug)]
struct Watcher {
    graph: Arc<Graph>,
    events: Subscription,
    known: Known,
    /// The edge of a port, where it has one.
    linked: HashMap<NodeId, EdgeId>,
}

impl Watcher {
    fn begin(&mut self, snapshot: &Snapshot) {
        self.known = Known::default();
        for node in snapshot.nodes() {
            self.known.add(node);
        }
        self.settle();
    }

    /// Waits for something to happen, and does what follows from it.
    fn turn(&mut self, patience: Duration) {
        let mut wait = patience;
        for _ in 0..EVENTS_AT_ONCE {
            match self.events.next_within(wait) {
                Ok(Some(event)) => self.take(&event.change),
                Ok(None) => break,
                Err(_lagged) => {
                    debug!("too slow for the graph's events: all ports are looked up anew");
                    let (snapshot, events) = self.graph.subscribe();
                    self.events = events;
                    return self.begin(&snapshot);
                }
            }
            wait = Duration::ZERO;
        }
        self.settle();
    }

    fn take(&mut self, change: &Change) {
        match change {
            Change::NodeAdded(node) => self.known.add(node),
            Change::NodeDeleted(node) => {
                self.linked.remove(&node.id);
                self.known.remove(node);
            }
            Change::NodeUpdated { node, before } => {
                let same = ["Name", "IfIndex", "OfPort", "Type"]
                    .iter()
                    .all(|key| node.metadata.get(*key) == before.metadata.get(*key));
                if !same {
                    self.known.remove(before);
                    self.known.add(node);
                } else if datapath(node) != datapath(before) {
                    self.known.look_at_all();
                }
            }
            Change::EdgeAdded(edge) | Change::EdgeDeleted(edge) => self.wiring_changed(edge),
            Change::EdgeUpdated { .. } => {}
        }
    }

    /// A bridge may have got a port, or a port its interface, which the snapshots of nodes don't tell.
    fn wiring_changed(&mut self, edge: &Edge) {
        if !edge.is_ownership() && edge.relation() != LAYER2 {
            return;
        }
        let Some(child) = self.graph.node(&edge.child) else {
            return;
        };
        if child.node_type() == Some("ovsport") {
            self.known.look_at_all();
        } else {
            self.known.look_at(&child);
        }
    }

    fn settle(&mut self) {
        let known = &mut self.known;
        let dirty: Vec<Key> = known
            .dirty
            .drain()
            .filter(|key| known.ports.contains_key(key))
            .collect();
        if dirty.is_empty() {
            return;
        }
        let graph = Arc::clone(&self.graph);
        graph.edit(|edit| {
            for key in &dirty {
                self.settle_key(edit, key);
            }
        });
    }

    fn settle_key(&mut self, edit: &mut Edit<'_>, key: &Key) {
        let interfaces = self.known.interfaces.get(key);
        for port in self.known.ports.get(key).into_iter().flatten() {
            let same = interfaces
                .into_iter()
                .flatten()
                .find(|interface| is_same(edit.snapshot(), port, interface));
            let edge = match same.map(|interface| link(edit, port, interface)) {
                Some(Ok(edge)) => Some(edge),
                // Full, or one of them is gone already: its event is on the way.
                Some(Err(error)) => {
                    debug!(%port, %error, "an sFlow port stays without its interface");
                    None
                }
                None => None,
            };
            let before = match &edge {
                Some(edge) => self.linked.insert(port.clone(), edge.clone()),
                None => self.linked.remove(port),
            };
            if let Some(before) = before.filter(|before| edge.as_ref() != Some(before)) {
                edit.unlink(&before);
            }
        }
    }
}

fn link(edit: &mut Edit<'_>, port: &NodeId, interface: &NodeId) -> Result<EdgeId, TopologyError> {
    let sflow = Metadata::from_iter([("Type".to_owned(), "sflow".into())]);
    edit.link(port, interface, LAYER2, sflow)
}

/// The datapath that an sFlow agent, or a bridge, says it is.
fn datapath(node: &Node) -> Option<&str> {
    let place = match node.node_type()? {
        "sflowagent" => node.metadata.get("DatapathID"),
        "ovsbridge" => node.metadata.get("Ovs").and_then(|ovs| ovs.get("DatapathID")),
        _ => None,
    };
    place?.as_str()
}

/// Whether the agent of `port` is the bridge that `interface` is on.
fn is_same(graph: &Snapshot, port: &NodeId, interface: &NodeId) -> bool {
    let Some(agent) = graph.owner(port).and_then(|agent| datapath(agent)) else {
        return false;
    };
    let ports = graph
        .in_edges(interface)
        .iter()
        .filter(|edge| edge.relation() == LAYER2);
    ports
        .filter_map(|edge| graph.owner(&edge.parent))
        .any(|bridge| bridge.node_type() == Some("ovsbridge") && datapath(bridge) == Some(agent))
}

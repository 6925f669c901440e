//! The live graph.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::element::{Edge, Metadata, Node};
use crate::error::TopologyError;
use crate::event::{Publisher, Subscription};
use crate::identity::{EdgeId, NodeId, Tid};
use crate::interval::{IntervalLog, IntervalSink};
use crate::snapshot::Snapshot;

mod edges;
mod edit;
mod nodes;
mod spec;
#[cfg(test)]
mod tests;
mod tids;

pub use edit::Edit;
pub use spec::{NewEdge, NewNode, NodeSpec};

/// Nodes that a graph holds unless told otherwise. A switch port is about 1 KiB and an interface with
/// all that netlink tells of it 11 KiB, so a full graph is some 1 GiB at most; further nodes are refused
/// with [`TopologyError::Full`].
pub const DEFAULT_MAX_NODES: usize = 100_000;

/// Edges that a graph holds for each node it may hold. Most nodes have one to their owner and one or
/// two of layer 2; further edges are refused with [`TopologyError::FullOfEdges`].
const MAX_EDGES_PER_NODE: usize = 4;

/// Items that are worked on under one lock: some milliseconds, after which others have their turn.
const EDITS_AT_ONCE: usize = 256;

/// A step back of the clock of up to a minute stands still instead, so that times follow the order of
/// events; a longer one is a clock that was wrong before.
const CLOCK_STEP_MS: i64 = 60_000;

/// Nodes and edges, shared by the watchers that write and the queries that read.
///
/// A reader takes a [`Snapshot`], which no later change touches. Every change goes through
/// [`Graph::edit`], under one lock, and reaches all who have a [`Subscription`] in that order.
#[derive(Debug)]
pub struct Graph {
    host: NodeId,
    host_tid: Tid,
    host_name: Arc<str>,
    origin: Arc<str>,
    max_nodes: usize,
    state: RwLock<State>,
    publisher: Publisher,
}

#[derive(Debug, Default)]
struct State {
    /// Changed in place, unless a reader has it: then it is copied first.
    snapshot: Arc<Snapshot>,
    /// Of nodes that something else than their name tells from their siblings.
    keys: HashMap<NodeId, Arc<str>>,
    /// The time of the newest event.
    at: i64,
    intervals: IntervalSink,
}

impl Graph {
    /// A graph that holds the host named `host_name`, and room for [`DEFAULT_MAX_NODES`].
    #[must_use]
    pub fn new(host_name: &str) -> Self {
        Self::with_max_nodes(host_name, DEFAULT_MAX_NODES)
    }

    /// As [`Graph::new`], with room for `max_nodes`, the host included.
    #[must_use]
    pub fn with_max_nodes(host_name: &str, max_nodes: usize) -> Self {
        let tid = Tid::host(host_name);
        let graph = Self {
            host: NodeId::stable(&tid),
            host_tid: tid,
            host_name: host_name.into(),
            origin: format!("agent.{host_name}").into(),
            max_nodes,
            state: RwLock::default(),
            publisher: Publisher::default(),
        };
        graph.edit(|edit| edit.add_host());
        graph
    }

    /// The host that flowtap runs on; it is always there.
    #[must_use]
    pub fn host(&self) -> &NodeId {
        &self.host
    }

    /// The host's TID.
    #[must_use]
    pub fn host_tid(&self) -> &Tid {
        &self.host_tid
    }

    /// The host's name.
    #[must_use]
    pub fn host_name(&self) -> &Arc<str> {
        &self.host_name
    }

    /// Makes the changes of `f` under one lock: no reader sees a part of them, and their events go out
    /// together. `f` must be short, and must not touch the graph but through its argument, for that
    /// waits forever. What it did before a panic stays.
    pub fn edit<R>(&self, f: impl FnOnce(&mut Edit<'_>) -> R) -> R {
        let mut state = self.write();
        // Keeps the order of events where the clock does not.
        let now = now_ms();
        let step = state.at - now;
        if !(0..=CLOCK_STEP_MS).contains(&step) {
            state.at = now;
        }
        let mut edit = Edit::new(self, &mut state);
        f(&mut edit)
    }

    /// Does `work` on each of many items, a few hundred under one lock, in order: readers and other
    /// writers have their turn between, and see a part of it. Otherwise as [`Graph::edit`].
    pub fn edit_in_turns<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        mut work: impl FnMut(&mut Edit<'_>, T),
    ) {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            self.edit(|edit| {
                items
                    .by_ref()
                    .take(EDITS_AT_ONCE)
                    .for_each(|item| work(edit, item))
            });
            // Who waits for the lock is awake by now, and needs a processor to take it. After the last turn
            // nobody does: what comes next may be a packet that waits for no one.
            if items.peek().is_some() {
                std::thread::yield_now();
            }
        }
    }

    /// The graph as it is, and every change from then on.
    #[must_use]
    pub fn subscribe(&self) -> (Arc<Snapshot>, Subscription) {
        // No edit is under way while the lock is held.
        let state = self.read();
        (Arc::clone(&state.snapshot), self.publisher.subscribe())
    }

    /// The graph as it is.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.read().snapshot)
    }

    /// What nodes count from now on. One receives it: a later call takes it from an earlier one.
    #[must_use]
    pub fn intervals(&self) -> IntervalLog {
        let log = IntervalLog::default();
        self.write().intervals = IntervalSink::to(&log);
        log
    }

    /// [`Edit::upsert_node`] by itself.
    ///
    /// # Errors
    /// See there.
    pub fn upsert_node(&self, spec: NodeSpec<'_>) -> Result<NodeId, TopologyError> {
        self.edit(|edit| edit.upsert_node(spec))
    }

    /// [`Edit::set_metadata`] by itself.
    ///
    /// # Errors
    /// See there.
    pub fn set_metadata(&self, id: &NodeId, key: &str, value: impl Into<Value>) -> Result<(), TopologyError> {
        self.edit(|edit| edit.set_metadata(id, key, value))
    }

    /// [`Edit::merge_metadata`] by itself.
    ///
    /// # Errors
    /// See there.
    pub fn merge_metadata(&self, id: &NodeId, metadata: Metadata) -> Result<(), TopologyError> {
        self.edit(|edit| edit.merge_metadata(id, metadata))
    }

    /// [`Edit::update_metrics`] by itself.
    ///
    /// # Errors
    /// See there.
    pub fn update_metrics(
        &self,
        id: &NodeId,
        key: &str,
        update: impl FnOnce(&mut Value),
    ) -> Result<(), TopologyError> {
        self.edit(|edit| edit.update_metrics(id, key, update))
    }

    /// [`Edit::link`] by itself.
    ///
    /// # Errors
    /// See there.
    pub fn link(
        &self,
        parent: &NodeId,
        child: &NodeId,
        relation: &str,
        extra: Metadata,
    ) -> Result<EdgeId, TopologyError> {
        self.edit(|edit| edit.link(parent, child, relation, extra))
    }

    /// All nodes, in no particular order.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.snapshot().nodes().cloned().collect()
    }

    /// All edges, in no particular order.
    #[must_use]
    pub fn edges(&self) -> Vec<Arc<Edge>> {
        self.snapshot().edges().cloned().collect()
    }

    /// The node named `id`.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<Arc<Node>> {
        self.read().snapshot.node(id).cloned()
    }

    /// The node that flows with this `NodeTID` were seen at.
    #[must_use]
    pub fn by_tid(&self, tid: &Tid) -> Option<Arc<Node>> {
        self.read().snapshot.by_tid(tid).cloned()
    }

    // A writer that panicked left a whole graph behind (each change is one event), so it goes on.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

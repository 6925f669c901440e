//! A writer's hold of the graph.

use std::sync::Arc;

use super::{Graph, State};
use crate::depth::{MAX_DEPTH, is_too_deep};
use crate::element::{Edge, Metadata, Node};
use crate::error::TopologyError;
use crate::event::{Change, Event};
use crate::identity::{EdgeId, NodeId};
use crate::snapshot::Snapshot;

/// A writer's hold of the graph, for the length of one [`Graph::edit`]. It sees its own changes.
#[derive(Debug)]
pub struct Edit<'g> {
    pub(super) graph: &'g Graph,
    pub(super) state: &'g mut State,
    events: Vec<Event>,
}

impl<'g> Edit<'g> {
    pub(super) fn new(graph: &'g Graph, state: &'g mut State) -> Self {
        Self {
            graph,
            state,
            events: Vec::new(),
        }
    }

    /// The graph with what was changed so far.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.state.snapshot
    }

    /// The time of these changes, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(&self) -> i64 {
        self.state.at
    }

    pub(super) fn node(&self, id: &NodeId) -> Result<&Arc<Node>, TopologyError> {
        let node = self.snapshot().node(id);
        node.ok_or_else(|| TopologyError::NoSuchNode(id.clone()))
    }

    pub(super) fn edge(&self, id: &EdgeId) -> Result<&Arc<Edge>, TopologyError> {
        let edge = self.snapshot().edge(id);
        edge.ok_or_else(|| TopologyError::NoSuchEdge(id.clone()))
    }

    /// Makes a change and notes it.
    pub(super) fn record(&mut self, change: Change) {
        let event = Event {
            sequence: self.snapshot().sequence() + 1,
            at: self.state.at,
            change,
        };
        Arc::make_mut(&mut self.state.snapshot).apply(&event);
        self.events.push(event);
    }

    /// The next version of `before`, with `metadata`.
    pub(super) fn next_version(&self, before: &Node, metadata: Metadata) -> Node {
        Node {
            id: before.id.clone(),
            metadata,
            host: Arc::clone(&before.host),
            origin: Arc::clone(&before.origin),
            created_at: before.created_at,
            updated_at: self.state.at,
            deleted_at: None,
            revision: before.revision + 1,
        }
    }
}

impl Drop for Edit<'_> {
    /// Sends the events, while the lock is held: edits and their events have one order. Also when the
    /// writer panicked, for its changes are made.
    fn drop(&mut self) {
        if !self.events.is_empty() {
            self.graph.publisher.publish(self.events.drain(..));
        }
    }
}

/// Checks that `metadata` may be an element's: every writer comes by here.
pub(super) fn check_depth(metadata: &Metadata) -> Result<(), TopologyError> {
    if is_too_deep(metadata) {
        return Err(TopologyError::TooDeep { max: MAX_DEPTH });
    }
    Ok(())
}

/// Whether `metadata` lacks something of `wanted`.
pub(super) fn lacks(metadata: &Metadata, wanted: &Metadata) -> bool {
    wanted.iter().any(|(key, value)| metadata.get(key) != Some(value))
}

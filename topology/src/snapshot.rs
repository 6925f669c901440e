//! The graph as it was at one instant.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::element::{Edge, Node};
use crate::event::{Change, Event};
use crate::identity::{EdgeId, NodeId, Tid};

mod shards;

use shards::ShardMap;

/// An edge as its two nodes hold it.
pub type EdgeRef = Arc<Edge>;

/// The graph as it was at one instant. It never changes under its reader; copies share what did not
/// change, so that one is had at every event for microseconds.
#[derive(Clone, Default)]
pub struct Snapshot {
    sequence: u64,
    nodes: ShardMap<NodeId, Arc<Node>>,
    edges: ShardMap<EdgeId, EdgeRef>,
    adjacency: ShardMap<NodeId, Adjacent>,
    by_tid: ShardMap<Tid, NodeId>,
    /// Nodes whose TID another node has too and is found by: for a moment while two interfaces swap
    /// names, or as long as two publishers disagree. Almost always empty.
    shadowed: Arc<HashMap<Tid, Vec<NodeId>>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nodes: Vec<_> = self.nodes().collect();
        let mut edges: Vec<_> = self.edges().collect();
        nodes.sort_unstable_by_key(|node| &node.id);
        edges.sort_unstable_by_key(|edge| &edge.id);
        f.debug_struct("Snapshot")
            .field("sequence", &self.sequence)
            .field("nodes", &nodes)
            .field("edges", &edges)
            .finish_non_exhaustive()
    }
}

/// The same graph: the same elements. Where in the sequence it stands does not matter, for a graph of
/// the past stands nowhere.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.edge_count() == other.edge_count()
            && self.nodes().all(|node| other.node(&node.id) == Some(node))
            && self.edges().all(|edge| other.edge(&edge.id) == Some(edge))
    }
}

#[derive(Clone, Debug, Default)]
struct Adjacent {
    out: Vec<EdgeRef>,
    into: Vec<EdgeRef>,
}

impl Snapshot {
    /// A graph of these elements. Edges whose nodes are not among them stay out.
    #[must_use]
    pub fn of(
        nodes: impl IntoIterator<Item = Arc<Node>>,
        edges: impl IntoIterator<Item = Arc<Edge>>,
    ) -> Self {
        let mut snapshot = Self::default();
        for node in nodes {
            snapshot.insert_node(node);
        }
        for edge in edges {
            if snapshot.node(&edge.parent).is_some() && snapshot.node(&edge.child).is_some() {
                snapshot.insert_edge(edge);
            }
        }
        snapshot
    }

    /// The number of the last event that is in it; 0 if there was none, or for a graph of the past.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 0
    }

    /// How many edges there are.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }

    /// All nodes, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// All edges, in no particular order.
    pub fn edges(&self) -> impl Iterator<Item = &EdgeRef> {
        self.edges.values()
    }

    /// The node named `id`.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }

    /// The edge named `id`.
    #[must_use]
    pub fn edge(&self, id: &EdgeId) -> Option<&EdgeRef> {
        self.edges.get(id)
    }

    /// The node that flows with this `NodeTID` were seen at. Of several, the one that got it last.
    #[must_use]
    pub fn by_tid(&self, tid: &Tid) -> Option<&Arc<Node>> {
        self.nodes.get(self.by_tid.get(tid)?)
    }

    /// The edges that `id` is the parent of, in no particular order.
    #[must_use]
    pub fn out_edges(&self, id: &NodeId) -> &[EdgeRef] {
        self.adjacency.get(id).map_or(&[], |adjacent| &adjacent.out)
    }

    /// The edges that `id` is the child of, in no particular order.
    #[must_use]
    pub fn in_edges(&self, id: &NodeId) -> &[EdgeRef] {
        self.adjacency.get(id).map_or(&[], |adjacent| &adjacent.into)
    }

    /// The edge by which `id` is owned.
    #[must_use]
    pub fn ownership_of(&self, id: &NodeId) -> Option<&EdgeRef> {
        self.in_edges(id).iter().find(|edge| edge.is_ownership())
    }

    /// The node that owns `id`.
    #[must_use]
    pub fn owner(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.node(&self.ownership_of(id)?.parent)
    }

    /// The nodes that `id` owns, in no particular order.
    pub fn owned(&self, id: &NodeId) -> impl Iterator<Item = &Arc<Node>> {
        let edges = self.out_edges(id).iter().filter(|edge| edge.is_ownership());
        edges.filter_map(|edge| self.node(&edge.child))
    }

    /// Makes the change that `event` tells of: the events after a snapshot, applied in order, give
    /// the graph that is.
    pub fn apply(&mut self, event: &Event) {
        self.sequence = event.sequence;
        match &event.change {
            Change::NodeAdded(node) => self.insert_node(Arc::clone(node)),
            Change::NodeUpdated { node, before } if node.tid_text() == before.tid_text() => {
                self.nodes.insert(node.id.clone(), Arc::clone(node));
            }
            Change::NodeUpdated { node, before } => {
                self.forget_tid(before);
                self.insert_node(Arc::clone(node));
            }
            Change::NodeDeleted(node) => {
                self.nodes.remove(&node.id);
                self.adjacency.remove(&node.id);
                self.forget_tid(node);
            }
            Change::EdgeAdded(edge) => self.insert_edge(Arc::clone(edge)),
            Change::EdgeUpdated { edge, .. } => {
                self.remove_edge(&edge.id);
                self.insert_edge(Arc::clone(edge));
            }
            Change::EdgeDeleted(edge) => self.remove_edge(&edge.id),
        }
    }

    /// The node in place, for what is no event.
    pub(crate) fn node_mut(&mut self, id: &NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id).map(Arc::make_mut)
    }

    fn insert_node(&mut self, node: Arc<Node>) {
        if let Some(tid) = node.tid() {
            let before = self.by_tid.insert(tid.clone(), node.id.clone());
            if let Some(before) = before.filter(|before| *before != node.id) {
                Arc::make_mut(&mut self.shadowed)
                    .entry(tid)
                    .or_default()
                    .push(before);
            }
        }
        self.nodes.insert(node.id.clone(), node);
    }

    fn forget_tid(&mut self, node: &Node) {
        let Some(tid) = node.tid() else { return };
        if self.by_tid.get(&tid) == Some(&node.id) {
            self.by_tid.remove(&tid);
        }
        if !self.shadowed.contains_key(&tid) {
            return;
        }
        let shadowed = Arc::make_mut(&mut self.shadowed);
        let Some(others) = shadowed.get_mut(&tid) else {
            return;
        };
        others.retain(|other| *other != node.id);
        if self.by_tid.get(&tid).is_none()
            && let Some(heir) = others.pop()
        {
            self.by_tid.insert(tid.clone(), heir);
        }
        if others.is_empty() {
            shadowed.remove(&tid);
        }
    }

    fn insert_edge(&mut self, edge: EdgeRef) {
        self.adjacency.entry(&edge.parent).out.push(Arc::clone(&edge));
        self.adjacency.entry(&edge.child).into.push(Arc::clone(&edge));
        self.edges.insert(edge.id.clone(), edge);
    }

    /// Takes an edge out, for what is no event.
    pub(crate) fn remove_edge(&mut self, id: &EdgeId) {
        let Some(edge) = self.edges.remove(id) else {
            return;
        };
        // By address: nothing is read of a hub's thousands of other edges.
        let remove = |edges: &mut Vec<EdgeRef>| {
            if let Some(place) = edges.iter().position(|other| Arc::ptr_eq(other, &edge)) {
                edges.swap_remove(place);
            }
        };
        if let Some(adjacent) = self.adjacency.get_mut(&edge.parent) {
            remove(&mut adjacent.out);
        }
        if let Some(adjacent) = self.adjacency.get_mut(&edge.child) {
            remove(&mut adjacent.into);
        }
    }
}

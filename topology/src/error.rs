//! Why the graph did not change.

use crate::identity::{EdgeId, NodeId};

/// Why the graph did not change. Nothing of the refused call took effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// There is no room for another node.
    #[error("the graph is full: it holds {max} nodes already; raise topology.max_nodes")]
    Full {
        /// How many it may hold.
        max: usize,
    },
    /// There is no room for another edge.
    #[error(
        "the graph is full: it holds {max} edges already; raise topology.max_nodes, which has room for edges too"
    )]
    FullOfEdges {
        /// How many it may hold.
        max: usize,
    },
    /// The node does not exist, or not any more.
    #[error("no node has the id {0}")]
    NoSuchNode(NodeId),
    /// The edge does not exist, or not any more.
    #[error("no edge has the id {0}")]
    NoSuchEdge(EdgeId),
    /// A node with this ID is there already.
    #[error("a node has the id {0} already, change that one or choose another id")]
    NodeExists(NodeId),
    /// An edge with this ID is there already.
    #[error("an edge has the id {0} already, change that one or choose another id")]
    EdgeExists(EdgeId),
    /// The owner is not owned itself, so that what it owns would have no TID to be found by.
    #[error("node {0} has no TID, link it to its owner first")]
    NoTid(NodeId),
    /// Its metadata has more levels than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error(
        "the metadata has more than {max} levels of objects and lists, as many as an element may have; make it flatter"
    )]
    TooDeep {
        /// How many it may have.
        max: usize,
    },
    /// The child owns the parent, directly or not.
    #[error("node {parent} can't own {child}: {child} owns it")]
    OwnershipCycle {
        /// Who would own.
        parent: NodeId,
        /// What would be owned.
        child: NodeId,
    },
}

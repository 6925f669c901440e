//! Why a declaration was refused.

use flowtap_storage::StoreError;
use flowtap_topology::rules::RuleError;
use flowtap_topology::{EdgeId, NodeId, TopologyError};

/// What is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A node.
    Node,
    /// An edge.
    Edge,
    /// A rule that makes or changes nodes.
    NodeRule,
    /// A rule that makes edges.
    EdgeRule,
}

impl Kind {
    /// Its name in paths and on disk.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Edge => "edge",
            Self::NodeRule => "noderule",
            Self::EdgeRule => "edgerule",
        }
    }

    /// Its name in Skydive's sentences.
    fn title(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Edge => "Edge",
            Self::NodeRule => "Noderule",
            Self::EdgeRule => "Edgerule",
        }
    }
}

/// Why a declaration was refused. But for [`DeclaredError::Partly`], nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum DeclaredError {
    /// There is no such thing. The words are Skydive's.
    #[error("{} '{id}' not found", kind.title())]
    NotFound {
        /// Of what kind.
        kind: Kind,
        /// What was asked for.
        id: String,
    },
    /// It is there already. The words are Skydive's.
    #[error("duplicated resource: {} '{id}' is there already, change that one or leave the ID out", kind.title())]
    Duplicate {
        /// Of what kind.
        kind: Kind,
        /// Its ID.
        id: String,
    },
    /// Something is missing in it.
    #[error("{what} needs {needed} in Metadata, as texts that are not empty")]
    Incomplete {
        /// What it is: `a node`, `an edge`…
        what: String,
        /// Which entries.
        needed: String,
    },
    /// It says too much.
    #[error(
        "the metadata takes some {bytes} bytes, more than the {max} that a node, an edge or a rule may have"
    )]
    TooLarge {
        /// How much it would take.
        bytes: usize,
        /// How much it may take.
        max: usize,
    },
    /// An end of an edge is not there. The words are Skydive's.
    #[error("{end} node not found: no node has the id '{id}'")]
    NoEnd {
        /// Which end: `Parent` or `Child`.
        end: &'static str,
        /// What was given.
        id: NodeId,
    },
    /// Somebody else owns the node.
    #[error("node '{child}' has an owner already, '{owner}'; a node has one owner")]
    Owned {
        /// The node.
        child: NodeId,
        /// Its owner.
        owner: NodeId,
    },
    /// It is seen, not declared.
    #[error("node '{0}' is what flowtap sees or a rule makes, it goes when that goes")]
    WatchedNode(NodeId),
    /// It is seen, not declared.
    #[error("edge '{0}' is what flowtap sees or a rule makes, it goes when that goes")]
    WatchedEdge(EdgeId),
    /// Some of many were refused, and the others are in force.
    #[error("{refused} of {of} elements were refused, the first because: {first}")]
    Partly {
        /// How many were refused.
        refused: usize,
        /// Of how many.
        of: usize,
        /// Why the first was.
        #[source]
        first: Box<DeclaredError>,
    },
    /// The patch cannot be applied.
    #[error("applying JSON patch to resource: {0}")]
    Patch(#[from] json_patch::PatchError),
    /// What the patch leaves is no such resource.
    #[error("creating a new resource from the patched JSON body: {0}")]
    Patched(#[source] serde_json::Error),
    /// Rules are made and deleted, not changed. The words are Skydive's.
    #[error("{} resource not updatable", .0.as_str())]
    NotUpdatable(Kind),
    /// The rule engine refuses it.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The graph refuses it.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// It cannot be written down.
    #[error("failed to keep it: {0}")]
    Store(#[from] StoreError),
    /// It has no JSON form.
    #[error("failed to write it as JSON: {0}")]
    Unwritable(#[source] serde_json::Error),
}

impl DeclaredError {
    pub(crate) fn not_found(kind: Kind, id: &str) -> Self {
        Self::NotFound {
            kind,
            id: id.to_owned(),
        }
    }

    pub(crate) fn duplicate(kind: Kind, id: &str) -> Self {
        Self::Duplicate {
            kind,
            id: id.to_owned(),
        }
    }
}

//! What a writer says of a node or edge that it wants.

use std::sync::Arc;

use serde_json::Value;

use crate::element::Metadata;
use crate::identity::{EdgeId, NodeId};

/// A node as its watcher describes it.
#[derive(Debug)]
pub struct NodeSpec<'a> {
    pub(super) owner: &'a NodeId,
    pub(super) node_type: &'a str,
    pub(super) name: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) metadata: Metadata,
}

impl<'a> NodeSpec<'a> {
    /// A node of `node_type` owned by `owner`, told from its siblings by `name`. A `netns` needs its
    /// `Path` as well, `ovsbridge` and `ovsport` their `UUID`: they are told from others by that.
    #[must_use]
    pub fn new(owner: &'a NodeId, node_type: &'a str, name: &'a str) -> Self {
        Self {
            owner,
            node_type,
            name,
            key: None,
            metadata: Metadata::new(),
        }
    }

    /// Tells the node from its siblings by `key`, for names that may change: see [`Tid::owned`]. Its
    /// TID then stays when its name changes.
    ///
    /// [`Tid::owned`]: crate::Tid::owned
    #[must_use]
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    /// Says more about the node.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Says all of `metadata` about the node.
    #[must_use]
    pub fn with_all(mut self, metadata: Metadata) -> Self {
        self.metadata.extend(metadata);
        self
    }

    /// The node's metadata, but for its TID.
    pub(super) fn full_metadata(&self) -> Metadata {
        let mut metadata = self.metadata.clone();
        metadata.insert("Name".to_owned(), self.name.into());
        metadata.insert("Type".to_owned(), self.node_type.into());
        metadata
    }
}

/// A node that nothing watches: from a user, a rule, the configuration or another program.
#[derive(Clone, Debug, Default)]
pub struct NewNode {
    /// Its ID; `None` makes a random one.
    pub id: Option<NodeId>,
    /// What is known of it.
    pub metadata: Metadata,
    /// The host it is on; `None` is this one.
    pub host: Option<Arc<str>>,
    /// Who says so; `None` is this host's `agent.`.
    pub origin: Option<Arc<str>>,
}

/// An edge that nothing watches: from a user, a rule, the configuration or another program.
#[derive(Clone, Debug)]
pub struct NewEdge {
    /// Its ID; `None` makes it of parent, child and relation.
    pub id: Option<EdgeId>,
    /// From where.
    pub parent: NodeId,
    /// To where.
    pub child: NodeId,
    /// What is known of it: `RelationType` above all.
    pub metadata: Metadata,
    /// The host it is on; `None` is this one.
    pub host: Option<Arc<str>>,
    /// Who says so; `None` is this host's `agent.`.
    pub origin: Option<Arc<str>>,
}

impl NewEdge {
    /// The edge from `parent` to `child` that says `relation`, and no more.
    #[must_use]
    pub fn new(parent: &NodeId, child: &NodeId, relation: &str) -> Self {
        Self {
            id: None,
            parent: parent.clone(),
            child: child.clone(),
            metadata: Metadata::from_iter([("RelationType".to_owned(), relation.into())]),
            host: None,
            origin: None,
        }
    }
}

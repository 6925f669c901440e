//! The live graph.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::element::{Edge, Metadata, Node};
use crate::identity::{EdgeId, NodeId, Tid};

/// Nodes that a graph holds unless told otherwise. A node with a name and an index is about 1 KiB, so
/// a full graph is some 100 MiB; further nodes are refused with [`TopologyError::Full`].
pub const DEFAULT_MAX_NODES: usize = 100_000;

const OWNERSHIP: &str = "ownership";

/// Why the graph did not change.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// There is no room for another node.
    #[error("the graph is full: it holds {max} nodes already")]
    Full {
        /// How many it may hold.
        max: usize,
    },
    /// The node does not exist, or not any more.
    #[error("no node has the id {0}")]
    NoSuchNode(NodeId),
}

/// A node as its watcher describes it.
#[derive(Debug)]
pub struct NodeSpec<'a> {
    owner: &'a NodeId,
    node_type: &'a str,
    name: &'a str,
    key: &'a str,
    metadata: Metadata,
}

impl<'a> NodeSpec<'a> {
    /// A node of `node_type` owned by `owner`, told from its siblings by `name`.
    #[must_use]
    pub fn new(owner: &'a NodeId, node_type: &'a str, name: &'a str) -> Self {
        Self {
            owner,
            node_type,
            name,
            key: name,
            metadata: Metadata::new(),
        }
    }

    /// Tells the node from its siblings by `key`, for names that may change: see [`Tid::owned`].
    #[must_use]
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = key;
        self
    }

    /// Says more about the node.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }
}

/// Nodes and edges, shared by the watchers that write and the queries that read.
///
/// Reads hand out the nodes as they were at that instant: a later change makes a new version and
/// leaves the old one to whoever still holds it. Every change of the graph goes through `&self`
/// here, under one lock, so a listener to changes has one place to stand.
#[derive(Debug)]
pub struct Graph {
    host: NodeId,
    host_tid: Tid,
    host_name: Arc<str>,
    origin: Arc<str>,
    max_nodes: usize,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: HashMap<NodeId, Arc<Node>>,
    by_tid: HashMap<Tid, NodeId>,
    edges: HashMap<EdgeId, Arc<Edge>>,
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
            host_tid: tid.clone(),
            host_name: host_name.into(),
            origin: format!("agent.{host_name}").into(),
            max_nodes,
            inner: RwLock::default(),
        };
        let node = graph.node_of(&tid, "host", host_name, Metadata::new());
        graph.write().insert_node(tid, node);
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

    /// Makes the node that `spec` describes, with the ownership edge to it; or, if it is there
    /// already, adds what is new in `spec` to its metadata. The name of a node that is there stays
    /// ([`Graph::set_metadata`] changes it), since the watcher may have learnt a better one.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`] if the owner is not there, [`TopologyError::Full`].
    pub fn upsert_node(&self, spec: NodeSpec<'_>) -> Result<NodeId, TopologyError> {
        let mut inner = self.write();
        let owner_tid = inner
            .nodes
            .get(spec.owner)
            .and_then(|owner| owner.tid())
            .ok_or_else(|| TopologyError::NoSuchNode(spec.owner.clone()))?;
        let tid = Tid::owned(&owner_tid, spec.key, spec.node_type);
        if let Some(id) = inner.by_tid.get(&tid).cloned() {
            inner.merge(&id, spec.metadata);
            return Ok(id);
        }
        if inner.nodes.len() >= self.max_nodes {
            return Err(TopologyError::Full { max: self.max_nodes });
        }
        let node = self.node_of(&tid, spec.node_type, spec.name, spec.metadata);
        let edge = self.edge_of(spec.owner, &node.id, OWNERSHIP);
        let id = inner.insert_node(tid, node);
        inner.edges.insert(edge.id.clone(), Arc::new(edge));
        Ok(id)
    }

    /// Sets one entry of a node's metadata. An equal value changes nothing, not even the revision.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`].
    pub fn set_metadata(&self, id: &NodeId, key: &str, value: impl Into<Value>) -> Result<(), TopologyError> {
        self.merge_metadata(id, Metadata::from_iter([(key.to_owned(), value.into())]))
    }

    /// As [`Graph::set_metadata`], for several entries in one revision.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`].
    pub fn merge_metadata(&self, id: &NodeId, metadata: Metadata) -> Result<(), TopologyError> {
        let merged = self.write().merge(id, metadata);
        merged.ok_or_else(|| TopologyError::NoSuchNode(id.clone()))
    }

    /// Changes the entry `key` of a node's metadata in place, without a new revision: for metrics,
    /// which change all the time and whose every value is not a piece of the node's history.
    /// An entry that is missing starts as `null`.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`].
    pub fn update_metrics(
        &self,
        id: &NodeId,
        key: &str,
        update: impl FnOnce(&mut Value),
    ) -> Result<(), TopologyError> {
        let mut inner = self.write();
        let node = inner
            .nodes
            .get_mut(id)
            .ok_or_else(|| TopologyError::NoSuchNode(id.clone()))?;
        let metadata = &mut Arc::make_mut(node).metadata;
        match metadata.get_mut(key) {
            Some(value) => update(value),
            None => update(metadata.entry(key.to_owned()).or_insert(Value::Null)),
        }
        Ok(())
    }

    /// All nodes, in no particular order.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.read().nodes.values().cloned().collect()
    }

    /// All edges, in no particular order.
    #[must_use]
    pub fn edges(&self) -> Vec<Arc<Edge>> {
        self.read().edges.values().cloned().collect()
    }

    /// The node named `id`.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<Arc<Node>> {
        self.read().nodes.get(id).cloned()
    }

    /// The node that flows with this `NodeTID` were seen at.
    #[must_use]
    pub fn by_tid(&self, tid: &Tid) -> Option<Arc<Node>> {
        let inner = self.read();
        inner.nodes.get(inner.by_tid.get(tid)?).cloned()
    }

    fn node_of(&self, tid: &Tid, node_type: &str, name: &str, mut metadata: Metadata) -> Node {
        metadata.insert("Name".to_owned(), name.into());
        metadata.insert("Type".to_owned(), node_type.into());
        metadata.insert("TID".to_owned(), tid.as_str().into());
        let now = now_ms();
        Node {
            id: NodeId::stable(tid),
            metadata,
            host: Arc::clone(&self.host_name),
            origin: Arc::clone(&self.origin),
            created_at: now,
            updated_at: now,
            deleted_at: None,
            revision: 1,
        }
    }

    fn edge_of(&self, parent: &NodeId, child: &NodeId, relation: &str) -> Edge {
        let now = now_ms();
        Edge {
            id: EdgeId::of(parent, child, relation),
            parent: parent.clone(),
            child: child.clone(),
            relation: relation.into(),
            host: Arc::clone(&self.host_name),
            origin: Arc::clone(&self.origin),
            created_at: now,
            updated_at: now,
            deleted_at: None,
            revision: 1,
        }
    }

    // A writer that panicked left whole nodes behind (each change is one insert), so the graph goes on.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert_node(&mut self, tid: Tid, node: Node) -> NodeId {
        let id = node.id.clone();
        self.by_tid.insert(tid, id.clone());
        self.nodes.insert(id.clone(), Arc::new(node));
        id
    }

    /// `None` if there is no such node.
    fn merge(&mut self, id: &NodeId, metadata: Metadata) -> Option<()> {
        let node = self.nodes.get_mut(id)?;
        if metadata
            .iter()
            .any(|(key, value)| node.metadata.get(key) != Some(value))
        {
            let node = Arc::make_mut(node);
            node.metadata.extend(metadata);
            node.updated_at = now_ms();
            node.revision += 1;
        }
        Some(())
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(graph: &Graph) -> NodeId {
        graph
            .upsert_node(NodeSpec::new(graph.host(), "sflowagent", "10.0.0.11"))
            .unwrap()
    }

    #[test]
    fn json_is_skydives() {
        let graph = Graph::new("compute-1");
        let id = agent(&graph);
        let node = serde_json::to_value(graph.node(&id).unwrap()).unwrap();
        let keys: Vec<_> = node.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "CreatedAt",
                "DeletedAt",
                "Host",
                "ID",
                "Metadata",
                "Origin",
                "Revision",
                "UpdatedAt"
            ]
        );
        assert_eq!(node["Metadata"]["Type"], "sflowagent");
        assert_eq!(node["Origin"], "agent.compute-1");
        assert!(node["DeletedAt"].is_null());
        let edge = serde_json::to_value(&graph.edges()[0]).unwrap();
        assert_eq!(edge["Metadata"], serde_json::json!({"RelationType": "ownership"}));
        assert_eq!(edge["Parent"], graph.host().as_str());
        assert_eq!(edge["Child"], id.as_str());
    }

    #[test]
    fn a_node_seen_again_is_the_same_node() {
        let graph = Graph::new("compute-1");
        let id = agent(&graph);
        assert_eq!(agent(&graph), id);
        assert_eq!(graph.node(&id).unwrap().revision, 1);
        assert_eq!((graph.nodes().len(), graph.edges().len()), (2, 1));
        let again = Graph::new("compute-1");
        assert_eq!(agent(&again), id, "identities survive a restart");
    }

    #[test]
    fn only_a_real_change_makes_a_revision() {
        let graph = Graph::new("h");
        let id = agent(&graph);
        graph.set_metadata(&id, "DatapathID", "01").unwrap();
        graph.set_metadata(&id, "DatapathID", "01").unwrap();
        assert_eq!(graph.node(&id).unwrap().revision, 2);
        graph
            .update_metrics(&id, "SFlow", |sflow| *sflow = serde_json::json!({"Metric": {}}))
            .unwrap();
        let node = graph.node(&id).unwrap();
        assert_eq!(node.revision, 2);
        assert!(node.metadata["SFlow"]["Metric"].is_object());
    }

    #[test]
    fn a_reader_keeps_the_version_it_took() {
        let graph = Graph::new("h");
        let id = agent(&graph);
        let before = graph.node(&id).unwrap();
        graph.set_metadata(&id, "Name", "sw-leaf-1").unwrap();
        assert_eq!(before.name(), Some("10.0.0.11"));
        assert_eq!(graph.node(&id).unwrap().name(), Some("sw-leaf-1"));
        assert_eq!(
            graph.by_tid(&before.tid().unwrap()).unwrap().name(),
            Some("sw-leaf-1")
        );
    }

    #[test]
    fn a_full_graph_says_so_and_still_updates() {
        let graph = Graph::with_max_nodes("h", 2);
        let id = agent(&graph);
        let more = graph.upsert_node(NodeSpec::new(&id, "switchport", "port 1"));
        assert_eq!(more, Err(TopologyError::Full { max: 2 }));
        assert_eq!(agent(&graph), id);
        assert_eq!(graph.edges().len(), 1);
    }

    #[test]
    fn an_unknown_owner_is_an_error() {
        let graph = Graph::new("h");
        let ghost = NodeId::from("ghost");
        let made = graph.upsert_node(NodeSpec::new(&ghost, "switchport", "port 1"));
        assert_eq!(made, Err(TopologyError::NoSuchNode(ghost)));
    }
}

//! Changes of nodes.

use std::sync::Arc;

use serde_json::Value;

use super::State;
use super::edit::{Edit, check_depth, lacks};
use super::spec::{NewNode, NodeSpec};
use crate::element::{Metadata, Node, OWNERSHIP};
use crate::error::TopologyError;
use crate::event::Change;
use crate::identity::{NodeId, Tid};
use crate::interval::{begins_to_count, is_counted, shown_last};

impl Edit<'_> {
    /// Makes the node that `spec` describes, with the ownership edge to it; or, if it is there
    /// already, adds what is new in `spec` to its metadata. The name of a node that is there stays
    /// ([`Edit::set_metadata`] changes it), since the watcher may have learnt a better one.
    ///
    /// Its ID is its TID, the same after each restart. Where another node lives by that ID still (an
    /// interface whose name this one took), it is a random one.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`] if the owner is not there, [`TopologyError::NoTid`] if it has no
    /// TID, [`TopologyError::TooDeep`], [`TopologyError::Full`], [`TopologyError::FullOfEdges`].
    pub fn upsert_node(&mut self, spec: NodeSpec<'_>) -> Result<NodeId, TopologyError> {
        let no_tid = || TopologyError::NoTid(spec.owner.clone());
        let owner_tid = self.node(spec.owner)?.tid().ok_or_else(no_tid)?;
        let mut metadata = spec.full_metadata();
        let host = self.host_tid(spec.owner);
        let tid = Tid::of(&host, &owner_tid, spec.key, &metadata).ok_or_else(no_tid)?;
        if let Some(id) = self.snapshot().by_tid(&tid).map(|node| node.id.clone()) {
            self.link_owner(spec.owner, &id)?;
            self.merge_metadata(&id, spec.metadata)?;
            return Ok(id);
        }
        check_depth(&metadata)?;
        self.room_for_node()?;
        self.room_for_edge()?;
        metadata.insert("TID".to_owned(), tid.as_str().into());
        let mut id = NodeId::stable(&tid);
        if self.snapshot().node(&id).is_some() {
            id = NodeId::random();
        }
        if let Some(key) = spec.key {
            self.state.keys.insert(id.clone(), key.into());
        }
        self.add_node(NewNode {
            id: Some(id.clone()),
            metadata,
            ..NewNode::default()
        });
        self.link(spec.owner, &id, OWNERSHIP, Metadata::new())?;
        Ok(id)
    }

    /// Makes a node that nothing owns. It has no TID until an ownership gives it one, unless its
    /// metadata brings one along (another program's node) or it is of the fabric: then it is its ID.
    ///
    /// # Errors
    /// [`TopologyError::NodeExists`], [`TopologyError::TooDeep`], [`TopologyError::Full`].
    pub fn put_node(&mut self, mut node: NewNode) -> Result<NodeId, TopologyError> {
        let id = node.id.take().unwrap_or_else(NodeId::random);
        if self.snapshot().node(&id).is_some() {
            return Err(TopologyError::NodeExists(id));
        }
        check_depth(&node.metadata)?;
        self.room_for_node()?;
        self.settle_tid(&id, &mut node.metadata, None);
        node.id = Some(id.clone());
        self.add_node(node);
        Ok(id)
    }

    /// Sets one entry of a node's metadata. An equal value changes nothing, not even the revision. A
    /// new `Name` gives the node and all it owns a new TID, unless its spec had a key; its ID stays.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`], [`TopologyError::TooDeep`].
    pub fn set_metadata(
        &mut self,
        id: &NodeId,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<(), TopologyError> {
        self.merge_metadata(id, Metadata::from_iter([(key.to_owned(), value.into())]))
    }

    /// As [`Edit::set_metadata`], for several entries in one revision.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`], [`TopologyError::TooDeep`].
    pub fn merge_metadata(&mut self, id: &NodeId, metadata: Metadata) -> Result<(), TopologyError> {
        // First, for watchers say the same again and again: that copies nothing.
        if !lacks(&self.node(id)?.metadata, &metadata) {
            return Ok(());
        }
        self.update_node(id, |old| old.extend(metadata)).map(drop)
    }

    /// Gives the node this metadata and no other, in one revision. What owned nodes have their TID
    /// from counts, not a `TID` in `metadata`.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`], [`TopologyError::TooDeep`].
    pub fn replace_metadata(&mut self, id: &NodeId, metadata: Metadata) -> Result<(), TopologyError> {
        self.update_node(id, |old| *old = metadata).map(drop)
    }

    /// Takes an entry out of a node's metadata. One that is not there changes nothing.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`].
    pub fn remove_key(&mut self, id: &NodeId, key: &str) -> Result<(), TopologyError> {
        if !self.node(id)?.metadata.contains_key(key) {
            return Ok(());
        }
        self.update_node(id, |old| drop(old.remove(key))).map(drop)
    }

    /// Changes a node's metadata by `update`, in one revision. Returns whether it is another one then;
    /// if not, there is no revision and no event.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`], [`TopologyError::TooDeep`].
    pub fn update_node(
        &mut self,
        id: &NodeId,
        update: impl FnOnce(&mut Metadata),
    ) -> Result<bool, TopologyError> {
        let before = Arc::clone(self.node(id)?);
        let mut metadata = before.metadata.clone();
        update(&mut metadata);
        self.settle_tid(id, &mut metadata, before.tid_text());
        if metadata == before.metadata {
            return Ok(false);
        }
        check_depth(&metadata)?;
        let node = Arc::new(self.next_version(&before, metadata));
        let other_tid = node.tid_text() != before.tid_text();
        self.record(Change::NodeUpdated { node, before });
        if other_tid {
            self.refresh_owned(id);
        }
        Ok(true)
    }

    /// Changes the entry `key` of a node's metadata in place, without a revision and without an event:
    /// for metrics, which change all the time and whose every value is not a piece of the node's
    /// history. Snapshots taken from then on show it. An entry that is missing starts as `null`.
    ///
    /// That a node counts at all is a piece of its history: the first `Metric` makes a revision. What was
    /// counted since the last time (`LastUpdateMetric`) goes to [`Graph::intervals`].
    ///
    /// [`Graph::intervals`]: crate::Graph::intervals
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`].
    pub fn update_metrics(
        &mut self,
        id: &NodeId,
        key: &str,
        update: impl FnOnce(&mut Value),
    ) -> Result<(), TopologyError> {
        // Asked first: a node that is gone copies nothing.
        let before = self.node(id)?.metadata.get(key);
        let last = shown_last(key, before);
        if begins_to_count(key, before) {
            let mut value = before.cloned().unwrap_or_default();
            update(&mut value);
            if is_counted(key, Some(&value)) {
                if self.state.intervals.put(id, key, &value, last) {
                    self.graph.publisher.wake();
                }
                return self
                    .update_node(id, |metadata| drop(metadata.insert(key.to_owned(), value)))
                    .map(drop);
            }
            return self.put_in_place(id, key, last, |old| *old = value);
        }
        self.put_in_place(id, key, last, update)
    }

    fn put_in_place(
        &mut self,
        id: &NodeId,
        key: &str,
        last: Option<i64>,
        update: impl FnOnce(&mut Value),
    ) -> Result<(), TopologyError> {
        let graph = self.graph;
        let State {
            snapshot, intervals, ..
        } = &mut *self.state;
        let Some(node) = Arc::make_mut(snapshot).node_mut(id) else {
            return Err(TopologyError::NoSuchNode(id.clone()));
        };
        if !node.metadata.contains_key(key) {
            node.metadata.insert(key.to_owned(), Value::Null);
        }
        let Some(value) = node.metadata.get_mut(key) else {
            return Ok(());
        };
        update(value);
        if intervals.put(id, key, value, last) {
            graph.publisher.wake();
        }
        Ok(())
    }

    /// Removes a node, its edges before it. What it owned stays, without TID, as nobody owns it now;
    /// see [`Edit::remove_tree`]. Returns whether it was there; the host always stays.
    pub fn remove_node(&mut self, id: &NodeId) -> bool {
        if *id == self.graph.host || self.snapshot().node(id).is_none() {
            return false;
        }
        let edges = self.snapshot().in_edges(id).iter();
        let edges: Vec<_> = edges.chain(self.snapshot().out_edges(id)).cloned().collect();
        let mut orphans = Vec::new();
        for edge in edges {
            // An edge to itself is in both lists.
            if self.delete_edge(&edge) && edge.is_ownership() && edge.parent == *id {
                orphans.push(edge.child.clone());
            }
        }
        for orphan in orphans {
            self.lose_tid(&orphan);
        }
        if let Some(node) = self.snapshot().node(id) {
            let mut node = Node::clone(node);
            node.deleted_at = Some(self.state.at);
            self.state.keys.remove(id);
            self.record(Change::NodeDeleted(Arc::new(node)));
        }
        true
    }

    /// Removes a node and all that it owns, what is owned before its owner: a namespace with its
    /// interfaces. Returns whether it was there; the host always stays.
    pub fn remove_tree(&mut self, id: &NodeId) -> bool {
        if *id == self.graph.host || self.snapshot().node(id).is_none() {
            return false;
        }
        // Owners before what they own; an owned node has one owner, so each comes once.
        let mut tree = vec![id.clone()];
        let mut next = 0;
        while let Some(owner) = tree.get(next) {
            let owned: Vec<_> = self.snapshot().owned(owner).map(|node| node.id.clone()).collect();
            tree.extend(owned);
            next += 1;
        }
        for id in tree.iter().rev() {
            self.remove_node(id);
        }
        true
    }

    /// The host that everything here hangs from.
    pub(super) fn add_host(&mut self) {
        let mut metadata = Metadata::new();
        metadata.insert("Name".to_owned(), (*self.graph.host_name).into());
        metadata.insert("Type".to_owned(), "host".into());
        metadata.insert("TID".to_owned(), self.graph.host_tid.as_str().into());
        self.add_node(NewNode {
            id: Some(self.graph.host.clone()),
            metadata,
            ..NewNode::default()
        });
    }

    fn add_node(&mut self, new: NewNode) {
        let at = self.state.at;
        let node = Node {
            id: new.id.unwrap_or_else(NodeId::random),
            metadata: new.metadata,
            host: new.host.unwrap_or_else(|| Arc::clone(&self.graph.host_name)),
            origin: new.origin.unwrap_or_else(|| Arc::clone(&self.graph.origin)),
            created_at: at,
            updated_at: at,
            deleted_at: None,
            revision: 1,
        };
        self.record(Change::NodeAdded(Arc::new(node)));
    }

    fn room_for_node(&self) -> Result<(), TopologyError> {
        let max = self.graph.max_nodes;
        if self.snapshot().len() >= max {
            return Err(TopologyError::Full { max });
        }
        Ok(())
    }
}

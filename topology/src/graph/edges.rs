//! Changes of edges.

use std::sync::Arc;

use super::MAX_EDGES_PER_NODE;
use super::edit::{Edit, check_depth, lacks};
use super::spec::NewEdge;
use crate::element::{Edge, Metadata, OWNERSHIP};
use crate::error::TopologyError;
use crate::event::Change;
use crate::identity::{EdgeId, NodeId};

impl Edit<'_> {
    /// Makes the edge from `parent` to `child` that says `relation`, with `extra` in its metadata; or,
    /// if it is there already, adds what is new in `extra`.
    ///
    /// An ownership gives the child its TID, and takes the place of the one it had.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchNode`], [`TopologyError::OwnershipCycle`], [`TopologyError::TooDeep`],
    /// [`TopologyError::FullOfEdges`].
    pub fn link(
        &mut self,
        parent: &NodeId,
        child: &NodeId,
        relation: &str,
        extra: Metadata,
    ) -> Result<EdgeId, TopologyError> {
        let id = EdgeId::of(parent, child, relation);
        if self.snapshot().edge(&id).is_some() {
            self.merge_edge_metadata(&id, extra)?;
            return Ok(id);
        }
        let mut edge = NewEdge::new(parent, child, relation);
        edge.id = Some(id);
        // `relation` has the last word.
        let relation = std::mem::replace(&mut edge.metadata, extra);
        edge.metadata.extend(relation);
        self.put_edge(edge)
    }

    /// Makes an edge, with an ID of its own if it has one. For the rest see [`Edit::link`].
    ///
    /// # Errors
    /// [`TopologyError::EdgeExists`], and those of [`Edit::link`].
    pub fn put_edge(&mut self, new: NewEdge) -> Result<EdgeId, TopologyError> {
        self.node(&new.parent)?;
        self.node(&new.child)?;
        check_depth(&new.metadata)?;
        let at = self.state.at;
        let mut edge = Edge {
            id: EdgeId::from(""),
            parent: new.parent,
            child: new.child,
            metadata: new.metadata,
            host: new.host.unwrap_or_else(|| Arc::clone(&self.graph.host_name)),
            origin: new.origin.unwrap_or_else(|| Arc::clone(&self.graph.origin)),
            created_at: at,
            updated_at: at,
            deleted_at: None,
            revision: 1,
        };
        let named = |edge: &Edge| EdgeId::of(&edge.parent, &edge.child, edge.relation());
        edge.id = new.id.unwrap_or_else(|| named(&edge));
        if self.snapshot().edge(&edge.id).is_some() {
            return Err(TopologyError::EdgeExists(edge.id));
        }
        self.room_for_edge()?;
        let edge = Arc::new(edge);
        if edge.is_ownership() {
            self.disown(&edge)?;
        }
        self.record(Change::EdgeAdded(Arc::clone(&edge)));
        if edge.is_ownership() {
            self.refresh_tid(&edge.child);
        }
        Ok(edge.id.clone())
    }

    /// Removes an edge. A child that loses its owner loses its TID. Returns whether it was there.
    pub fn unlink(&mut self, id: &EdgeId) -> bool {
        let Some(edge) = self.snapshot().edge(id).map(Arc::clone) else {
            return false;
        };
        self.delete_edge(&edge);
        if edge.is_ownership() {
            self.lose_tid(&edge.child);
        }
        true
    }

    /// Adds to an edge's metadata, in one revision. Equal values change nothing.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchEdge`], [`TopologyError::TooDeep`], [`TopologyError::OwnershipCycle`] if it becomes
    /// an ownership.
    pub fn merge_edge_metadata(&mut self, id: &EdgeId, metadata: Metadata) -> Result<(), TopologyError> {
        if !lacks(&self.edge(id)?.metadata, &metadata) {
            return Ok(());
        }
        self.update_edge(id, |old| old.extend(metadata)).map(drop)
    }

    /// Gives the edge this metadata and no other, in one revision.
    ///
    /// # Errors
    /// As [`Edit::merge_edge_metadata`].
    pub fn replace_edge_metadata(&mut self, id: &EdgeId, metadata: Metadata) -> Result<(), TopologyError> {
        self.update_edge(id, |old| *old = metadata).map(drop)
    }

    /// Takes an entry out of an edge's metadata. One that is not there changes nothing.
    ///
    /// # Errors
    /// [`TopologyError::NoSuchEdge`].
    pub fn remove_edge_key(&mut self, id: &EdgeId, key: &str) -> Result<(), TopologyError> {
        self.update_edge(id, |old| drop(old.remove(key))).map(drop)
    }

    /// Changes an edge's metadata by `update`, in one revision. Returns whether it is another one
    /// then; if not, there is no revision and no event. Its ID stays, whatever the relation.
    ///
    /// # Errors
    /// As [`Edit::merge_edge_metadata`].
    pub fn update_edge(
        &mut self,
        id: &EdgeId,
        update: impl FnOnce(&mut Metadata),
    ) -> Result<bool, TopologyError> {
        let before = Arc::clone(self.edge(id)?);
        let mut edge = Edge::clone(&before);
        update(&mut edge.metadata);
        if edge.metadata == before.metadata {
            return Ok(false);
        }
        check_depth(&edge.metadata)?;
        edge.updated_at = self.state.at;
        edge.revision += 1;
        let edge = Arc::new(edge);
        let (owned, owns) = (before.is_ownership(), edge.is_ownership());
        if owns && !owned {
            self.disown(&edge)?;
        }
        self.record(Change::EdgeUpdated {
            edge: Arc::clone(&edge),
            before,
        });
        match (owned, owns) {
            (false, true) => self.refresh_tid(&edge.child),
            (true, false) => self.lose_tid(&edge.child),
            _ => {}
        }
        Ok(true)
    }

    /// Makes sure that `owner` owns `id`; asked for again and again, it costs no hash.
    pub(super) fn link_owner(&mut self, owner: &NodeId, id: &NodeId) -> Result<(), TopologyError> {
        let owned = self.snapshot().ownership_of(id);
        if owned.is_none_or(|edge| edge.parent != *owner) {
            self.link(owner, id, OWNERSHIP, Metadata::new())?;
        }
        Ok(())
    }

    /// Whether the edge was there still.
    pub(super) fn delete_edge(&mut self, edge: &Arc<Edge>) -> bool {
        if self.snapshot().edge(&edge.id).is_none() {
            return false;
        }
        let mut edge = Edge::clone(edge);
        edge.deleted_at = Some(self.state.at);
        self.record(Change::EdgeDeleted(Arc::new(edge)));
        true
    }

    pub(super) fn room_for_edge(&self) -> Result<(), TopologyError> {
        let max = self.graph.max_nodes.saturating_mul(MAX_EDGES_PER_NODE);
        if self.snapshot().edge_count() >= max {
            return Err(TopologyError::FullOfEdges { max });
        }
        Ok(())
    }

    /// Makes room for `new`, an ownership: a node has one owner, and owns no owner of its own.
    fn disown(&mut self, new: &Edge) -> Result<(), TopologyError> {
        let mut above = Some(&new.parent);
        while let Some(id) = above {
            if *id == new.child {
                return Err(TopologyError::OwnershipCycle {
                    parent: new.parent.clone(),
                    child: new.child.clone(),
                });
            }
            above = self.snapshot().ownership_of(id).map(|edge| &edge.parent);
        }
        if let Some(old) = self.snapshot().ownership_of(&new.child).map(Arc::clone) {
            self.delete_edge(&old);
        }
        Ok(())
    }
}

//! Edges.

use std::sync::Arc;
use std::time::Duration;

use flowtap_topology::{Edge, EdgeId, Edit, NewEdge, NodeId, Snapshot};
use json_patch::Patch;

use super::elements::{check_edge, origin, patched};
use super::{Declared, DeclaredError, Kind, State};
use crate::wire::EdgeDocument;

impl Declared {
    /// Makes an edge between two nodes that are there, with the ID that the user gave, or the one that
    /// follows from its ends and its relation.
    pub(crate) fn create_edge(
        &self,
        wanted: &EdgeDocument,
        ttl: Option<Duration>,
    ) -> Result<Arc<Edge>, DeclaredError> {
        check_edge(&wanted.metadata)?;
        let mut state = self.state();
        let new = self.new_edge(wanted);
        let id = new.id.clone();
        let id = id.unwrap_or_else(|| EdgeId::of(&new.parent, &new.child, relation(&new)));
        if self.graph.snapshot().edge(&id).is_some() || state.edges.contains_key(&id) {
            return Err(DeclaredError::duplicate(Kind::Edge, id.as_str()));
        }
        let edge = self.put_edge(new)?;
        self.note_expiry(&mut state, Kind::Edge, id.as_str(), ttl);
        if let Err(error) = self.save(&state, Kind::Edge, id.as_str(), &edge) {
            self.graph.edit(|edit| edit.unlink(&id));
            state.expiries.remove(Kind::Edge, id.as_str());
            return Err(error);
        }
        state.edges.insert(id, Arc::clone(&edge));
        Ok(edge)
    }

    /// The edges that wait for their ends, which the graph does not show.
    pub(crate) fn waiting_edges(&self) -> Vec<Arc<Edge>> {
        let snapshot = self.graph.snapshot();
        let state = self.state();
        let waiting = state
            .edges
            .values()
            .filter(|edge| snapshot.edge(&edge.id).is_none());
        waiting.cloned().collect()
    }

    /// Changes an edge's metadata by a JSON patch of the edge; `None` if that changes nothing. For the
    /// rest see [`Declared::patch_node`].
    pub(crate) fn patch_edge(&self, id: &str, patch: &Patch) -> Result<Option<Arc<Edge>>, DeclaredError> {
        let id = EdgeId::from(id);
        let mut state = self.state();
        loop {
            let before = self.graph.snapshot().edge(&id).cloned();
            let before = before.ok_or_else(|| DeclaredError::not_found(Kind::Edge, id.as_str()))?;
            let metadata = patched(&*before, |edge: Edge| edge.metadata, patch)?;
            check_edge(&metadata)?;
            let after = self.graph.edit(|edit| {
                let edge = |edit: &Edit<'_>| edit.snapshot().edge(&id).map(Arc::clone);
                if edge(edit).is_none_or(|edge| !Arc::ptr_eq(&edge, &before)) {
                    return Ok(None);
                }
                edit.update_edge(&id, |old| *old = metadata)?;
                Ok::<_, DeclaredError>(edge(edit))
            })?;
            let Some(after) = after else { continue };
            if Arc::ptr_eq(&before, &after) {
                return Ok(None);
            }
            self.keep_edge(&mut state, &id)?;
            return Ok(Some(after));
        }
    }

    /// Deletes an edge: a declared one, or a publisher's.
    pub(crate) fn delete_edge(&self, id: &str) -> Result<(), DeclaredError> {
        self.remove_edge(&mut self.state(), &EdgeId::from(id))
    }

    /// As [`Declared::node_changed`].
    pub(crate) fn edge_changed(&self, id: &EdgeId) -> Result<(), DeclaredError> {
        self.keep_edge(&mut self.state(), id)
    }

    fn keep_edge(&self, state: &mut State, id: &EdgeId) -> Result<(), DeclaredError> {
        if !state.edges.contains_key(id) {
            return Ok(());
        }
        let Some(edge) = self.graph.snapshot().edge(id).cloned() else {
            return Ok(());
        };
        self.save(state, Kind::Edge, id.as_str(), &edge)?;
        state.edges.insert(id.clone(), edge);
        Ok(())
    }

    pub(super) fn remove_edge(&self, state: &mut State, id: &EdgeId) -> Result<(), DeclaredError> {
        let snapshot = self.graph.snapshot();
        let declared = state.edges.contains_key(id);
        match snapshot.edge(id) {
            None if !declared => return Err(DeclaredError::not_found(Kind::Edge, id.as_str())),
            Some(edge) if !declared && self.is_watched(&edge.origin) => {
                return Err(DeclaredError::WatchedEdge(id.clone()));
            }
            _ => {}
        }
        if declared {
            self.strike(state, Kind::Edge, id.as_str())?;
            state.edges.remove(id);
            state.unmade.remove(id);
        }
        self.graph.edit(|edit| edit.unlink(id));
        Ok(())
    }

    /// Links what could be linked and is not.
    pub(super) fn mend(&self) {
        let mut state = self.state();
        let State { edges, unmade, .. } = &mut *state;
        let snapshot = self.graph.snapshot();
        let is_missing = |edge: &&Arc<Edge>| {
            snapshot.edge(&edge.id).is_none() && missing_end(&snapshot, &edge.parent, &edge.child).is_none()
        };
        for edge in edges.values().filter(is_missing) {
            let Err(error) = self.put_edge(as_new(edge)) else {
                unmade.remove(&edge.id);
                continue;
            };
            let reason = error.to_string();
            if unmade.get(&edge.id) != Some(&reason) {
                tracing::warn!(edge = %edge.id, %reason, "a declared edge cannot be made");
                unmade.insert(edge.id.clone(), reason);
            }
        }
    }

    pub(super) fn load_edges(&self, state: &mut State) -> Result<(), DeclaredError> {
        for (id, stored) in self.stored::<Edge>(Kind::Edge)? {
            state.expiries.restore(Kind::Edge, &id, stored.expires_at);
            state
                .edges
                .insert(stored.resource.id.clone(), Arc::new(stored.resource));
        }
        Ok(())
    }

    fn new_edge(&self, wanted: &EdgeDocument) -> NewEdge {
        NewEdge {
            id: (!wanted.id.is_empty()).then(|| wanted.id.as_str().into()),
            parent: wanted.parent.as_str().into(),
            child: wanted.child.as_str().into(),
            metadata: wanted.metadata.clone(),
            host: (!wanted.host.is_empty()).then(|| wanted.host.as_str().into()),
            origin: Some(origin(&self.graph).into()),
        }
    }

    fn put_edge(&self, new: NewEdge) -> Result<Arc<Edge>, DeclaredError> {
        self.graph.edit(|edit| {
            check_ends(edit.snapshot(), &new)?;
            let id = edit.put_edge(new)?;
            let edge = edit.snapshot().edge(&id).map(Arc::clone);
            edge.ok_or_else(|| DeclaredError::not_found(Kind::Edge, id.as_str()))
        })
    }
}

/// Checks that an edge can be made: its ends are there, and it takes no node from its owner.
pub(crate) fn check_ends(snapshot: &Snapshot, new: &NewEdge) -> Result<(), DeclaredError> {
    if let Some(error) = missing_end(snapshot, &new.parent, &new.child) {
        return Err(error);
    }
    let owner = snapshot.ownership_of(&new.child);
    match owner.filter(|_| relation(new) == flowtap_topology::OWNERSHIP) {
        Some(ownership) => Err(DeclaredError::Owned {
            child: new.child.clone(),
            owner: ownership.parent.clone(),
        }),
        None => Ok(()),
    }
}

fn missing_end(snapshot: &Snapshot, parent: &NodeId, child: &NodeId) -> Option<DeclaredError> {
    let missing = |end, id: &NodeId| {
        snapshot
            .node(id)
            .is_none()
            .then(|| DeclaredError::NoEnd { end, id: id.clone() })
    };
    missing("Parent", parent).or_else(|| missing("Child", child))
}

fn relation(edge: &NewEdge) -> &str {
    super::elements::text(&edge.metadata, "RelationType")
}

fn as_new(edge: &Edge) -> NewEdge {
    NewEdge {
        id: Some(edge.id.clone()),
        parent: edge.parent.clone(),
        child: edge.child.clone(),
        metadata: edge.metadata.clone(),
        host: Some(Arc::clone(&edge.host)),
        origin: Some(Arc::clone(&edge.origin)),
    }
}

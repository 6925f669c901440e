//! Nodes.

use std::sync::Arc;
use std::time::Duration;

use flowtap_topology::{Edit, NewNode, Node, NodeId};
use json_patch::Patch;

use super::elements::{carry_over, check_growth, check_node, keep_identity, origin, patched, size};
use super::{Declared, DeclaredError, Kind, State};
use crate::wire::NodeDocument;

impl Declared {
    /// Makes a node, with the ID that the user gave or a random one.
    pub(crate) fn create_node(
        &self,
        wanted: NodeDocument,
        ttl: Option<Duration>,
    ) -> Result<Arc<Node>, DeclaredError> {
        check_node(&wanted.metadata)?;
        let mut state = self.state();
        if self.graph.node(&NodeId::from(wanted.id.as_str())).is_some() {
            return Err(DeclaredError::duplicate(Kind::Node, &wanted.id));
        }
        let node = self.put_node(&wanted)?;
        let said = NodeDocument {
            metadata: wanted.metadata,
            ..NodeDocument::from(&*node)
        };
        self.note_expiry(&mut state, Kind::Node, node.id.as_str(), ttl);
        if let Err(error) = self.save(&state, Kind::Node, node.id.as_str(), &said) {
            self.graph.edit(|edit| edit.remove_node(&node.id));
            state.expiries.remove(Kind::Node, node.id.as_str());
            return Err(error);
        }
        state.nodes.insert(node.id.clone(), said);
        Ok(node)
    }

    /// Changes a node's metadata by a JSON patch of the node; `None` if that changes nothing. What
    /// identifies it (`Name`, `Type`, `TID`) stays, and so does all that is not metadata.
    ///
    /// The change of a node that was not declared lasts as long as nobody else writes that entry.
    pub(crate) fn patch_node(&self, id: &str, patch: &Patch) -> Result<Option<Arc<Node>>, DeclaredError> {
        let id = NodeId::from(id);
        let mut state = self.state();
        let (before, after) = loop {
            let before = self.graph.node(&id);
            let before = before.ok_or_else(|| DeclaredError::not_found(Kind::Node, id.as_str()))?;
            let mut metadata = patched(&*before, |node: Node| node.metadata, patch)?;
            keep_identity(&mut metadata, &before.metadata);
            check_growth(size(&before.metadata), &metadata)?;
            // Worked out without the graph's lock. What a watcher has written meanwhile is not lost: it is
            // worked out again.
            let after = self.graph.edit(|edit| {
                let node = |edit: &Edit<'_>| edit.snapshot().node(&id).map(Arc::clone);
                if node(edit).is_none_or(|node| !Arc::ptr_eq(&node, &before)) {
                    return Ok(None);
                }
                edit.update_node(&id, |old| *old = metadata)?;
                Ok::<_, DeclaredError>(node(edit))
            })?;
            if let Some(after) = after {
                break (before, after);
            }
        };
        if Arc::ptr_eq(&before, &after) {
            return Ok(None);
        }
        self.keep_node(&mut state, &before, &after)?;
        Ok(Some(after))
    }

    /// Deletes a node with its edges: a declared one, or a publisher's.
    pub(crate) fn delete_node(&self, id: &str) -> Result<(), DeclaredError> {
        self.remove_node(&mut self.state(), &NodeId::from(id))
    }

    /// Notes a change of a node that its publisher has made; if a user declared it, it is to last.
    pub(crate) fn node_changed(&self, before: &Node, after: &Node) -> Result<(), DeclaredError> {
        self.keep_node(&mut self.state(), before, after)
    }

    fn keep_node(&self, state: &mut State, before: &Node, after: &Node) -> Result<(), DeclaredError> {
        let Some(mut said) = state.nodes.get(&after.id).cloned() else {
            return Ok(());
        };
        carry_over(&before.metadata, &after.metadata, &mut said.metadata);
        self.save(state, Kind::Node, after.id.as_str(), &said)?;
        state.nodes.insert(after.id.clone(), said);
        Ok(())
    }

    pub(super) fn remove_node(&self, state: &mut State, id: &NodeId) -> Result<(), DeclaredError> {
        let snapshot = self.graph.snapshot();
        let declared = state.nodes.contains_key(id);
        match snapshot.node(id) {
            None if !declared => return Err(DeclaredError::not_found(Kind::Node, id.as_str())),
            Some(node) if !declared && self.is_watched(&node.origin) => {
                return Err(DeclaredError::WatchedNode(id.clone()));
            }
            _ => {}
        }
        // An edge of a node that comes back waits for it; this one does not come back.
        let edges = state.edges.values();
        let edges = edges.filter(|edge| edge.parent == *id || edge.child == *id);
        for edge in edges.map(|edge| edge.id.clone()).collect::<Vec<_>>() {
            self.strike(state, Kind::Edge, edge.as_str())?;
            state.edges.remove(&edge);
            state.unmade.remove(&edge);
        }
        if declared {
            self.strike(state, Kind::Node, id.as_str())?;
            state.nodes.remove(id);
        }
        self.graph.edit(|edit| edit.remove_node(id));
        Ok(())
    }

    pub(super) fn load_nodes(&self, state: &mut State) -> Result<(), DeclaredError> {
        for (id, stored) in self.stored::<NodeDocument>(Kind::Node)? {
            match self.put_node(&stored.resource) {
                Ok(node) => drop(state.nodes.insert(node.id.clone(), stored.resource)),
                Err(error) => tracing::error!(node = %id, %error, "a declared node cannot be made"),
            }
            state.expiries.restore(Kind::Node, &id, stored.expires_at);
        }
        Ok(())
    }

    fn put_node(&self, wanted: &NodeDocument) -> Result<Arc<Node>, DeclaredError> {
        let new = NewNode {
            id: (!wanted.id.is_empty()).then(|| wanted.id.as_str().into()),
            metadata: wanted.metadata.clone(),
            host: (!wanted.host.is_empty()).then(|| wanted.host.as_str().into()),
            origin: Some(origin(&self.graph).into()),
        };
        self.graph.edit(|edit| {
            let id = edit.put_node(new)?;
            let node = edit.snapshot().node(&id).map(Arc::clone);
            node.ok_or_else(|| DeclaredError::not_found(Kind::Node, id.as_str()))
        })
    }
}

//! What other programs say of the graph.
//!
//! Their nodes and edges carry their origin, live in memory alone, and go when they say so, or when
//! they go themselves if they asked for that. Of what a watcher sees they may say more, but not take
//! anything away, nor change what identifies it.

use std::collections::HashSet;
use std::sync::Arc;

use flowtap_topology::{EdgeId, Metadata, NewEdge, NewNode, Node, NodeId, path};
use serde::Deserialize;
use serde_json::Value;

use crate::declared::{
    Declared, DeclaredError, Kind, check_edge, check_ends, check_growth, check_node, keep_identity, size,
    too_deep,
};
use crate::wire::{EdgeDocument, NodeDocument, TopologyDocument};

/// A message about the graph.
#[derive(Debug)]
pub(crate) enum Publication {
    /// A node that is there; as it is now, if it was there before.
    Node(NodeDocument),
    /// A node that has changed.
    NodeChanged(NodeDocument),
    /// Entries of a node that have changed.
    NodeEntries(Entries),
    /// A node that has gone.
    NodeGone(NodeDocument),
    /// An edge that is there.
    Edge(EdgeDocument),
    /// An edge that has changed.
    EdgeChanged(EdgeDocument),
    /// Entries of an edge that have changed.
    EdgeEntries(Entries),
    /// An edge that has gone.
    EdgeGone(EdgeDocument),
    /// All that there is of this publisher.
    All(TopologyDocument),
}

/// Entries of an element's metadata that have changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entries {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    ops: Vec<Op>,
}

/// One entry that has changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Op {
    /// 1: it is `value` now; 2: it has gone.
    r#type: u8,
    /// Dots lead into objects.
    key: String,
    #[serde(default)]
    value: Value,
}

impl Publication {
    /// Reads the `Obj` of a message of type `kind`; `None` if there is no such type.
    ///
    /// # Errors
    /// What is wrong with `object`.
    pub(crate) fn read(kind: &str, object: Value) -> serde_json::Result<Option<Self>> {
        fn of<T: serde::de::DeserializeOwned>(
            object: Value,
            make: impl Fn(T) -> Publication,
        ) -> serde_json::Result<Option<Publication>> {
            Ok(Some(make(serde_json::from_value(object)?)))
        }
        match kind {
            "NodeAdded" => of(object, Self::Node),
            "NodeUpdated" => of(object, Self::NodeChanged),
            "NodePartiallyUpdated" => of(object, Self::NodeEntries),
            "NodeDeleted" => of(object, Self::NodeGone),
            "EdgeAdded" => of(object, Self::Edge),
            "EdgeUpdated" => of(object, Self::EdgeChanged),
            "EdgePartiallyUpdated" => of(object, Self::EdgeEntries),
            "EdgeDeleted" => of(object, Self::EdgeGone),
            "Sync" | "SyncReply" => of(object, Self::All),
            _ => Ok(None),
        }
    }
}

/// Another program that says what there is. Its calls may wait for the disk.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    declared: Arc<Declared>,
    origin: Arc<str>,
    /// The host of what does not say its own.
    host: Arc<str>,
}

impl Publisher {
    /// One whose elements are known by `origin`; `None` if that is what flowtap's own are known by.
    pub(crate) fn new(declared: &Arc<Declared>, origin: &str, host: &str) -> Option<Self> {
        let own = ["agent", "api"].map(|kind| format!("{kind}.{}", declared.graph().host_name()));
        (!own.iter().any(|own| own == origin)).then(|| Self {
            declared: Arc::clone(declared),
            origin: origin.into(),
            host: host.into(),
        })
    }

    /// Carries a message out.
    ///
    /// # Errors
    /// Why it cannot be, or not all of it.
    pub(crate) fn publish(&self, publication: Publication) -> Result<(), DeclaredError> {
        match publication {
            Publication::Node(node) => self.put_node(node, false),
            Publication::NodeChanged(node) => self.put_node(node, true),
            Publication::NodeEntries(entries) => self.change_node(&entries),
            Publication::NodeGone(node) => self.declared.delete_node(&node.id),
            Publication::Edge(edge) => self.put_edge(edge, false),
            Publication::EdgeChanged(edge) => self.put_edge(edge, true),
            Publication::EdgeEntries(entries) => self.change_edge(&entries),
            Publication::EdgeGone(edge) => self.declared.delete_edge(&edge.id),
            Publication::All(all) => self.replace(all),
        }
    }

    /// Removes all that is from this publisher.
    pub(crate) fn withdraw(&self) {
        self.remove_all_but(&HashSet::new(), &HashSet::new());
    }

    fn put_node(&self, node: NodeDocument, must_be_there: bool) -> Result<(), DeclaredError> {
        check_node(&node.metadata)?;
        let id = NodeId::from(node.id.as_str());
        let changed = self.declared.graph().edit(|edit| {
            let Some(before) = edit.snapshot().node(&id).map(Arc::clone) else {
                if must_be_there {
                    return Err(DeclaredError::not_found(Kind::Node, id.as_str()));
                }
                let host = if node.host.is_empty() {
                    Arc::clone(&self.host)
                } else {
                    node.host.into()
                };
                edit.put_node(NewNode {
                    id: (!node.id.is_empty()).then(|| id.clone()),
                    metadata: node.metadata,
                    host: Some(host),
                    origin: Some(Arc::clone(&self.origin)),
                })?;
                return Ok(None);
            };
            let mut metadata = node.metadata;
            if self.declared.is_watched(&before.origin) {
                let said = std::mem::replace(&mut metadata, before.metadata.clone());
                metadata.extend(said);
                keep_identity(&mut metadata, &before.metadata);
                check_growth(size(&before.metadata), &metadata)?;
            }
            edit.update_node(&id, |old| *old = metadata)?;
            Ok(edit.snapshot().node(&id).map(|after| (before, Arc::clone(after))))
        })?;
        self.note(changed)
    }

    /// Has a change kept that is to last.
    fn note(&self, changed: Option<(Arc<Node>, Arc<Node>)>) -> Result<(), DeclaredError> {
        match changed {
            Some((before, after)) => self.declared.node_changed(&before, &after),
            None => Ok(()),
        }
    }

    fn change_node(&self, entries: &Entries) -> Result<(), DeclaredError> {
        let id = NodeId::from(entries.id.as_str());
        let changed = self.declared.graph().edit(|edit| {
            let before = edit.snapshot().node(&id).map(Arc::clone);
            let before = before.ok_or_else(|| DeclaredError::not_found(Kind::Node, id.as_str()))?;
            let mut metadata = before.metadata.clone();
            entries.apply(&mut metadata)?;
            keep_identity(&mut metadata, &before.metadata);
            check_growth(size(&before.metadata), &metadata)?;
            edit.update_node(&id, |old| *old = metadata)?;
            let after = edit.snapshot().node(&id).map(Arc::clone);
            Ok::<_, DeclaredError>(after.map(|after| (before, after)))
        })?;
        self.note(changed)
    }

    fn put_edge(&self, edge: EdgeDocument, must_be_there: bool) -> Result<(), DeclaredError> {
        check_edge(&edge.metadata)?;
        let id = EdgeId::from(edge.id.as_str());
        self.declared.graph().edit(|edit| {
            let Some(before) = edit.snapshot().edge(&id).map(Arc::clone) else {
                if must_be_there {
                    return Err(DeclaredError::not_found(Kind::Edge, id.as_str()));
                }
                let host = if edge.host.is_empty() {
                    Arc::clone(&self.host)
                } else {
                    edge.host.into()
                };
                let new = NewEdge {
                    id: (!edge.id.is_empty()).then(|| id.clone()),
                    parent: edge.parent.into(),
                    child: edge.child.into(),
                    metadata: edge.metadata,
                    host: Some(host),
                    origin: Some(Arc::clone(&self.origin)),
                };
                check_ends(edit.snapshot(), &new)?;
                edit.put_edge(new)?;
                return Ok(());
            };
            if self.declared.is_watched(&before.origin) {
                return Err(DeclaredError::WatchedEdge(id.clone()));
            }
            edit.update_edge(&id, |metadata| *metadata = edge.metadata)?;
            Ok(())
        })?;
        self.declared.edge_changed(&id)
    }

    fn change_edge(&self, entries: &Entries) -> Result<(), DeclaredError> {
        let id = EdgeId::from(entries.id.as_str());
        self.declared.graph().edit(|edit| {
            let before = edit.snapshot().edge(&id).map(Arc::clone);
            let before = before.ok_or_else(|| DeclaredError::not_found(Kind::Edge, id.as_str()))?;
            if self.declared.is_watched(&before.origin) {
                return Err(DeclaredError::WatchedEdge(id.clone()));
            }
            let mut metadata = before.metadata.clone();
            entries.apply(&mut metadata)?;
            check_edge(&metadata)?;
            edit.update_edge(&id, |old| *old = metadata)?;
            Ok::<_, DeclaredError>(())
        })?;
        self.declared.edge_changed(&id)
    }

    /// What is not in `all` goes, the rest comes or changes. One element that is refused keeps no other.
    fn replace(&self, all: TopologyDocument) -> Result<(), DeclaredError> {
        let nodes = all.nodes.iter().map(|node| NodeId::from(node.id.as_str()));
        let edges = all.edges.iter().map(|edge| EdgeId::from(edge.id.as_str()));
        self.remove_all_but(&nodes.collect(), &edges.collect());
        let of = all.nodes.len() + all.edges.len();
        let nodes = all.nodes.into_iter().map(|node| self.put_node(node, false));
        let mut refused: Vec<_> = nodes.filter_map(Result::err).collect();
        let edges = all.edges.into_iter().map(|edge| self.put_edge(edge, false));
        refused.extend(edges.filter_map(Result::err));
        let count = refused.len();
        match refused.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(DeclaredError::Partly {
                refused: count,
                of,
                first: Box::new(first),
            }),
        }
    }

    fn remove_all_but(&self, nodes: &HashSet<NodeId>, edges: &HashSet<EdgeId>) {
        let snapshot = self.declared.graph().snapshot();
        let mine = snapshot.edges().filter(|edge| *edge.origin == *self.origin);
        for edge in mine.filter(|edge| !edges.contains(&edge.id)) {
            // Whoever was faster has done it.
            let _gone = self.declared.delete_edge(edge.id.as_str());
        }
        let mine = snapshot.nodes().filter(|node| *node.origin == *self.origin);
        for node in mine.filter(|node| !nodes.contains(&node.id)) {
            let _gone = self.declared.delete_node(node.id.as_str());
        }
    }
}

impl Entries {
    /// Nothing that a publisher says is dropped in silence: what is too deep for metadata is an error.
    fn apply(&self, metadata: &mut Metadata) -> Result<(), DeclaredError> {
        for op in &self.ops {
            match op.r#type {
                1 if !path::fits(&op.key, &op.value) => return Err(too_deep()),
                1 => path::set(metadata, &op.key, op.value.clone()),
                _ => path::remove(metadata, &op.key),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_set_and_removed_by_path() {
        let entries = json!({"ID": "x", "Ops": [
            {"Type": 1, "Key": "MTU", "Value": 9000},
            {"Type": 1, "Key": "Rack.Unit", "Value": 7},
            {"Type": 1, "Key": "Name.x", "Value": "in the way"},
            {"Type": 2, "Key": "ExtID.vm-id"},
            {"Type": 2, "Key": "none"},
        ]});
        let entries: Entries = serde_json::from_value(entries).unwrap();
        let mut metadata = json!({"Name": "a", "ExtID": {"vm-id": "7", "b": 1}});
        let metadata = metadata.as_object_mut().unwrap();
        entries.apply(metadata).unwrap();
        let expected = json!({"Name": "a", "MTU": 9000, "Rack": {"Unit": 7}, "ExtID": {"b": 1}});
        assert_eq!(&Value::Object(metadata.clone()), &expected);
    }

    #[test]
    fn keys_have_a_bound() {
        let entries = |parts: usize| {
            let key = vec!["a"; parts].join(".");
            serde_json::from_value::<Entries>(
                json!({"ID": "x", "Ops": [{"Type": 1, "Key": key, "Value": 5}]}),
            )
        };
        let mut metadata = Metadata::new();
        let refused = entries(30_000).unwrap().apply(&mut metadata).unwrap_err();
        assert!(refused.to_string().contains("32 levels"), "{refused}");
        assert!(metadata.is_empty());
        entries(32).unwrap().apply(&mut metadata).unwrap();
    }
}

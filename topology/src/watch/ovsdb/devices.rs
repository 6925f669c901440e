//! The interfaces of the graph by name: what rows may be about.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::element::Node;
use crate::event::Change;
use crate::graph::Graph;
use crate::identity::NodeId;
use crate::snapshot::Snapshot;

/// Nodes of this host with an ifindex by name. Bounded by the graph; some 150 bytes each.
#[derive(Debug)]
pub(super) struct Devices {
    host: Arc<str>,
    by_name: HashMap<Arc<str>, BTreeSet<NodeId>>,
}

/// The ifindex of a node.
pub(super) fn ifindex(node: &Node) -> Option<i64> {
    node.metadata.get("IfIndex").and_then(Value::as_i64)
}

impl Devices {
    /// Those of `snapshot` that are on `host`.
    pub(super) fn of(snapshot: &Snapshot, host: &Arc<str>) -> Self {
        let mut devices = Self {
            host: Arc::clone(host),
            by_name: HashMap::new(),
        };
        for node in snapshot.nodes() {
            devices.add(node);
        }
        devices
    }

    /// Nodes named `name`.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &NodeId> {
        self.by_name.get(name).into_iter().flatten()
    }

    /// Takes a change over. Returns the names that rows have to be looked up for anew.
    pub(super) fn apply(&mut self, change: &Change, graph: &Graph) -> [Option<Arc<str>>; 2] {
        match change {
            Change::NodeAdded(node) => [self.add(node), None],
            Change::NodeDeleted(node) => [self.remove(node), None],
            Change::NodeUpdated { node, before } => {
                let same = ["Name", "IfIndex", "MAC"]
                    .iter()
                    .all(|key| node.metadata.get(*key) == before.metadata.get(*key));
                if same {
                    return [None, None];
                }
                let before = self.remove(before);
                [before, self.add(node)]
            }
            // Where it is tells one from another of the same name.
            Change::EdgeAdded(edge) if edge.is_ownership() => {
                let child = graph.node(&edge.child);
                [child.and_then(|child| self.name(&child)), None]
            }
            Change::EdgeAdded(_) | Change::EdgeUpdated { .. } | Change::EdgeDeleted(_) => [None, None],
        }
    }

    fn add(&mut self, node: &Node) -> Option<Arc<str>> {
        let name = self.name(node)?;
        self.by_name
            .entry(Arc::clone(&name))
            .or_default()
            .insert(node.id.clone());
        Some(name)
    }

    fn remove(&mut self, node: &Node) -> Option<Arc<str>> {
        let name = self.name(node)?;
        let nodes = self.by_name.get_mut(&name)?;
        nodes.remove(&node.id);
        if nodes.is_empty() {
            self.by_name.remove(&name);
        }
        Some(name)
    }

    /// The name of an interface of this host.
    fn name(&self, node: &Node) -> Option<Arc<str>> {
        ifindex(node)?;
        (node.host == self.host).then(|| node.name().map(Arc::from))?
    }
}

//! The fabric: switches, ports and cables that nothing watches, drawn in the configuration, and linked
//! with the interfaces that are watched.
//!
//! ```
//! use std::sync::Arc;
//! use flowtap_topology::{Graph, NodeSpec, fabric::{Fabric, FabricLink}};
//!
//! let graph = Arc::new(Graph::new("compute-1"));
//! let links: [FabricLink; 2] = [
//!     "TOR1[Name=tor1] -> TOR1_PORT1[Name=port1]".parse()?,
//!     "TOR1_PORT1 --> *[Type=host, Name=compute-1]/eth0".parse()?,
//! ];
//! let fabric = Fabric::new(Arc::clone(&graph), links);
//! let eth0 = graph.upsert_node(NodeSpec::new(graph.host(), "device", "eth0"))?;
//! fabric.apply(); // `Fabric::follow` does it whenever the graph changes
//! let snapshot = graph.snapshot();
//! let cable = snapshot.in_edges(&eth0).iter().find(|edge| edge.relation() == "layer2");
//! assert!(cable.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::element::{LAYER2, Metadata, OWNERSHIP};
use crate::error::TopologyError;
use crate::follow::follow;
use crate::graph::{Graph, NewEdge, NewNode};
use crate::identity::{EdgeId, NodeId};
use crate::path;
use crate::snapshot::Snapshot;

mod parse;
#[cfg(test)]
mod tests;

use parse::{FabricChild, FabricNode, has_all};
pub use parse::{FabricError, FabricLink};

/// Links that the configuration draws, and what they have made of one graph.
#[derive(Debug)]
pub struct Fabric {
    graph: Arc<Graph>,
    nodes: HashMap<NodeId, Metadata>,
    /// Between two nodes of the fabric.
    edges: HashMap<EdgeId, NewEdge>,
    cables: Vec<Cable>,
    made: Mutex<Made>,
}

/// What has come of it.
#[derive(Debug, Default)]
struct Made {
    /// Edges that cables have made.
    plugged: HashMap<EdgeId, NewEdge>,
    /// Why something is missing; it is told once.
    failure: Option<TopologyError>,
}

/// A link from a node of the fabric to whatever matches.
#[derive(Debug)]
struct Cable {
    from: NodeId,
    /// What the one that matches hangs on.
    parent: Vec<(String, String)>,
    entries: Vec<(String, String)>,
    metadata: Metadata,
}

impl Fabric {
    /// The fabric of `links`, and makes it. A node that several links speak of has the entries of all.
    ///
    /// Its ID, and its TID, are made of its name, as Skydive's.
    #[must_use]
    pub fn new(graph: Arc<Graph>, links: impl IntoIterator<Item = FabricLink>) -> Self {
        let mut fabric = Self {
            graph,
            nodes: HashMap::new(),
            edges: HashMap::new(),
            cables: Vec::new(),
            made: Mutex::default(),
        };
        for link in links {
            fabric.add(link);
        }
        fabric.apply();
        fabric
    }

    /// Makes the graph what the fabric says. What there is no room for is told, and is missing.
    pub fn apply(&self) {
        let current = self.graph.snapshot();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Made { plugged, failure } = &mut *made;
        let matching = self.matching(&current, plugged);
        let has_node = |id| current.node(id).is_some();
        let has_edge = |id| current.edge(id).is_some();
        let is_made =
            self.nodes.keys().all(has_node) && self.edges.keys().chain(matching.keys()).all(has_edge);
        if is_made && plugged.keys().all(|id| matching.contains_key(id)) {
            return;
        }
        drop(current);
        let mut failed = None;
        self.graph.edit(|edit| {
            for (id, metadata) in &self.nodes {
                if edit.snapshot().node(id).is_none() {
                    let node = NewNode {
                        id: Some(id.clone()),
                        metadata: metadata.clone(),
                        ..NewNode::default()
                    };
                    failed = edit.put_node(node).err().or(failed.take());
                }
            }
            plugged.retain(|id, _| {
                let keep = matching.contains_key(id);
                if !keep {
                    edit.unlink(id);
                }
                keep
            });
            for (id, edge) in self.edges.iter().chain(&matching) {
                if edit.snapshot().edge(id).is_none() {
                    failed = edit.put_edge(edge.clone()).err().or(failed.take());
                }
            }
            plugged.extend(matching);
        });
        if let Some(error) = failed.as_ref().filter(|error| failure.as_ref() != Some(error)) {
            tracing::warn!(%error, "the fabric of the configuration is not whole");
        }
        *failure = failed;
    }

    /// Keeps the graph what the fabric says, until the future is dropped.
    pub async fn follow(self: &Arc<Self>) {
        let fabric = Arc::clone(self);
        follow(&self.graph, move || fabric.apply()).await;
    }

    fn add(&mut self, link: FabricLink) {
        let parent = self.node(&link.parent);
        let mut metadata = Metadata::new();
        metadata.insert("Type".to_owned(), "fabric".into());
        set_all(&mut metadata, &link.entries);
        metadata.insert("RelationType".to_owned(), LAYER2.into());
        match link.child {
            FabricChild::Node(child) => {
                let child = self.node(&child);
                if link.owns {
                    self.edge(NewEdge::new(&parent, &child, OWNERSHIP), OWNERSHIP);
                }
                let mut edge = NewEdge::new(&parent, &child, LAYER2);
                edge.metadata = metadata;
                self.edge(edge, LAYER2);
            }
            FabricChild::Any { parent: of, entries } => self.cables.push(Cable {
                from: parent,
                parent: of,
                entries,
                metadata,
            }),
        }
    }

    fn edge(&mut self, mut edge: NewEdge, relation: &str) {
        let id = EdgeId::of(&edge.parent, &edge.child, relation);
        edge.id = Some(id.clone());
        self.edges.insert(id, edge);
    }

    fn node(&mut self, node: &FabricNode) -> NodeId {
        let id = NodeId::of(&["fabric", &node.key]);
        let metadata = self.nodes.entry(id.clone()).or_insert_with(|| {
            let entries = [("Name", node.key.as_str()), ("Type", "device")];
            let entries = entries.map(|(key, text)| (key.to_owned(), Value::from(text)));
            Metadata::from_iter(entries)
        });
        set_all(metadata, &node.entries);
        // Nobody may say otherwise: it makes the ID the TID.
        metadata.insert("Probe".to_owned(), "fabric".into());
        id
    }

    /// The edges that cables want in `graph`. What else links the same two already will do.
    fn matching(&self, graph: &Snapshot, plugged: &HashMap<EdgeId, NewEdge>) -> HashMap<EdgeId, NewEdge> {
        let mut matching = HashMap::new();
        if self.cables.is_empty() {
            return matching;
        }
        for node in graph.nodes() {
            for cable in self
                .cables
                .iter()
                .filter(|cable| has_all(&node.metadata, &cable.entries))
            {
                let id = EdgeId::of(&cable.from, &node.id, LAYER2);
                let hangs = graph.in_edges(&node.id).iter().any(|edge| {
                    let parent = graph.node(&edge.parent);
                    let ours = plugged.contains_key(&edge.id);
                    !ours && parent.is_some_and(|parent| has_all(&parent.metadata, &cable.parent))
                });
                let other = graph.edge(&id).is_some() && !plugged.contains_key(&id);
                if hangs && !other && node.id != cable.from {
                    let mut edge = NewEdge::new(&cable.from, &node.id, LAYER2);
                    edge.id = Some(id.clone());
                    edge.metadata = cable.metadata.clone();
                    matching.insert(id, edge);
                }
            }
        }
        matching
    }
}

fn set_all(metadata: &mut Metadata, entries: &[(String, String)]) {
    for (key, text) in entries {
        path::set(metadata, key, text.as_str().into());
    }
}

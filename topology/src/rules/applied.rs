//! What rules have done, and how it is undone.

use std::collections::HashMap;

use serde_json::Value;

use super::model::{Action, NodeRule};
use super::overlay::Overlay;
use super::wanted::{Edges, Entries, Problems};
use crate::element::Metadata;
use crate::graph::{Graph, NewNode};
use crate::identity::{EdgeId, NodeId};
use crate::snapshot::Snapshot;

/// What rules have done to a graph.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Nodes that they made, and with what.
    nodes: HashMap<NodeId, Metadata>,
    /// Entries that they set.
    entries: HashMap<NodeId, OnNode>,
    /// Edges that they made, and with what.
    edges: HashMap<EdgeId, Metadata>,
}

/// What rules have set on one node.
#[derive(Debug)]
struct OnNode {
    /// By path, in the order of the rules.
    wanted: Vec<(String, Value)>,
    overlay: Overlay,
}

impl Applied {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.entries.is_empty() && self.edges.is_empty()
    }

    /// Makes the nodes of `create` rules, and removes those that none wants any more. A node that is
    /// there by itself is left as it is.
    pub(super) fn create(&mut self, graph: &Graph, rules: &[NodeRule], problems: &mut Problems) {
        let mut wanted = HashMap::new();
        for rule in rules.iter().filter(|rule| rule.action == Action::Create) {
            if let Some(id) = rule.created_id() {
                let metadata = rule.created_metadata(&id);
                wanted.insert(id, (metadata, &rule.uuid));
            }
        }
        let current = graph.snapshot();
        let is_made = |id: &NodeId, metadata: &Metadata| {
            current.node(id).is_some() && self.nodes.get(id).is_none_or(|made| made == metadata)
        };
        let all_made = wanted.iter().all(|(id, (metadata, _))| is_made(id, metadata));
        if all_made && self.nodes.keys().all(|id| wanted.contains_key(id)) {
            return;
        }
        drop(current);
        graph.edit(|edit| {
            self.nodes.retain(|id, _| {
                let keep = wanted.contains_key(id);
                if !keep {
                    edit.remove_node(id);
                }
                keep
            });
            for (id, (metadata, uuid)) in wanted {
                let made = match (edit.snapshot().node(&id).is_some(), self.nodes.get(&id)) {
                    (true, None) => continue,
                    (true, Some(made)) if *made == metadata => continue,
                    (true, Some(_)) => edit.replace_metadata(&id, metadata.clone()),
                    (false, _) => edit
                        .put_node(NewNode {
                            id: Some(id.clone()),
                            metadata: metadata.clone(),
                            ..NewNode::default()
                        })
                        .map(drop),
                };
                match made {
                    Ok(()) => drop(self.nodes.insert(id, metadata)),
                    Err(problem) => drop(problems.insert(uuid.clone(), problem.into())),
                }
            }
        });
    }

    /// Takes entries and edges of rules off `graph`.
    pub(super) fn take_off(&self, graph: &mut Snapshot) {
        for (id, applied) in &self.entries {
            if let Some(node) = graph.node_mut(id) {
                applied.overlay.take_off(&mut node.metadata);
            }
        }
        for id in self.edges.keys() {
            graph.remove_edge(id);
        }
    }

    /// Makes `graph` have these entries and edges of rules, and no others.
    pub(super) fn update(&mut self, graph: &Graph, entries: Entries, edges: Edges, problems: &mut Problems) {
        // Looked at first, without the lock: mostly there is nothing to do.
        let current = graph.snapshot();
        let same_entries = self.entries.len() == entries.len()
            && entries
                .iter()
                .all(|(id, wanted)| self.has_entries(id, wanted, &current));
        let same_edges = self.edges.len() == edges.len()
            && edges.iter().all(|(id, (edge, _))| {
                self.edges.get(id) == Some(&edge.metadata) && current.edge(id).is_some()
            });
        drop(current);
        if same_entries && same_edges {
            return;
        }
        self.update_entries(graph, entries);
        self.update_edges(graph, edges, problems);
    }

    /// Whether `wanted` is on a node already, and would not be otherwise by now.
    fn has_entries(&self, id: &NodeId, wanted: &[(String, Value)], graph: &Snapshot) -> bool {
        let (Some(node), Some(applied)) = (graph.node(id), self.entries.get(id)) else {
            return false;
        };
        if applied.wanted != wanted {
            return false;
        }
        let mut metadata = node.metadata.clone();
        applied.overlay.take_off(&mut metadata);
        let overlay = Overlay::put_on(wanted, &mut metadata);
        overlay == applied.overlay && metadata == node.metadata
    }

    fn update_entries(&mut self, graph: &Graph, wanted: Entries) {
        let mut before = std::mem::take(&mut self.entries);
        graph.edit_in_turns(wanted, |edit, (id, wanted)| {
            let old = before.remove(&id).map(|applied| applied.overlay);
            let mut overlay = Overlay::default();
            let updated = edit.update_node(&id, |metadata| {
                old.unwrap_or_default().take_off(metadata);
                overlay = Overlay::put_on(&wanted, metadata);
            });
            // The node may have gone since the query was answered.
            if updated.is_ok() {
                self.entries.insert(id, OnNode { wanted, overlay });
            }
        });
        graph.edit_in_turns(before, |edit, (id, old)| {
            let _gone = edit.update_node(&id, |metadata| old.overlay.take_off(metadata));
        });
    }

    fn update_edges(&mut self, graph: &Graph, wanted: Edges, problems: &mut Problems) {
        let gone: Vec<_> = self.edges.extract_if(|id, _| !wanted.contains_key(id)).collect();
        graph.edit_in_turns(gone, |edit, (id, _)| {
            edit.unlink(&id);
        });
        graph.edit_in_turns(wanted, |edit, (id, (edge, uuid))| {
            let metadata = edge.metadata.clone();
            let made = match (edit.snapshot().edge(&id).is_some(), self.edges.get(&id)) {
                (true, Some(made)) if *made == metadata => return,
                (true, Some(_)) => edit.replace_edge_metadata(&id, metadata.clone()),
                // Somebody else has just linked them.
                (true, None) => return,
                (false, _) => edit.put_edge(edge).map(drop),
            };
            match made {
                Ok(()) => drop(self.edges.insert(id, metadata)),
                Err(problem) => {
                    self.edges.remove(&id);
                    problems.insert(uuid, problem.into());
                }
            }
        });
    }
}

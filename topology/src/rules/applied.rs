//! What rules have done, and how it is undone.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::model::{Action, NodeRule};
use super::wanted::{Edges, Entries, Problems};
use crate::element::Metadata;
use crate::graph::{Edit, Graph, NewNode};
use crate::identity::{EdgeId, NodeId};
use crate::path;
use crate::snapshot::Snapshot;

/// What rules have done to a graph.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Nodes that they made, and with what.
    nodes: HashMap<NodeId, Metadata>,
    /// Entries that they set, by path.
    entries: HashMap<NodeId, BTreeMap<String, Entry>>,
    /// Edges that they made, and with what.
    edges: HashMap<EdgeId, Metadata>,
}

/// An entry of a node's metadata that a rule has set.
#[derive(Clone, Debug)]
struct Entry {
    ours: Value,
    /// What stood there.
    before: Option<Value>,
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

    /// Takes entries and edges of rules off `graph`, and notes what others have written over them.
    pub(super) fn take_off(&mut self, graph: &mut Snapshot) {
        self.entries.retain(|id, entries| {
            let Some(node) = graph.node_mut(id) else {
                return false;
            };
            for (key, entry) in entries {
                entry.look_at(path::get(&node.metadata, key));
                restore(&mut node.metadata, key, entry.before.clone());
            }
            true
        });
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
        graph.edit(|edit| {
            self.update_entries(edit, entries);
            self.update_edges(edit, edges, problems);
        });
    }

    fn has_entries(&self, id: &NodeId, wanted: &BTreeMap<String, Value>, graph: &Snapshot) -> bool {
        let (Some(node), Some(set)) = (graph.node(id), self.entries.get(id)) else {
            return false;
        };
        set.len() == wanted.len()
            && wanted.iter().all(|(key, value)| {
                let ours = set.get(key).is_some_and(|entry| entry.ours == *value);
                ours && path::get(&node.metadata, key) == Some(value)
            })
    }

    fn update_entries(&mut self, edit: &mut Edit<'_>, wanted: Entries) {
        let mut before = std::mem::take(&mut self.entries);
        for (id, wanted) in wanted {
            let mut old = before.remove(&id).unwrap_or_default();
            let mut set = BTreeMap::new();
            let updated = edit.update_node(&id, |metadata| {
                take_back(metadata, &old, |key| !wanted.contains_key(key));
                for (key, ours) in wanted {
                    let found = path::get(metadata, &key);
                    let entry = match old.remove(&key) {
                        Some(mut entry) => {
                            entry.look_at(found);
                            Entry { ours, ..entry }
                        }
                        None => Entry {
                            before: found.cloned(),
                            ours,
                        },
                    };
                    path::set(metadata, &key, entry.ours.clone());
                    set.insert(key, entry);
                }
            });
            // The node may have gone since the query was answered.
            if updated.is_ok() {
                self.entries.insert(id, set);
            }
        }
        for (id, old) in before {
            let _gone = edit.update_node(&id, |metadata| take_back(metadata, &old, |_| true));
        }
    }

    fn update_edges(&mut self, edit: &mut Edit<'_>, wanted: Edges, problems: &mut Problems) {
        self.edges.retain(|id, _| {
            let keep = wanted.contains_key(id);
            if !keep {
                edit.unlink(id);
            }
            keep
        });
        for (id, (edge, uuid)) in wanted {
            let metadata = edge.metadata.clone();
            let made = match (edit.snapshot().edge(&id).is_some(), self.edges.get(&id)) {
                (true, Some(made)) if *made == metadata => continue,
                (true, Some(_)) => edit.replace_edge_metadata(&id, metadata.clone()),
                // Somebody else has just linked them.
                (true, None) => continue,
                (false, _) => edit.put_edge(edge).map(drop),
            };
            match made {
                Ok(()) => drop(self.edges.insert(id, metadata)),
                Err(problem) => {
                    self.edges.remove(&id);
                    problems.insert(uuid, problem.into());
                }
            }
        }
    }
}

impl Entry {
    /// Notes what stands there now: if it is not ours, somebody has written over it, and that is what
    /// comes back.
    fn look_at(&mut self, found: Option<&Value>) {
        if found != Some(&self.ours) {
            self.before = found.cloned();
        }
    }
}

/// Puts back what stood where the entries of `old` are that are to `go`.
fn take_back(metadata: &mut Metadata, old: &BTreeMap<String, Entry>, go: impl Fn(&str) -> bool) {
    for (key, entry) in old.iter().filter(|(key, _)| go(key)) {
        if path::get(metadata, key) == Some(&entry.ours) {
            restore(metadata, key, entry.before.clone());
        }
    }
}

fn restore(metadata: &mut Metadata, key: &str, before: Option<Value>) {
    match before {
        Some(before) => path::set(metadata, key, before),
        None => path::remove(metadata, key),
    }
}

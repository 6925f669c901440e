//! What captures write at the nodes where they are: `Captures`, a list as Skydive has it.

use std::collections::HashMap;
use std::sync::Arc;

use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_topology::{Graph, Metadata, Node, NodeId};
use serde_json::Value;

use crate::declare::CAPTURES;
use crate::document::NodeState;
use crate::entry::{Entry, Seen};

/// Names of counters in an entry: they change without a revision.
const COUNTERS: [&str; 3] = ["PacketsReceived", "PacketsDropped", "PacketsIfDropped"];

/// What was written at each node, and what is counted there.
#[derive(Default)]
pub(super) struct Written {
    nodes: HashMap<NodeId, Vec<Line>>,
}

/// One capture in a node's list.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Without counters.
    entry: Metadata,
    ledger: Arc<Ledger>,
    /// The counters as they were last written.
    counted: [u64; COUNTERS.len()],
}

/// The line of a capture at a node: there is one while it is active there, and where it failed.
pub(super) fn line(entry: &Entry, seen: &Seen) -> Option<Line> {
    let node = &seen.node;
    let is_shown = match node.state {
        NodeState::Active => true,
        NodeState::Error => !seen.is_refused,
        NodeState::Waiting | NodeState::Starting | NodeState::Done => false,
    };
    if !is_shown {
        return None;
    }
    let new = &entry.declared.new;
    let error = if node.state == NodeState::Error {
        &node.reason
    } else {
        ""
    };
    let texts = [
        ("ID", entry.id()),
        ("State", node.state.as_str()),
        ("Name", &new.name),
        ("Description", &new.description),
        ("BPFFilter", &new.bpf_filter),
        ("Type", &node.r#type),
        ("PCAPSocket", &node.pcap_socket),
        ("SFlowSocket", &node.sflow_socket),
        ("Error", error),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    Some(Line {
        entry: texts.map(|(key, text)| (key.to_owned(), text.into())).collect(),
        ledger: Arc::clone(&seen.ledger),
        counted: [0; COUNTERS.len()],
    })
}

impl Line {
    fn count(&self) -> [u64; COUNTERS.len()] {
        let ledger = self.ledger.snapshot();
        [
            ledger.received,
            ledger.dropped_for(DropReason::Kernel),
            ledger.if_dropped,
        ]
    }

    fn value(&mut self) -> Value {
        self.counted = self.count();
        let mut entry = self.entry.clone();
        for (key, count) in COUNTERS.into_iter().zip(self.counted) {
            if count > 0 {
                entry.insert(key.to_owned(), count.into());
            }
        }
        Value::Object(entry)
    }
}

/// What differs between two versions of a node is `Captures` alone.
pub(super) fn is_ours(node: &Node, before: &Node) -> bool {
    let others = |node: &Node| node.metadata.len() - usize::from(node.metadata.contains_key(CAPTURES));
    node.metadata.get(CAPTURES) != before.metadata.get(CAPTURES)
        && others(node) == others(before)
        && node
            .metadata
            .iter()
            .all(|(key, value)| key == CAPTURES || before.metadata.get(key) == Some(value))
}

impl Written {
    /// Whether a node says what was written, counters aside. One that was made anew, or that somebody else
    /// wrote, does not.
    pub(super) fn is_at(&self, node: &Node) -> bool {
        let lines = self.nodes.get(&node.id).map_or(&[] as &[Line], Vec::as_slice);
        match node.metadata.get(CAPTURES) {
            None => lines.is_empty(),
            Some(Value::Array(list)) => {
                list.len() == lines.len()
                    && list.iter().zip(lines).all(|(said, line)| {
                        said.as_object().is_some_and(|said| {
                            let mut said = said.iter().filter(|(key, _)| !COUNTERS.contains(&key.as_str()));
                            said.clone().count() == line.entry.len()
                                && said.all(|(key, value)| line.entry.get(key) == Some(value))
                        })
                    })
            }
            Some(_) => false,
        }
    }

    /// Whether something was written at a node that must be taken back some time.
    pub(super) fn is_anything_at(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// Makes the nodes say `wanted`, in one edit. What they say already makes no revision.
    pub(super) fn write(&mut self, graph: &Graph, wanted: HashMap<NodeId, Vec<Line>>) {
        if wanted.is_empty() {
            return;
        }
        graph.edit(|edit| {
            for (id, mut lines) in wanted {
                let Some(node) = edit.snapshot().node(&id).cloned() else {
                    self.nodes.remove(&id);
                    continue;
                };
                let list: Vec<Value> = lines.iter_mut().map(Line::value).collect();
                if lines.is_empty() {
                    self.nodes.remove(&id);
                } else {
                    self.nodes.insert(id.clone(), lines);
                }
                if self.is_at(&node) {
                    continue;
                }
                // The node was there a moment ago, and nobody else edits the graph now.
                let _written = edit.update_node(&id, |metadata| {
                    if list.is_empty() {
                        metadata.remove(CAPTURES);
                    } else {
                        metadata.insert(CAPTURES.to_owned(), list.into());
                    }
                });
            }
        });
    }

    /// Whether there is anything to count.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Writes the counters that have changed.
    pub(super) fn count(&mut self, graph: &Graph) {
        let changed: Vec<_> = self
            .nodes
            .iter_mut()
            .filter(|(_, lines)| lines.iter().any(|line| line.count() != line.counted))
            .collect();
        if changed.is_empty() {
            return;
        }
        graph.edit(|edit| {
            for (id, lines) in changed {
                let is_there = edit.snapshot().node(id);
                if !is_there.is_some_and(|node| node.metadata.contains_key(CAPTURES)) {
                    continue;
                }
                let _counted = edit.update_metrics(id, CAPTURES, |list| {
                    *list = lines.iter_mut().map(Line::value).collect();
                });
            }
        });
    }
}

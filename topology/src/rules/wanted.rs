//! What rules want of a graph.

use std::collections::HashMap;

use serde_json::Value;

use super::model::{Action, EdgeRule, NodeRule};
use super::{MAX_EDGES_OF_RULE, RuleError, Selector};
use crate::element::{Metadata, OWNERSHIP};
use crate::graph::NewEdge;
use crate::identity::{EdgeId, NodeId};
use crate::path;
use crate::snapshot::Snapshot;

/// Entries of nodes' metadata, by path, in the order of the rules: a later one wins.
pub(super) type Entries = HashMap<NodeId, Vec<(String, Value)>>;
/// Edges, and the rule that wants each.
pub(super) type Edges = HashMap<EdgeId, (NewEdge, String)>;

/// What cannot be had, by the rule's UUID.
pub(super) type Problems = HashMap<String, RuleError>;

/// The nodes that `query` names in `graph`.
pub(super) fn ask(selector: &dyn Selector, query: &str, graph: &Snapshot) -> Result<Vec<NodeId>, RuleError> {
    let selected = selector.select(query, graph);
    selected.map_err(|reason| RuleError::Query {
        query: query.to_owned(),
        reason,
    })
}

/// What `update` rules want to stand in which nodes.
pub(super) fn entries(
    rules: &[NodeRule],
    graph: &Snapshot,
    selector: &dyn Selector,
    problems: &mut Problems,
) -> Entries {
    let mut entries = Entries::new();
    for rule in rules.iter().filter(|rule| rule.action == Action::Update) {
        match ask(selector, &rule.query, graph) {
            Ok(nodes) => {
                for id in nodes {
                    let added = rule
                        .metadata
                        .iter()
                        .map(|(key, value)| (key.clone(), value.clone()));
                    entries.entry(id).or_default().extend(added);
                }
            }
            Err(problem) => drop(problems.insert(rule.uuid.clone(), problem)),
        }
    }
    entries
}

/// Adds `entries` to `graph`.
pub(super) fn put_on(entries: &Entries, graph: &mut Snapshot) {
    for (id, entries) in entries {
        if let Some(node) = graph.node_mut(id) {
            for (key, value) in entries {
                path::set(&mut node.metadata, key, value.clone());
            }
        }
    }
}

/// The edges that edge rules want.
pub(super) fn edges(
    rules: &[EdgeRule],
    graph: &Snapshot,
    selector: &dyn Selector,
    problems: &mut Problems,
) -> Edges {
    let mut edges = Edges::new();
    for rule in rules {
        let ends =
            ask(selector, &rule.src, graph).and_then(|src| Ok((src, ask(selector, &rule.dst, graph)?)));
        let linked = ends.and_then(|(src, dst)| link(rule, &src, &dst, graph, &mut edges));
        if let Err(problem) = linked {
            problems.insert(rule.uuid.clone(), problem);
        }
    }
    edges
}

/// Every one of `src` with every one of `dst` but itself. What a watcher has linked is not ours, and
/// where it says who owns a node, it is right: the last such node is told.
fn link(
    rule: &EdgeRule,
    src: &[NodeId],
    dst: &[NodeId],
    graph: &Snapshot,
    edges: &mut Edges,
) -> Result<(), RuleError> {
    if src.len().saturating_mul(dst.len()) > MAX_EDGES_OF_RULE {
        return Err(RuleError::TooManyEdges {
            src: src.len(),
            dst: dst.len(),
        });
    }
    let mut owned = Ok(());
    for (parent, child) in src
        .iter()
        .flat_map(|parent| dst.iter().map(move |child| (parent, child)))
    {
        let id = EdgeId::of(parent, child, rule.relation());
        if parent == child || graph.edge(&id).is_some() || edges.contains_key(&id) {
            continue;
        }
        let owner = graph.ownership_of(child).filter(|_| rule.relation() == OWNERSHIP);
        if let Some(ownership) = owner {
            owned = Err(RuleError::Owned {
                child: child.clone(),
                owner: ownership.parent.clone(),
            });
            continue;
        }
        let mut edge = NewEdge::new(parent, child, rule.relation());
        edge.id = Some(id.clone());
        edge.metadata = Metadata::clone(&rule.metadata);
        edges.insert(id, (edge, rule.uuid.clone()));
    }
    owned
}

//! Rules by which users add to the graph what no watcher knows.
//!
//! A rule holds as long as it is there: for the nodes of now, and for those that come, go, and change.
//! What it has added goes with it, and entries that it has overwritten come back.
//!
//! **Rules do not feed on themselves.** Nodes of `create` rules come first; `update` rules are asked
//! over the graph without what `update` rules have added; edge rules over the graph with that, but
//! without what edge rules have linked. So a rule that adds what its own query excludes neither
//! flickers nor loops, and the same graph and rules always give the same result.
//!
//! The language of the queries is not known here: a [`Selector`] answers them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::TopologyError;
use crate::follow::follow;
use crate::graph::Graph;
use crate::identity::NodeId;
use crate::snapshot::Snapshot;

mod applied;
mod model;
mod overlay;
#[cfg(test)]
mod tests;
mod wanted;

use applied::Applied;
pub use model::{Action, EdgeRule, NodeRule};

/// Edges of one rule, some 500 bytes each: two queries that name 1,000 nodes each are a mistake.
const MAX_EDGES_OF_RULE: usize = 10_000;

/// Answers queries over a graph.
pub trait Selector: Send + Sync {
    /// The nodes that `query` names in `snapshot`. The error says what is wrong, for people.
    ///
    /// # Errors
    /// Why the query cannot be answered.
    fn select(&self, query: &str, snapshot: &Snapshot) -> Result<Vec<NodeId>, String>;
}

impl<F: Fn(&str, &Snapshot) -> Result<Vec<NodeId>, String> + Send + Sync> Selector for F {
    fn select(&self, query: &str, snapshot: &Snapshot) -> Result<Vec<NodeId>, String> {
        self(query, snapshot)
    }
}

/// Why a rule was refused, or cannot do all that it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A node without a name.
    #[error("a rule that creates a node needs Name and Type in Metadata")]
    NoNameOrType,
    /// Nothing to add.
    #[error("a rule that updates nodes needs Metadata")]
    NoMetadata,
    /// A query is missing: `Query`, `Src` or `Dst`.
    #[error("the rule needs {0}, a query that names nodes")]
    NoQuery(&'static str),
    /// Edges without a relation.
    #[error("an edge rule needs RelationType in Metadata")]
    NoRelation,
    /// A query cannot be answered.
    #[error("failed to find the nodes of `{query}`: {reason}")]
    Query {
        /// The query.
        query: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two queries name too many nodes.
    #[error(
        "{src} nodes can't be linked with {dst}, a rule makes up to {MAX_EDGES_OF_RULE} edges; name fewer"
    )]
    TooManyEdges {
        /// How many nodes `Src` names.
        src: usize,
        /// How many nodes `Dst` names.
        dst: usize,
    },
    /// A watcher knows better.
    #[error("node {child} has an owner already, {owner}")]
    Owned {
        /// What the rule would own.
        child: NodeId,
        /// Who owns it.
        owner: NodeId,
    },
    /// The graph did not take it.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// All rules, and what they have done to one graph.
pub struct Rules {
    graph: Arc<Graph>,
    selector: Box<dyn Selector>,
    state: Mutex<State>,
}

/// Rules in the order in which they were made: where two set the same entry, the later one wins.
#[derive(Debug, Default)]
struct State {
    node_rules: Vec<NodeRule>,
    edge_rules: Vec<EdgeRule>,
    applied: Applied,
    /// What keeps which rule from doing all that it should.
    problems: HashMap<String, RuleError>,
}

impl Rules {
    /// No rules yet, for `graph`; `selector` answers their queries.
    #[must_use]
    pub fn new(graph: Arc<Graph>, selector: impl Selector + 'static) -> Self {
        Self {
            graph,
            selector: Box::new(selector),
            state: Mutex::default(),
        }
    }

    /// Makes a rule, or replaces the one with its UUID. It has taken effect when this returns.
    ///
    /// # Errors
    /// [`RuleError`], if it lacks something, or its query cannot be answered.
    pub fn put_node_rule(&self, rule: NodeRule) -> Result<(), RuleError> {
        rule.check()?;
        if rule.action == Action::Update {
            self.try_query(&rule.query)?;
        }
        let mut state = self.state();
        match state.node_rules.iter_mut().find(|other| other.uuid == rule.uuid) {
            Some(other) => *other = rule,
            None => state.node_rules.push(rule),
        }
        self.apply_to(&mut state);
        Ok(())
    }

    /// As [`Rules::put_node_rule`].
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn put_edge_rule(&self, rule: EdgeRule) -> Result<(), RuleError> {
        rule.check()?;
        self.try_query(&rule.src)?;
        self.try_query(&rule.dst)?;
        let mut state = self.state();
        match state.edge_rules.iter_mut().find(|other| other.uuid == rule.uuid) {
            Some(other) => *other = rule,
            None => state.edge_rules.push(rule),
        }
        self.apply_to(&mut state);
        Ok(())
    }

    /// Removes a rule and what it has added. Returns whether it was there.
    pub fn remove_node_rule(&self, uuid: &str) -> bool {
        let mut state = self.state();
        let before = state.node_rules.len();
        state.node_rules.retain(|rule| rule.uuid != uuid);
        let removed = state.node_rules.len() < before;
        self.apply_to(&mut state);
        removed
    }

    /// Removes a rule and the edges that it has made. Returns whether it was there.
    pub fn remove_edge_rule(&self, uuid: &str) -> bool {
        let mut state = self.state();
        let before = state.edge_rules.len();
        state.edge_rules.retain(|rule| rule.uuid != uuid);
        let removed = state.edge_rules.len() < before;
        self.apply_to(&mut state);
        removed
    }

    /// What keeps the rule `uuid` from doing all that it should.
    #[must_use]
    pub fn problem(&self, uuid: &str) -> Option<RuleError> {
        self.state().problems.get(uuid).cloned()
    }

    /// Makes the graph what the rules say.
    pub fn apply(&self) {
        self.apply_to(&mut self.state());
    }

    /// Keeps the graph what the rules say, until the future is dropped.
    pub async fn follow(self: &Arc<Self>) {
        let rules = Arc::clone(self);
        follow(&self.graph, move || rules.apply()).await;
    }

    fn try_query(&self, query: &str) -> Result<(), RuleError> {
        wanted::ask(&*self.selector, query, &self.graph.snapshot()).map(drop)
    }

    fn apply_to(&self, state: &mut State) {
        let State {
            node_rules,
            edge_rules,
            applied,
            problems,
        } = state;
        if node_rules.is_empty() && edge_rules.is_empty() && applied.is_empty() {
            problems.clear();
            return;
        }
        let mut found = HashMap::new();
        applied.create(&self.graph, node_rules, &mut found);
        let mut graph = Snapshot::clone(&self.graph.snapshot());
        applied.take_off(&mut graph);
        let selector = &*self.selector;
        let entries = wanted::entries(node_rules, &graph, selector, &mut found);
        wanted::put_on(&entries, &mut graph);
        let edges = wanted::edges(edge_rules, &graph, selector, &mut found);
        applied.update(&self.graph, entries, edges, &mut found);
        for (uuid, problem) in &found {
            if problems.get(uuid) != Some(problem) {
                tracing::warn!(rule = %uuid, %problem, "a topology rule cannot do all that it should");
            }
        }
        *problems = found;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A selector that panicked left rules and what they did as they were.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

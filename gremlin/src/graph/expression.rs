//! Expressions that name nodes: of captures, of rules.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use flowtap_flow::query::Cancel;
use flowtap_topology::{Node, Snapshot};

use super::elements::State;
use super::filter::{Criterion, ElementFilter};
use super::moves::Move;
use super::walker::{Bounds, Walker};
use crate::check::parse;
use crate::error::QueryError;
use crate::kind::Kind;
use crate::limits::Limits;
use crate::syntax::ast::{Query, Step, StepName};

/// A query that ends in nodes (or in paths, whose nodes are meant) and asks the graph alone: no
/// flows, no time. It is read once and asked many times.
///
/// An ID that no node has names nothing here: the node may come.
///
/// ```
/// use flowtap_gremlin::NodeExpression;
/// use flowtap_topology::Graph;
///
/// let graph = Graph::new("compute-1");
/// let hosts = NodeExpression::parse("G.V().Has('Type', 'host')")?;
/// assert_eq!(hosts.select(&graph.snapshot())?.len(), 1);
///
/// let error = NodeExpression::parse("G.Flows()").unwrap_err();
/// assert_eq!(error.column, Some(3));
/// # Ok::<(), flowtap_gremlin::QueryError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NodeExpression {
    query: Query,
    moves: Vec<Move>,
}

/// The nodes that `text` names. Who asks more than once keeps a [`NodeExpression`].
///
/// # Errors
/// Those of [`NodeExpression::parse`] and [`NodeExpression::select`].
pub fn select_nodes(text: &str, graph: &Snapshot) -> Result<Vec<Arc<Node>>, QueryError> {
    NodeExpression::parse(text)?.select(graph)
}

impl NodeExpression {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong with it, with the column; also where it asks for flows, for the past, or for
    /// something else than nodes.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let query = parse(text)?;
        let mut kind = Kind::Graph;
        let mut moves = Vec::with_capacity(query.steps.len());
        for step in &query.steps {
            let next = kind.after(step.name);
            match (Move::of(kind, step)?, next) {
                (Some(one), Some(next)) => {
                    moves.push(one);
                    kind = next;
                }
                _ => return Err(out_of_place(step)),
            }
        }
        if !matches!(kind, Kind::Nodes | Kind::Paths) {
            let column = query.steps.last().map_or(1, |step| step.column);
            let message =
                format!("the expression has to end in nodes, as G.V() does; this one ends in {kind}");
            return Err(QueryError::at(column, message));
        }
        Ok(Self { query, moves })
    }

    /// The nodes that it names in `graph`, each once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::TooLarge`] and [`crate::ErrorKind::TimedOut`], by the default [`Limits`].
    pub fn select(&self, graph: &Snapshot) -> Result<Vec<Arc<Node>>, QueryError> {
        let limits = Limits::default();
        let cancel = Cancel::at(Instant::now() + limits.timeout);
        let bounds = Bounds {
            limits: &limits,
            cancel: &cancel,
        };
        let mut walker = Walker::lenient(Cow::Borrowed(graph));
        let state = walker.run(&self.moves, State::Graph, bounds)?;
        let mut nodes = state.into_nodes(walker.graph());
        let mut seen = HashSet::new();
        nodes.retain(|node| seen.insert(node.id.clone()));
        Ok(nodes)
    }

    /// How many nodes, edges or paths are left after each step: for an expression that names nothing,
    /// the step that left none.
    ///
    /// # Errors
    /// As [`Self::select`].
    pub fn explain(&self, graph: &Snapshot) -> Result<Explanation, QueryError> {
        let limits = Limits::default();
        let cancel = Cancel::at(Instant::now() + limits.timeout);
        let bounds = Bounds {
            limits: &limits,
            cancel: &cancel,
        };
        let mut walker = Walker::lenient(Cow::Borrowed(graph));
        let mut state = State::Graph;
        let mut steps = Vec::with_capacity(self.moves.len());
        for (step, one) in self.query.steps.iter().zip(&self.moves) {
            let conditions = one
                .condition()
                .map(|filter| conditions(filter, step.name, &state, walker.graph()));
            state = walker.step(one, state, bounds)?;
            steps.push(StepCount {
                step: step.to_string(),
                column: step.column,
                of: state.name(),
                count: match &state {
                    State::Graph => walker.graph().len(),
                    State::Nodes(nodes) => nodes.len(),
                    State::Edges(edges) => edges.len(),
                    State::Paths(paths) => paths.len(),
                },
                conditions: conditions.unwrap_or_default(),
            });
        }
        Ok(Explanation { steps })
    }
}

impl fmt::Display for NodeExpression {
    /// The query, in the canonical spelling of its steps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.query.fmt(f)
    }
}

fn out_of_place(step: &Step) -> QueryError {
    let why = match step.name {
        StepName::At => "the expression is about the graph as it is, not as it was",
        StepName::Flows => "the expression is about the graph, not about flows",
        _ => "the expression has to end in nodes, as G.V() does",
    };
    QueryError::at(
        step.column,
        format!("step {} has no place here: {why}", step.name),
    )
}

/// What an expression leaves at each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its steps, first to last.
    pub steps: Vec<StepCount>,
}

/// What one step leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCount {
    /// The step, as `Has('Name', 'eth0')`.
    pub step: String,
    /// Where it stands, in characters from 1.
    pub column: usize,
    /// What it gives: `nodes`, `edges`, `paths`; `G` for a graph, whose nodes are counted.
    pub of: &'static str,
    /// How many.
    pub count: usize,
    /// For a step with several conditions, how many elements meet each alone.
    pub conditions: Vec<ConditionCount>,
}

/// How many of the elements before a step meet one of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionCount {
    /// The condition, as `'Name', 'eth0'`.
    pub condition: String,
    /// How many meet it, whatever the others say.
    pub count: usize,
}

impl Explanation {
    /// The step that left nothing of what there was before it; `None` if something is left at the end.
    #[must_use]
    pub fn emptied_by(&self) -> Option<&StepCount> {
        let last = self.steps.last().filter(|last| last.count == 0)?;
        let left = self.steps.iter().rposition(|step| step.count > 0);
        Some(left.map_or_else(
            || self.steps.first().unwrap_or(last),
            |left| self.steps.get(left + 1).unwrap_or(last),
        ))
    }

    /// What is left at the end.
    #[must_use]
    pub fn count(&self) -> usize {
        self.steps.last().map_or(0, |last| last.count)
    }
}

/// How many of what comes before meet each condition alone, where there are several.
fn conditions(
    filter: &ElementFilter,
    step: StepName,
    before: &State,
    graph: &Snapshot,
) -> Vec<ConditionCount> {
    let [_, _, ..] = filter.criteria() else {
        return Vec::new();
    };
    let count = |criterion: &Criterion| match (before, step) {
        (State::Graph, StepName::E) => graph.edges().filter(|edge| criterion.matches(&***edge)).count(),
        (State::Graph, _) => graph.nodes().filter(|node| criterion.matches(&***node)).count(),
        (State::Nodes(nodes), _) => nodes.iter().filter(|node| criterion.matches(&***node)).count(),
        (State::Edges(edges), _) => edges.iter().filter(|edge| criterion.matches(&***edge)).count(),
        (State::Paths(_), _) => 0,
    };
    let criteria = filter.criteria().iter();
    criteria
        .map(|criterion| ConditionCount {
            condition: criterion.text.clone(),
            count: count(criterion),
        })
        .collect()
}

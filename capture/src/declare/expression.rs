//! The expression of a capture.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use flowtap_flow::filter::Value;
use flowtap_gremlin::ast::{Argument, ArgumentValue, PredicateName, Query, StepName};
use flowtap_gremlin::{Explanation, NodeExpression};
use flowtap_topology::{Node, NodeId, Snapshot};

/// What captures themselves write at nodes.
pub(crate) const CAPTURES: &str = "Captures";

/// An expression that names the nodes of a capture, and what it depends on.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    nodes: NodeExpression,
    query: Query,
    /// See [`Expression::is_local`].
    is_local: bool,
}

impl Expression {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong with it, for people, with the column.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let nodes = NodeExpression::parse(text).map_err(|error| error.to_string())?;
        let query = flowtap_gremlin::parse(text).map_err(|error| error.to_string())?;
        if let Some(column) = asks_for_captures(&query) {
            // It would feed on itself: what it matches would change when it begins, and again when it
            // ends for that.
            return Err(format!(
                "column {column}: a capture can't be picked by {CAPTURES}, which changes with every capture"
            ));
        }
        Ok(Self {
            nodes,
            is_local: is_local(&query),
            query,
        })
    }

    /// Whether a node alone decides if it is named: no other node, and no edge. Then a change of one
    /// node asks for one node to be looked at, however large the graph is.
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// Its steps.
    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    /// What is left after each step.
    ///
    /// # Errors
    /// As [`Expression::select`].
    pub(crate) fn explain(&self, graph: &Snapshot) -> Result<Explanation, String> {
        self.nodes.explain(graph).map_err(|error| error.to_string())
    }

    /// The nodes that it names.
    ///
    /// # Errors
    /// That it takes too long or names too many, for people.
    pub(crate) fn select(&self, graph: &Snapshot) -> Result<Vec<Arc<Node>>, String> {
        self.nodes.select(graph).map_err(|error| error.to_string())
    }

    /// The IDs of the nodes that it names.
    ///
    /// # Errors
    /// As [`Expression::select`].
    pub(crate) fn ids(&self, graph: &Snapshot) -> Result<HashSet<NodeId>, String> {
        let nodes = self.select(graph)?;
        Ok(nodes.into_iter().map(|node| node.id.clone()).collect())
    }
}

impl fmt::Display for Expression {
    /// In the canonical spelling of its steps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.query.fmt(f)
    }
}

/// Whether `query` is `V` and conditions on each node by itself.
fn is_local(query: &Query) -> bool {
    let mut steps = query.steps.iter();
    steps.next().is_some_and(|step| step.name == StepName::V)
        && steps.all(|step| match step.name {
            StepName::Has | StepName::HasEither | StepName::HasKey | StepName::HasNot => true,
            // By ID, which tells all nodes apart.
            StepName::Dedup => step.arguments.is_empty(),
            _ => false,
        })
}

/// Where a field of [`CAPTURES`] is asked for.
fn asks_for_captures(query: &Query) -> Option<usize> {
    query.steps.iter().find_map(|step| key_in(&step.arguments))
}

/// Where [`CAPTURES`] stands for a key among arguments: keys and values take turns.
fn key_in(arguments: &[Argument]) -> Option<usize> {
    arguments
        .iter()
        .enumerate()
        .find_map(|(place, argument)| match &argument.value {
            ArgumentValue::Literal(Value::Text(text)) if place % 2 == 0 => {
                let field = text.split('.').next();
                (field == Some(CAPTURES)).then_some(argument.column)
            }
            ArgumentValue::Predicate(PredicateName::Metadata, pair) => key_in(pair),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_node_decides_is_local() {
        for (text, local) in [
            ("g.V()", true),
            ("G.V('a-node')", true),
            ("G.V().Has('Name', 'eth0', 'Type', 'veth')", true),
            ("G.V().HasKey('ExtID.vm-id').HasNot('x').Dedup()", true),
            ("G.V().HasEither('Name', Regex('tap.*'), 'Type', 'tun')", true),
            ("G.V().Dedup('Name')", false),
            ("G.V().Limit(1)", false),
            ("G.V().Has('Name', 'br0').Out()", false),
            (
                "G.V().Has('Name', 'a').ShortestPathTo(Metadata('Name', 'b'))",
                false,
            ),
            ("G.E().BothV()", false),
        ] {
            assert_eq!(Expression::parse(text).unwrap().is_local(), local, "{text}");
        }
    }

    #[test]
    fn what_captures_write_picks_no_captures() {
        for (text, column) in [
            ("G.V().HasKey('Captures')", 14),
            ("G.V().Has('Name', 'a', 'Captures.State', 'active')", 24),
            ("G.V().ShortestPathTo(Metadata('Captures.ID', 'a'))", 31),
        ] {
            let error = Expression::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("column {column}: ")), "{error}");
        }
        Expression::parse("G.V().Has('Name', 'Captures')").unwrap();
    }
}

//! An expression taken apart into conditions on single nodes.

use std::collections::HashSet;

use flowtap_flow::filter::Value;
use flowtap_gremlin::ast::{Argument, ArgumentValue, Query, Step, StepName};
use flowtap_gremlin::{Explanation, NodeExpression};
use flowtap_topology::{Node, NodeId, Snapshot};
use serde_json::Value as Json;

use crate::declare::Expression;

/// One condition, and who meets it.
#[derive(Debug)]
pub(super) struct Criterion {
    /// As a step of its own: `Has('Name', 'eth0')`.
    text: String,
    asks: Asks,
    pub(super) met_by: HashSet<NodeId>,
}

/// What a condition asks of a node.
#[derive(Debug, PartialEq, Eq)]
enum Asks {
    /// That a field is this.
    Is { field: String, wanted: String },
    /// Something of a field, as it is written.
    Holds { field: String, wanted: String },
    /// That a field is there.
    Has(String),
    /// That a field is not there.
    HasNot(String),
    /// Something else.
    Other,
}

/// What an expression asks of single nodes where it is decided: at the first place where it leaves nothing,
/// else at its end.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The nodes that are asked: those that the steps before lead to; `None` for all.
    pub(super) among: Option<HashSet<NodeId>>,
    pub(super) criteria: Vec<Criterion>,
}

impl Asked {
    /// Of `expression`, which leaves of `graph` what `explained` says.
    pub(super) fn of(expression: &Expression, explained: &Explanation, graph: &Snapshot) -> Self {
        let query = expression.query();
        let emptied = explained.steps.iter().position(|step| step.count == 0);
        let mut asked = Self::default();
        let mut on_nodes = true;
        for (place, step) in query.steps.iter().enumerate() {
            let is_decided = emptied.is_some_and(|emptied| emptied < place);
            match step.name {
                StepName::V if place == 0 && step.arguments.len() == 1 => {
                    asked
                        .criteria
                        .extend(criterion(StepName::V, &step.arguments, graph));
                }
                StepName::V if place == 0 => asked.add_pairs(step, graph),
                StepName::Has if on_nodes => asked.add_pairs(step, graph),
                StepName::HasKey | StepName::HasNot | StepName::HasEither if on_nodes => {
                    asked
                        .criteria
                        .extend(criterion(step.name, &step.arguments, graph));
                }
                StepName::Dedup | StepName::Sort | StepName::As => {}
                // What was asked up to here leaves nothing.
                _ if is_decided => break,
                StepName::Out
                | StepName::In
                | StepName::Both
                | StepName::OutV
                | StepName::InV
                | StepName::BothV => {
                    asked = Self::among(reached(query, place, &[], graph));
                    asked.add_pairs(step, graph);
                    on_nodes = true;
                }
                // Whose conditions are on edges, or on whole paths.
                _ if emptied == Some(place) => return Self::among(HashSet::new()),
                StepName::Ascendants | StepName::Descendants | StepName::Neighbors => {
                    asked = Self::among(reached(query, place, &step.arguments, graph));
                }
                StepName::OutE | StepName::InE | StepName::BothE => on_nodes = false,
                _ => break,
            }
        }
        asked
    }

    fn among(nodes: HashSet<NodeId>) -> Self {
        Self {
            among: Some(nodes),
            criteria: Vec::new(),
        }
    }

    fn add_pairs(&mut self, step: &Step, graph: &Snapshot) {
        let pairs = step.arguments.chunks(2);
        self.criteria
            .extend(pairs.filter_map(|pair| criterion(StepName::Has, pair, graph)));
    }
}

/// Where `query` leads up to its step at `place`, if that had these arguments.
fn reached(query: &Query, place: usize, arguments: &[Argument], graph: &Snapshot) -> HashSet<NodeId> {
    let mut steps = query.steps.clone();
    steps.truncate(place + 1);
    if let Some(last) = steps.last_mut() {
        last.arguments = arguments.to_vec();
    }
    let expression = NodeExpression::parse(&Query { steps }.to_string());
    let nodes = expression.and_then(|expression| expression.select(graph));
    let nodes = nodes.unwrap_or_default().into_iter();
    nodes.map(|node| node.id.clone()).collect()
}

/// Who meets a step alone.
fn criterion(name: StepName, arguments: &[Argument], graph: &Snapshot) -> Option<Criterion> {
    let step = |name, arguments: &[Argument]| Step {
        column: 1,
        name,
        arguments: arguments.to_vec(),
    };
    let alone = step(name, arguments);
    let text = alone.to_string();
    let steps = match name {
        StepName::V => vec![alone],
        _ => vec![step(StepName::V, &[]), alone],
    };
    let expression = NodeExpression::parse(&Query { steps }.to_string()).ok()?;
    let nodes = expression.select(graph).ok()?;
    Some(Criterion {
        text,
        asks: Asks::of(name, arguments),
        met_by: nodes.into_iter().map(|node| node.id.clone()).collect(),
    })
}

impl Asks {
    fn of(name: StepName, arguments: &[Argument]) -> Self {
        let text = |argument: &Argument| match &argument.value {
            ArgumentValue::Literal(Value::Text(text)) => Some(text.to_string()),
            ArgumentValue::Literal(_) => Some(argument.to_string()),
            ArgumentValue::Predicate(..) | ArgumentValue::Word(_) => None,
        };
        match (name, arguments) {
            (StepName::Has, [field, wanted]) => match (text(field), text(wanted)) {
                (Some(field), Some(wanted)) => Self::Is { field, wanted },
                (Some(field), None) => Self::Holds {
                    field,
                    wanted: wanted.to_string(),
                },
                (None, _) => Self::Other,
            },
            (StepName::Has | StepName::HasKey, [field]) => text(field).map_or(Self::Other, Self::Has),
            (StepName::HasNot, [field]) => text(field).map_or(Self::Other, Self::HasNot),
            _ => Self::Other,
        }
    }
}

impl Criterion {
    /// Why `node` does not meet it.
    pub(super) fn why_not(&self, node: &Node) -> String {
        match &self.asks {
            Asks::Is { field, wanted } => match values(node, field).as_slice() {
                [] => no_field(node, field),
                values => format!("{field} is {}, not '{wanted}'", quoted(values)),
            },
            Asks::Holds { field, wanted } => match values(node, field).as_slice() {
                [] => no_field(node, field),
                values => format!("{field} is {}, which is not {wanted}", quoted(values)),
            },
            Asks::Has(field) => no_field(node, field),
            Asks::HasNot(field) => format!("it has {field}"),
            Asks::Other => format!("it does not meet {}", self.text),
        }
    }

    /// How near `node` is to meeting it, from 0 to 1.
    pub(super) fn nearness(&self, node: &Node) -> f64 {
        match &self.asks {
            Asks::Is { field, wanted } => {
                let values = values(node, field);
                let near = values.iter().map(|value| strsim::jaro_winkler(value, wanted));
                near.fold(near_key(node, field) / 2.0, f64::max)
            }
            Asks::Has(field) => near_key(node, field),
            Asks::Holds { .. } | Asks::HasNot(_) | Asks::Other => 0.0,
        }
    }

    /// What no node has at all, if that is why nobody meets it.
    pub(super) fn missing_field(&self, graph: &Snapshot) -> Option<&str> {
        let (Asks::Is { field, .. } | Asks::Holds { field, .. } | Asks::Has(field)) = &self.asks else {
            return None;
        };
        let is_missing = self.met_by.is_empty()
            && !field.starts_with('@')
            && graph.nodes().all(|node| values(node, field).is_empty());
        is_missing.then_some(field)
    }
}

/// High if `node` has something beside the field: `ExtID.iface-id` beside `ExtID.vm-id`.
fn near_key(node: &Node, field: &str) -> f64 {
    match field.rsplit_once('.') {
        Some((object, _)) if is_object(node, object) => 0.9,
        _ => 0.0,
    }
}

fn no_field(node: &Node, field: &str) -> String {
    let beside = field
        .rsplit_once('.')
        .and_then(|(object, _)| Some((object, lookup(&node.metadata, object)?.as_object()?)));
    match beside {
        Some((object, others)) if !others.is_empty() => {
            let mut names: Vec<&str> = others.keys().map(String::as_str).take(4).collect();
            names.sort_unstable();
            format!("it has no {field}, its {object} has {}", names.join(", "))
        }
        _ => format!("it has no {field}"),
    }
}

fn quoted(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().take(3).map(|value| format!("'{value}'")).collect();
    quoted.join(" and ")
}

/// The plain values at `field`.
fn values(node: &Node, field: &str) -> Vec<String> {
    let texts = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    match lookup(&node.metadata, field) {
        Some(Json::Array(list)) => list.iter().filter_map(texts).collect(),
        Some(value) => texts(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn is_object(node: &Node, field: &str) -> bool {
    lookup(&node.metadata, field).is_some_and(Json::is_object)
}

/// Keys may have dots themselves.
fn lookup<'m>(metadata: &'m serde_json::Map<String, Json>, field: &str) -> Option<&'m Json> {
    if let Some(value) = metadata.get(field) {
        return Some(value);
    }
    let (first, rest) = field.split_once('.')?;
    lookup(metadata.get(first)?.as_object()?, rest)
}

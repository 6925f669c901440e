//! Lists of values: `Values` and `Keys`, and the steps on them.

use std::collections::BTreeSet;

use flowtap_flow::filter::{FlowField, LayerEnd, LayerPart, collect_json};
use flowtap_flow::flow::Flow;
use flowtap_topology::Node;
use serde_json::Value as Json;

use super::flows::FlowsPlan;
use super::keys::KeySet;
use super::metrics::MetricsPlan;
use super::node_metrics::NodeMetricsPlan;
use super::numbers::NumberPlan;
use super::pipeline::{Dedup, Filter, MORE, Next, Slice, Stages, feed, finish};
use super::sockets::SocketsPlan;
use super::traversal::Traversal;
use super::{Context, Plan, unplanned};
use crate::arguments;
use crate::condition::Condition;
use crate::error::QueryError;
use crate::graph::{Field, Pace, to_json};
use crate::limits::{Meter, json_bytes, size};
use crate::syntax::ast::{Step, StepName};

/// Where values come from and what is done to them.
#[derive(Clone, Debug)]
pub(super) struct ValuesPlan {
    source: Source,
    stages: Vec<ValueStage>,
}

#[derive(Clone, Debug)]
enum Source {
    Field(FlowsPlan, Getter),
    FlowKeys(FlowsPlan),
    MetricKeys(MetricsPlan),
    NodeField(Traversal, Field),
    /// For each node an object of these fields, by the names that the query gives them.
    NodeMaps(Traversal, Vec<(String, Field)>),
    NodeKeys(Traversal),
    NodeMetricKeys(NodeMetricsPlan),
    /// A path into each socket.
    SocketField(SocketsPlan, Vec<String>),
}

impl From<Source> for ValuesPlan {
    fn from(source: Source) -> Self {
        Self {
            source,
            stages: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
enum ValueStage {
    /// Paths into a value that is an object, and what is asked of each.
    Filter(Vec<(Vec<String>, Condition)>),
    Dedup,
    Slice {
        from: u64,
        to: u64,
    },
}

impl ValuesPlan {
    pub(super) fn of_field(flows: FlowsPlan, key: &str) -> Self {
        Source::Field(flows, Getter::parse(key)).into()
    }

    pub(super) fn of_flow_keys(flows: FlowsPlan) -> Self {
        Source::FlowKeys(flows).into()
    }

    pub(super) fn of_metric_keys(metrics: MetricsPlan) -> Self {
        Source::MetricKeys(metrics).into()
    }

    pub(super) fn of_nodes(nodes: Traversal, key: &str) -> Self {
        Source::NodeField(nodes, Field::parse(key)).into()
    }

    pub(super) fn of_node_maps(nodes: Traversal, keys: &[String]) -> Self {
        let fields = keys.iter().map(|key| (key.clone(), Field::parse(key)));
        Source::NodeMaps(nodes, fields.collect()).into()
    }

    pub(super) fn of_node_keys(nodes: Traversal) -> Self {
        Source::NodeKeys(nodes).into()
    }

    pub(super) fn of_node_metric_keys(metrics: NodeMetricsPlan) -> Self {
        Source::NodeMetricKeys(metrics).into()
    }

    pub(super) fn of_sockets(sockets: SocketsPlan, path: Vec<String>) -> Self {
        Source::SocketField(sockets, path).into()
    }

    pub(super) fn then(mut self, step: &Step) -> Result<Plan, QueryError> {
        self.stages.push(match step.name {
            StepName::Has => {
                let conditions = arguments::required_conditions(step)?;
                let path = |key: String| key.split('.').map(str::to_owned).collect();
                ValueStage::Filter(conditions.into_iter().map(|(key, c)| (path(key), c)).collect())
            }
            StepName::Dedup => ValueStage::Dedup,
            StepName::Limit | StepName::Range => {
                let (from, to) = arguments::range(step)?;
                ValueStage::Slice { from, to }
            }
            StepName::Count => return Ok(Plan::Number(NumberPlan::CountValues(self))),
            _ => return Err(unplanned(step)),
        });
        Ok(Plan::Values(self))
    }

    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<Json>, QueryError> {
        let mut meter = Meter::new("values", context.limits);
        let mut values = Vec::new();
        self.visit(context, &mut |value| {
            meter.add(json_bytes(&value))?;
            values.push(value);
            MORE
        })?;
        Ok(values)
    }

    /// Hands each value to `sink`.
    pub(super) fn visit(&self, context: &Context<'_>, sink: &mut Next<'_, Json>) -> Result<(), QueryError> {
        let mut stages = self.stages(context);
        match &self.source {
            Source::Field(flows, getter) => flows.visit(context, &mut |flow| {
                for value in getter.values(&flow) {
                    if feed(&mut stages, value, sink)?.is_break() {
                        return Ok(std::ops::ControlFlow::Break(()));
                    }
                }
                MORE
            })?,
            Source::FlowKeys(flows) => {
                let mut keys = KeySet::default();
                flows.visit(context, &mut |flow| {
                    keys.add(&flow)?;
                    MORE
                })?;
                feed_all(&mut stages, keys.into_values(), sink)?;
            }
            Source::MetricKeys(metrics) => feed_all(&mut stages, metrics.keys(context)?, sink)?,
            Source::NodeMetricKeys(metrics) => feed_all(&mut stages, metrics.keys(context)?, sink)?,
            Source::NodeField(nodes, field) => {
                feed_nodes(&mut stages, nodes, &|node| field.json(node), context, sink)?;
            }
            Source::NodeMaps(nodes, fields) => {
                feed_nodes(&mut stages, nodes, &|node| map_of(node, fields), context, sink)?;
            }
            Source::NodeKeys(nodes) => feed_all(&mut stages, node_keys(nodes, context)?, sink)?,
            Source::SocketField(sockets, path) => {
                for (_, sockets) in sockets.run(context)? {
                    let mut found = Vec::new();
                    for socket in sockets {
                        collect_documents(socket, path, &mut found);
                    }
                    feed_all(&mut stages, found, sink)?;
                }
            }
        }
        finish(&mut stages, sink)
    }

    fn stages<'a>(&'a self, context: &Context<'_>) -> Stages<'a, Json> {
        let mut stages: Stages<'a, Json> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            stages.push(match stage {
                ValueStage::Filter(conditions) => Box::new(Filter(|value: &Json| meets(value, conditions))),
                ValueStage::Dedup => {
                    let meter = Meter::new("different values", context.limits);
                    Box::new(Dedup::new(|value: &Json| Some(value.to_string()), meter))
                }
                ValueStage::Slice { from, to } => Box::new(Slice::new(*from, *to)),
            });
        }
        stages
    }
}

fn feed_all(
    stages: &mut Stages<'_, Json>,
    values: impl IntoIterator<Item = Json>,
    sink: &mut Next<'_, Json>,
) -> Result<(), QueryError> {
    for value in values {
        if feed(stages, value, sink)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Feeds what `value` makes of each node.
fn feed_nodes(
    stages: &mut Stages<'_, Json>,
    nodes: &Traversal,
    value: &dyn Fn(&Node) -> Option<Json>,
    context: &Context<'_>,
    sink: &mut Next<'_, Json>,
) -> Result<(), QueryError> {
    let mut pace = Pace::new(context.cancel);
    for node in nodes.nodes(context)? {
        pace.tick()?;
        if let Some(value) = value(&node)
            && feed(stages, value, sink)?.is_break()
        {
            break;
        }
    }
    Ok(())
}

/// The fields that `node` has, by name; `None` if it has none of them.
fn map_of(node: &Node, fields: &[(String, Field)]) -> Option<Json> {
    let found = fields
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), field.json(node)?)));
    let map: serde_json::Map<String, Json> = found.collect();
    (!map.is_empty()).then_some(Json::Object(map))
}

/// The names that at least one of the nodes has, sorted.
fn node_keys(nodes: &Traversal, context: &Context<'_>) -> Result<Vec<Json>, QueryError> {
    let mut meter = Meter::new("keys", context.limits);
    let mut names: BTreeSet<String> = BTreeSet::new();
    for node in nodes.nodes(context)? {
        context.cancel.check()?;
        let mut added = Ok(());
        Field::names(&*node, &mut |name| {
            if added.is_ok() && !names.contains(name) {
                names.insert(name.to_owned());
                added = meter.add(size(size_of::<String>() + name.len()));
            }
        });
        added?;
    }
    Ok(names.into_iter().map(Json::String).collect())
}

fn meets(value: &Json, conditions: &[(Vec<String>, Condition)]) -> bool {
    conditions.iter().all(|(path, condition)| {
        // A bare value has no fields: nothing is found in it.
        let mut found = Vec::new();
        collect_json(value, path, &mut found);
        condition.test(&found)
    })
}

/// Takes the values of one field out of flows.
#[derive(Clone, Debug)]
enum Getter {
    /// A field that holds plain values.
    Field(FlowField),
    /// A field that may hold an object, such as `Network` or `DNS`: by its path in the document.
    Document {
        path: Vec<String>,
        protocol: Option<&'static str>,
    },
}

impl Getter {
    fn parse(key: &str) -> Self {
        let layer = |name: &str, part: LayerPart| Self::Document {
            path: vec![name.to_owned()],
            protocol: part.protocol,
        };
        match FlowField::parse(key) {
            FlowField::Link(part) if part.end == LayerEnd::Any => layer("Link", part),
            FlowField::Network(part) if part.end == LayerEnd::Any => layer("Network", part),
            FlowField::Transport(part) if part.end == LayerEnd::Any => layer("Transport", part),
            FlowField::Json(path) => Self::Document { path, protocol: None },
            field => Self::Field(field),
        }
    }

    fn values(&self, flow: &Flow) -> Vec<Json> {
        match self {
            Self::Field(field) => field.values(flow).into_iter().map(to_json).collect(),
            Self::Document { path, protocol } => {
                let Ok(document) = serde_json::to_value(flow) else {
                    return Vec::new();
                };
                let mut found = Vec::new();
                collect_documents(document, path, &mut found);
                if let Some(wanted) = protocol {
                    found.retain(|layer| layer["Protocol"] == **wanted);
                }
                found
            }
        }
    }
}

/// What stands at `path`, objects included; a list on the way stands for each of its elements.
fn collect_documents(value: Json, path: &[String], found: &mut Vec<Json>) {
    match (value, path) {
        (value, []) => found.push(value),
        (Json::Array(elements), _) => {
            elements
                .into_iter()
                .for_each(|element| collect_documents(element, path, found));
        }
        (Json::Object(mut map), [key, rest @ ..]) => {
            if let Some(inner) = map.remove(key).or_else(|| map.remove(&path.join("."))) {
                collect_documents(inner, rest, found);
            }
        }
        _ => {}
    }
}

//! Lists of values: `Values` and `Keys`, and the steps on them.

use flowtap_flow::filter::{FieldValue, FlowField, LayerEnd, LayerPart, collect_json};
use flowtap_flow::flow::Flow;
use serde_json::Value as Json;

use super::flows::FlowsPlan;
use super::keys::KeySet;
use super::limits::{Meter, json_bytes};
use super::metrics::MetricsPlan;
use super::numbers::NumberPlan;
use super::pipeline::{Dedup, Filter, MORE, Next, Slice, Stages, feed, finish};
use super::{Context, Plan, unplanned};
use crate::arguments;
use crate::condition::Condition;
use crate::error::QueryError;
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
        Self {
            source: Source::Field(flows, Getter::parse(key)),
            stages: Vec::new(),
        }
    }

    pub(super) fn of_flow_keys(flows: FlowsPlan) -> Self {
        Self {
            source: Source::FlowKeys(flows),
            stages: Vec::new(),
        }
    }

    pub(super) fn of_metric_keys(metrics: MetricsPlan) -> Self {
        Self {
            source: Source::MetricKeys(metrics),
            stages: Vec::new(),
        }
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
    values: Vec<Json>,
    sink: &mut Next<'_, Json>,
) -> Result<(), QueryError> {
    for value in values {
        if feed(stages, value, sink)?.is_break() {
            break;
        }
    }
    Ok(())
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

fn to_json(value: FieldValue<'_>) -> Json {
    match value {
        FieldValue::Int(int) => Json::from(int),
        FieldValue::Float(float) => Json::from(float),
        FieldValue::Bool(bool) => Json::Bool(bool),
        FieldValue::Text(text) => Json::String(text.into_owned()),
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

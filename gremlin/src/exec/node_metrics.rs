//! Steps on the metrics of nodes: counters of interfaces, as the watchers keep them in metadata.

use std::collections::{BTreeMap, BTreeSet};

use flowtap_topology::NodeId;
use serde_json::Value as Json;

use super::aggregate::{Metric, Slices};
use super::numbers::NumberPlan;
use super::traversal::Traversal;
use super::values::ValuesPlan;
use super::{Context, Plan, unplanned};
use crate::answer::Answer;
use crate::arguments;
use crate::error::QueryError;
use crate::graph::Field;
use crate::limits::{Meter, json_bytes};
use crate::syntax::ast::{Step, StepName};

/// The metrics of nodes, and how they are aggregated.
#[derive(Clone, Debug)]
pub(super) struct NodeMetricsPlan {
    nodes: Traversal,
    /// Where in the metadata they stand.
    field: Field,
    /// `Aggregates` steps, first to last.
    aggregates: Vec<Slices>,
}

impl NodeMetricsPlan {
    pub(super) fn new(nodes: Traversal, step: &Step) -> Result<Self, QueryError> {
        let name = arguments::optional_text(step)?;
        let path = match name.as_deref() {
            None | Some("LastUpdateMetric") => "LastUpdateMetric",
            Some("SFlow" | "SFlow.LastUpdateMetric") => "SFlow.LastUpdateMetric",
            Some("Ovs" | "Ovs.LastUpdateMetric") => "Ovs.LastUpdateMetric",
            Some(other) => {
                let column = step.arguments.first().map_or(step.column, |a| a.column);
                let message = format!(
                    "Metric field unknown: {other}; Metrics on nodes takes LastUpdateMetric, SFlow or Ovs"
                );
                return Err(QueryError::at(column, message));
            }
        };
        Ok(Self {
            nodes,
            field: Field::parse(path),
            aggregates: Vec::new(),
        })
    }

    pub(super) fn then(mut self, step: &Step) -> Result<Plan, QueryError> {
        match step.name {
            StepName::Aggregates => {
                self.aggregates.push(Slices::of(step, self.nodes.window())?);
                Ok(Plan::NodeMetrics(self))
            }
            StepName::Sum => Ok(Plan::Number(NumberPlan::SumNodeMetrics(
                self,
                arguments::optional_text(step)?,
            ))),
            StepName::Count => Ok(Plan::Number(NumberPlan::CountNodeMetrics(self))),
            StepName::Keys => Ok(Plan::Values(ValuesPlan::of_node_metric_keys(self))),
            _ => Err(unplanned(step)),
        }
    }

    pub(super) fn run(&self, context: &Context<'_>) -> Result<Answer, QueryError> {
        if self.aggregates.is_empty() {
            return self.by_node(context).map(Answer::NodeMetrics);
        }
        let slices = self.aggregated(context)?;
        Ok(Answer::NodeAggregated(
            slices.into_iter().map(Counters::into_json).collect(),
        ))
    }

    /// The metric of each node that has one in time, by its beginning; each node once. With `At`, a
    /// metric counts whose interval lies in the time as a whole.
    fn by_node(&self, context: &Context<'_>) -> Result<Vec<(NodeId, Vec<Json>)>, QueryError> {
        let time = self.nodes.window().map(|window| window.contents());
        let in_time = |metric: &Counters| {
            time.is_none_or(|time| metric.start >= time.from.millis() && metric.last <= time.to.millis())
        };
        let mut meter = Meter::new("metrics", context.limits);
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for node in self.nodes.nodes(context)? {
            context.cancel.check()?;
            let Some(metric) = self.field.json(&*node).filter(Json::is_object) else {
                continue;
            };
            let counters = Counters::of(&metric);
            if in_time(&counters) && seen.insert(node.id.clone()) {
                meter.add(json_bytes(&metric))?;
                found.push((counters.start, node.id.clone(), metric));
            }
        }
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let metrics = found.into_iter();
        Ok(metrics.map(|(_, node, metric)| (node, vec![metric])).collect())
    }

    fn aggregated(&self, context: &Context<'_>) -> Result<Vec<Counters>, QueryError> {
        let by_node = self.by_node(context)?;
        let mut metrics: Vec<Counters> = by_node
            .iter()
            .flat_map(|(_, metrics)| metrics.iter().map(Counters::of))
            .collect();
        for slices in &self.aggregates {
            context.cancel.check()?;
            metrics = slices.aggregate(&metrics, self.nodes.window())?;
        }
        Ok(metrics)
    }

    /// How many nodes have metrics; aggregated, they are one.
    pub(super) fn count(&self, context: &Context<'_>) -> Result<usize, QueryError> {
        if self.aggregates.is_empty() {
            Ok(self.by_node(context)?.len())
        } else {
            Ok(1)
        }
    }

    /// The names of all counters.
    pub(super) fn keys(&self, context: &Context<'_>) -> Result<Vec<Json>, QueryError> {
        let mut names = BTreeSet::new();
        for metric in self.metrics(context)? {
            let spanned = ["Start", "Last"].map(str::to_owned);
            names.extend(metric.counters.into_keys().chain(spanned));
        }
        Ok(names.into_iter().map(Json::String).collect())
    }

    /// All counters added up, from the earliest start to the latest end; `None` without metrics.
    pub(super) fn sum(&self, context: &Context<'_>) -> Result<Option<Json>, QueryError> {
        let mut total: Option<Counters> = None;
        for metric in self.metrics(context)? {
            match &mut total {
                None => total = Some(metric),
                Some(total) => total.add(&metric),
            }
        }
        Ok(total.map(Counters::into_json))
    }

    /// The sum of one counter. Watchers leave zeros out, so a metric without it counts as 0.
    pub(super) fn sum_of(&self, name: &str, context: &Context<'_>) -> Result<i128, QueryError> {
        let value = |metric: Counters| match name {
            "Start" => i128::from(metric.start),
            "Last" => i128::from(metric.last),
            _ => metric.counters.get(name).map_or(0, |value| i128::from(*value)),
        };
        Ok(self.metrics(context)?.into_iter().map(value).sum())
    }

    fn metrics(&self, context: &Context<'_>) -> Result<Vec<Counters>, QueryError> {
        if !self.aggregates.is_empty() {
            return self.aggregated(context);
        }
        let by_node = self.by_node(context)?;
        let metrics = by_node.iter().flat_map(|(_, metrics)| metrics);
        Ok(metrics.map(Counters::of).collect())
    }
}

/// The whole numbers of a metric, and its time in ms.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counters {
    start: i64,
    last: i64,
    counters: BTreeMap<String, u64>,
}

impl Counters {
    fn of(metric: &Json) -> Self {
        let mut counters = Self::default();
        for (name, value) in metric.as_object().into_iter().flatten() {
            match (name.as_str(), value.as_u64()) {
                ("Start", _) => counters.start = value.as_i64().unwrap_or(0),
                ("Last", _) => counters.last = value.as_i64().unwrap_or(0),
                (name, Some(value)) => {
                    counters.counters.insert(name.to_owned(), value);
                }
                _ => {}
            }
        }
        counters
    }

    fn add(&mut self, other: &Self) {
        for (name, value) in &other.counters {
            let sum = self.counters.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*value);
        }
        self.start = self.start.min(other.start);
        self.last = self.last.max(other.last);
    }

    fn into_json(self) -> Json {
        let counters = self.counters.into_iter();
        let mut map: serde_json::Map<String, Json> =
            counters.map(|(name, value)| (name, value.into())).collect();
        map.insert("Start".to_owned(), self.start.into());
        map.insert("Last".to_owned(), self.last.into());
        Json::Object(map)
    }
}

impl Metric for Counters {
    fn span_ms(&self) -> (i64, i64) {
        (self.start, self.last)
    }

    fn with_span_ms(self, start: i64, last: i64) -> Self {
        Self { start, last, ..self }
    }

    fn is_zero(&self) -> bool {
        self.counters.values().all(|value| *value == 0)
    }

    fn add_shares(&mut self, whole: &Self, given: &mut Self, share: &dyn Fn(u64, &mut u64) -> u64) {
        for (name, total) in &whole.counters {
            let part = share(*total, given.counters.entry(name.clone()).or_default());
            let sum = self.counters.entry(name.clone()).or_default();
            *sum = sum.saturating_add(part);
        }
    }
}

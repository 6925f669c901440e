//! Steps on the metrics of nodes: counters of interfaces, as watchers show them in metadata and as they
//! were recorded.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use flowtap_topology::{Node, NodeId, NodeMetric, Slice};
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
use crate::time::Window;

/// How long before an instant an interval may have ended that tells of it, in milliseconds: watchers
/// look every half minute, and write nothing of counters that stand still.
const TELLS_OF_INSTANT: i64 = 600_000;

/// The metrics of nodes, and how they are aggregated.
#[derive(Clone, Debug)]
pub(super) struct NodeMetricsPlan {
    nodes: Traversal,
    metric: NodeMetric,
    /// Where in the metadata they stand.
    field: Field,
    /// `Aggregates` steps, first to last.
    aggregates: Vec<Slices>,
}

impl NodeMetricsPlan {
    pub(super) fn new(nodes: Traversal, step: &Step) -> Result<Self, QueryError> {
        let name = arguments::optional_text(step)?;
        let metric = match name.as_deref() {
            None | Some("LastUpdateMetric") => NodeMetric::Interface,
            Some("SFlow" | "SFlow.LastUpdateMetric") => NodeMetric::SFlow,
            Some("Ovs" | "Ovs.LastUpdateMetric") => NodeMetric::Ovs,
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
            metric,
            field: Field::parse(metric.path()),
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

    /// The metrics of each node in time, by their beginning; nodes by that of their first. Now, that is
    /// what the node shows. With `At` it is all that was recorded whose interval lies in the time as a
    /// whole, and what the node shows and showed besides; of an instant, the last of them.
    fn by_node(&self, context: &Context<'_>) -> Result<Vec<(NodeId, Vec<Json>)>, QueryError> {
        let nodes = self.nodes.nodes(context)?;
        let mut found = Found::new(self.nodes.window(), context);
        for node in &nodes {
            context.cancel.check()?;
            found.take_shown(&self.field, node)?;
        }
        if let Some(window) = self.nodes.window() {
            let ids: HashSet<NodeId> = nodes.iter().map(|node| node.id.clone()).collect();
            let recorded = context
                .topology
                .intervals(self.metric, &ids, recorded(window), &context.budget());
            for interval in recorded.map_err(|error| context.past_error(error))? {
                found.take(interval.node.clone(), interval.into_metric())?;
            }
            let live = context.topology.live();
            for node in ids.iter().filter_map(|id| live.node(id)) {
                found.take_shown(&self.field, node)?;
            }
        }
        Ok(found.in_order())
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

/// The stretch of time whose recorded intervals are asked for.
fn recorded(window: Window) -> Slice {
    let Slice { from, to } = window.slice();
    let from = if from == to {
        to.saturating_sub(TELLS_OF_INSTANT)
    } else {
        from
    };
    Slice { from, to }
}

/// Metrics by node, each interval once.
struct Found {
    window: Option<Window>,
    meter: Meter,
    /// By start and last.
    by_node: HashMap<NodeId, BTreeMap<(i64, i64), Json>>,
}

impl Found {
    fn new(window: Option<Window>, context: &Context<'_>) -> Self {
        Self {
            window,
            meter: Meter::new("metrics", context.limits),
            by_node: HashMap::new(),
        }
    }

    /// Takes what a node's metadata shows.
    fn take_shown(&mut self, field: &Field, node: &Node) -> Result<(), QueryError> {
        match field.json(node).filter(Json::is_object) {
            Some(metric) => self.take(node.id.clone(), metric),
            None => Ok(()),
        }
    }

    fn take(&mut self, node: NodeId, metric: Json) -> Result<(), QueryError> {
        let span = span(&metric);
        let time = self.window.map(Window::contents);
        if time.is_some_and(|time| span.0 < time.from.millis() || span.1 > time.to.millis()) {
            return Ok(());
        }
        let of_node = self.by_node.entry(node).or_default();
        if let Entry::Vacant(place) = of_node.entry(span) {
            self.meter.add(json_bytes(&metric))?;
            place.insert(metric);
        }
        Ok(())
    }

    fn in_order(self) -> Vec<(NodeId, Vec<Json>)> {
        let is_instant = self.window.is_some_and(Window::is_instant);
        let mut all: Vec<_> = self.by_node.into_iter().collect();
        for (_, metrics) in &mut all {
            // The last that had ended then.
            while is_instant && metrics.len() > 1 {
                metrics.pop_first();
            }
        }
        all.sort_by(|(a, of_a), (b, of_b)| {
            let first = |metrics: &BTreeMap<(i64, i64), Json>| metrics.keys().next().map(|span| span.0);
            (first(of_a), a).cmp(&(first(of_b), b))
        });
        let metrics = all.into_iter();
        metrics
            .map(|(node, metrics)| (node, metrics.into_values().collect()))
            .collect()
    }
}

/// `Start` and `Last` of a metric, in ms; 0 without.
fn span(metric: &Json) -> (i64, i64) {
    let time = |name| metric.get(name).and_then(Json::as_i64).unwrap_or(0);
    (time("Start"), time("Last"))
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
        let (start, last) = span(metric);
        let values = metric.as_object().into_iter().flatten();
        let counters = values
            .filter(|(name, _)| *name != "Start" && *name != "Last")
            .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
            .collect();
        Self {
            start,
            last,
            counters,
        }
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

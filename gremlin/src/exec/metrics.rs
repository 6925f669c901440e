//! Steps on metrics.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use flowtap_flow::filter::MetricField;
use flowtap_flow::flow::{FlowId, FlowMetric};
use flowtap_flow::query::FlowRef;
use serde_json::Value as Json;

use super::aggregate::Slices;
use super::flows::FlowsPlan;
use super::numbers::NumberPlan;
use super::pipeline::{Flowing, MORE};
use super::values::ValuesPlan;
use super::{Context, Plan, unplanned};
use crate::answer::Answer;
use crate::arguments;
use crate::error::QueryError;
use crate::limits::{Meter, size};
use crate::syntax::ast::{Step, StepName};

/// The metrics of flows, and how they are aggregated.
#[derive(Clone, Debug)]
pub(super) struct MetricsPlan {
    flows: FlowsPlan,
    /// `Aggregates` steps, first to last.
    aggregates: Vec<Slices>,
}

impl MetricsPlan {
    pub(super) fn new(flows: FlowsPlan, step: &Step) -> Result<Self, QueryError> {
        if let Some(field) = arguments::optional_text(step)?
            && field != "LastUpdateMetric"
        {
            let column = step.arguments.first().map_or(step.column, |a| a.column);
            let message = format!("Metrics on flows takes no field but LastUpdateMetric, got: {field}");
            return Err(QueryError::at(column, message));
        }
        Ok(Self {
            flows,
            aggregates: Vec::new(),
        })
    }

    pub(super) fn then(mut self, step: &Step) -> Result<Plan, QueryError> {
        match step.name {
            StepName::Aggregates => {
                self.aggregates.push(Slices::of(step, self.flows.window())?);
                Ok(Plan::Metrics(self))
            }
            StepName::Sum => NumberPlan::sum_metrics(self, step).map(Plan::Number),
            StepName::Count => Ok(Plan::Number(NumberPlan::CountMetrics(self))),
            StepName::Keys => Ok(Plan::Values(ValuesPlan::of_metric_keys(self))),
            _ => Err(unplanned(step)),
        }
    }

    pub(super) fn run(&self, context: &Context<'_>) -> Result<Answer, QueryError> {
        if self.aggregates.is_empty() {
            self.by_flow(context).map(Answer::Metrics)
        } else {
            self.aggregated(context).map(Answer::Aggregated)
        }
    }

    /// Hands each interval of each of `flows` to `sink`.
    fn visit(
        &self,
        context: &Context<'_>,
        flows: &[FlowRef],
        sink: &mut dyn FnMut(FlowId, FlowMetric) -> Flowing,
    ) -> Result<(), QueryError> {
        let mut failure = None;
        let time = self.flows.contents_time();
        context
            .reader
            .metrics(flows, time, context.cancel, &mut |flow, metric| {
                sink(flow, metric).unwrap_or_else(|error| {
                    failure = Some(error);
                    ControlFlow::Break(())
                })
            })?;
        failure.map_or(Ok(()), Err)
    }

    fn by_flow(&self, context: &Context<'_>) -> Result<Vec<(FlowId, Vec<FlowMetric>)>, QueryError> {
        let flows = self.flows.refs(context)?;
        let mut meter = Meter::new("metrics", context.limits);
        let mut by_flow: HashMap<FlowId, Vec<FlowMetric>> = HashMap::new();
        self.visit(context, &flows, &mut |flow, metric| {
            meter.add(size(size_of::<FlowMetric>()))?;
            by_flow.entry(flow).or_default().push(metric);
            MORE
        })?;
        let in_order = flows.iter().filter_map(|flow| by_flow.remove_entry(&flow.uuid));
        Ok(in_order
            .map(|(flow, mut metrics)| {
                metrics.sort_by_key(|metric| (metric.start, metric.last));
                (flow, metrics)
            })
            .collect())
    }

    fn aggregated(&self, context: &Context<'_>) -> Result<Vec<FlowMetric>, QueryError> {
        let mut meter = Meter::new("metrics", context.limits);
        let mut metrics = Vec::new();
        self.visit(context, &self.flows.refs(context)?, &mut |_, metric| {
            meter.add(size(size_of::<FlowMetric>()))?;
            metrics.push(metric);
            MORE
        })?;
        for slices in &self.aggregates {
            metrics = slices.aggregate(&metrics, self.flows.window())?;
        }
        Ok(metrics)
    }

    /// How many flows have metrics; aggregated, they are one.
    pub(super) fn count(&self, context: &Context<'_>) -> Result<i128, QueryError> {
        if !self.aggregates.is_empty() {
            return Ok(1);
        }
        let mut flows = HashSet::new();
        self.visit(context, &self.flows.refs(context)?, &mut |flow, _| {
            flows.insert(flow);
            MORE
        })?;
        Ok(flows.len() as i128)
    }

    /// The fields of a metric, if there is one.
    pub(super) fn keys(&self, context: &Context<'_>) -> Result<Vec<Json>, QueryError> {
        let mut any = false;
        if self.aggregates.is_empty() {
            self.visit(context, &self.flows.refs(context)?, &mut |_, _| {
                any = true;
                Ok(ControlFlow::Break(()))
            })?;
        } else {
            any = !self.aggregated(context)?.is_empty();
        }
        let names = MetricField::ALL.map(|field| Json::from(field.as_str()));
        Ok(if any { names.to_vec() } else { Vec::new() })
    }

    pub(super) fn sum(&self, context: &Context<'_>) -> Result<Sum, QueryError> {
        let mut sum = Sum::default();
        if self.aggregates.is_empty() {
            self.visit(context, &self.flows.refs(context)?, &mut |_, metric| {
                sum.add(&metric);
                MORE
            })?;
        } else {
            self.aggregated(context)?
                .iter()
                .for_each(|metric| sum.add(metric));
        }
        Ok(sum)
    }
}

/// Metrics added up.
#[derive(Debug, Default)]
pub(super) struct Sum {
    fields: [i128; MetricField::ALL.len()],
    total: Option<FlowMetric>,
}

impl Sum {
    fn add(&mut self, metric: &FlowMetric) {
        for (sum, field) in self.fields.iter_mut().zip(MetricField::ALL) {
            *sum += i128::from(field.of(metric));
        }
        let total = self.total.get_or_insert(FlowMetric {
            start: metric.start,
            last: metric.last,
            ..FlowMetric::default()
        });
        total.ab_packets = total.ab_packets.saturating_add(metric.ab_packets);
        total.ab_bytes = total.ab_bytes.saturating_add(metric.ab_bytes);
        total.ba_packets = total.ba_packets.saturating_add(metric.ba_packets);
        total.ba_bytes = total.ba_bytes.saturating_add(metric.ba_bytes);
        total.start = total.start.min(metric.start);
        total.last = total.last.max(metric.last);
    }

    /// The sum of one field.
    pub(super) fn of(&self, field: MetricField) -> i128 {
        self.fields
            .iter()
            .zip(MetricField::ALL)
            .find(|(_, f)| *f == field)
            .map_or(0, |(sum, _)| *sum)
    }

    /// The sum of all counters from the earliest start to the latest end, without a round-trip time,
    /// which cannot be added up; `None` if nothing was added.
    pub(super) fn total(&self) -> Option<FlowMetric> {
        self.total
    }
}

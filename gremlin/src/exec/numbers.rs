//! `Count` and `Sum`: one pass, nothing held.

use std::ops::ControlFlow;

use flowtap_flow::filter::{FieldValue, FlowField, MetricField};

use super::Context;
use super::flows::FlowsPlan;
use super::metrics::MetricsPlan;
use super::node_metrics::NodeMetricsPlan;
use super::pipeline::MORE;
use super::traversal::Traversal;
use super::values::ValuesPlan;
use crate::answer::Answer;
use crate::arguments;
use crate::error::QueryError;
use crate::graph::{Field, to_json};
use crate::syntax::ast::Step;

/// What is counted or added up.
#[derive(Clone, Debug)]
pub(super) enum NumberPlan {
    CountFlows(FlowsPlan),
    SumFlows(FlowsPlan, FlowMetricField),
    CountValues(ValuesPlan),
    CountMetrics(MetricsPlan),
    /// One field, or the whole metric.
    SumMetrics(MetricsPlan, Option<MetricField>),
    CountElements(Traversal),
    SumNodes(NodeSum),
    CountNodeMetrics(NodeMetricsPlan),
    /// One counter, or all of them.
    SumNodeMetrics(NodeMetricsPlan, Option<String>),
}

/// A field of nodes to add up, and where the query names it.
#[derive(Clone, Debug)]
pub(super) struct NodeSum {
    nodes: Traversal,
    name: String,
    column: usize,
}

/// `Metric.…` or `LastUpdateMetric.…`.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowMetricField {
    last_update: bool,
    field: MetricField,
}

impl NumberPlan {
    pub(super) fn sum_flows(flows: FlowsPlan, step: &Step) -> Result<Self, QueryError> {
        let column = step.arguments.first().map_or(step.column, |a| a.column);
        let key = arguments::text(step)?;
        let field = match FlowField::parse(&key) {
            FlowField::Metric(field) => FlowMetricField {
                last_update: false,
                field,
            },
            FlowField::LastUpdateMetric(field) => FlowMetricField {
                last_update: true,
                field,
            },
            _ => {
                let message = format!(
                    "Sum accepts only sub fields of Metric and LastUpdateMetric ({}), got: {key}",
                    metric_names()
                );
                return Err(QueryError::at(column, message));
            }
        };
        Ok(Self::SumFlows(flows, field))
    }

    pub(super) fn sum_metrics(metrics: MetricsPlan, step: &Step) -> Result<Self, QueryError> {
        let Some(key) = arguments::optional_text(step)? else {
            return Ok(Self::SumMetrics(metrics, None));
        };
        let field = MetricField::parse(&key).ok_or_else(|| {
            let column = step.arguments.first().map_or(step.column, |a| a.column);
            let message = format!("Sum on metrics takes one of {}, got: {key}", metric_names());
            QueryError::at(column, message)
        })?;
        Ok(Self::SumMetrics(metrics, Some(field)))
    }

    pub(super) fn sum_nodes(nodes: Traversal, step: &Step) -> Result<Self, QueryError> {
        Ok(Self::SumNodes(NodeSum {
            nodes,
            name: arguments::text(step)?,
            column: step.arguments.first().map_or(step.column, |a| a.column),
        }))
    }

    pub(super) fn run(self, context: &Context<'_>) -> Result<Answer, QueryError> {
        let mut count = 0;
        match self {
            Self::CountFlows(flows) => flows.visit(context, &mut |_| {
                count += 1;
                MORE
            })?,
            Self::CountValues(values) => values.visit(context, &mut |_| {
                count += 1;
                MORE
            })?,
            Self::CountMetrics(metrics) => count = metrics.count(context)?,
            Self::CountElements(elements) => count = elements.count(context)? as i128,
            Self::CountNodeMetrics(metrics) => count = metrics.count(context)? as i128,
            Self::SumNodes(sum) => return sum.run(context),
            Self::SumNodeMetrics(metrics, None) => return metrics.sum(context).map(Answer::NodeMetric),
            Self::SumNodeMetrics(metrics, Some(name)) => count = metrics.sum_of(&name, context)?,
            Self::SumFlows(flows, FlowMetricField { last_update, field }) => {
                flows.visit(context, &mut |flow| {
                    let metric = if last_update {
                        flow.last_update_metric
                    } else {
                        Some(flow.metric)
                    };
                    count += metric.map_or(0, |metric| i128::from(field.of(&metric)));
                    MORE
                })?;
            }
            Self::SumMetrics(metrics, field) => {
                let sum = metrics.sum(context)?;
                match field {
                    None => return Ok(Answer::Metric(sum.total())),
                    Some(field) => count = sum.of(field),
                }
            }
        }
        Ok(Answer::Number(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}

impl NodeSum {
    /// Adds up what the nodes have there; those without it count as nothing.
    fn run(&self, context: &Context<'_>) -> Result<Answer, QueryError> {
        let field = Field::parse(&self.name);
        let (mut whole, mut fraction) = (0_i128, None);
        for node in self.nodes.nodes(context)? {
            context.cancel.check()?;
            let mut refused = None;
            field.visit(&*node, &mut |value| {
                match value {
                    FieldValue::Int(int) => whole += i128::from(int),
                    FieldValue::Float(float) => *fraction.get_or_insert(0.0) += float,
                    other => {
                        refused = Some(to_json(other));
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
            if let Some(value) = refused {
                let message = format!("Sum adds numbers, {} of node {} is {value}", self.name, node.id);
                return Err(QueryError::at(self.column, message));
            }
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a sum with fractions is no exact number"
        )]
        Ok(match fraction {
            Some(fraction) => Answer::Decimal(whole as f64 + fraction),
            None => Answer::Number(i64::try_from(whole).unwrap_or(i64::MAX)),
        })
    }
}

fn metric_names() -> String {
    MetricField::ALL.map(MetricField::as_str).join(", ")
}

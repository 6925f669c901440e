//! `Count` and `Sum`: one pass, nothing held.

use flowtap_flow::filter::{FlowField, MetricField};

use super::Context;
use super::flows::FlowsPlan;
use super::metrics::MetricsPlan;
use super::pipeline::MORE;
use super::values::ValuesPlan;
use crate::answer::Answer;
use crate::arguments;
use crate::error::QueryError;
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

fn metric_names() -> String {
    MetricField::ALL.map(MetricField::as_str).join(", ")
}

//! Plans and how they run: one module for each kind of thing that steps work on.
//!
//! A plan is folded from the steps of a query, first to last: each kind's `then` takes one step and
//! gives the next plan. The last one runs. Nothing is read before the whole query is planned, so
//! what later steps need (a limit, a count) decides how the earlier ones read.

mod aggregate;
mod engine;
mod flows;
mod groups;
mod keys;
mod limits;
mod metrics;
mod numbers;
mod packets;
mod pipeline;
mod sort;
mod values;

use std::time::Duration;

use flowtap_flow::packet::FilterCompiler;
use flowtap_flow::query::{Cancel, FlowReader};
use flowtap_flow::timestamp::Timestamp;

pub use engine::{Engine, EngineOptions};
pub use limits::Limits;

use crate::answer::Answer;
use crate::error::QueryError;
use crate::syntax::ast::{Query, Step, StepName};
use crate::time::{TimeSpec, Window};

/// What planning needs to know.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: Timestamp,
    flow_expire: Duration,
}

/// What running needs.
struct Context<'a> {
    reader: &'a dyn FlowReader,
    compiler: &'a dyn FilterCompiler,
    cancel: &'a Cancel,
    limits: &'a Limits,
}

/// A query, ready to run.
#[derive(Debug)]
enum Plan {
    Graph(Option<Window>),
    Flows(flows::FlowsPlan),
    RawPackets(packets::PacketsPlan),
    Metrics(metrics::MetricsPlan),
    Groups(groups::GroupsPlan),
    Values(values::ValuesPlan),
    Number(numbers::NumberPlan),
}

impl Plan {
    fn of(query: &Query, clock: Clock) -> Result<Self, QueryError> {
        query.check_available()?;
        query
            .steps
            .iter()
            .try_fold(Self::Graph(None), |plan, step| plan.then(step, clock))
    }

    fn then(self, step: &Step, clock: Clock) -> Result<Self, QueryError> {
        match self {
            Self::Graph(_) if step.name == StepName::At => {
                Ok(Self::Graph(Some(TimeSpec::of(step)?.window(clock.now))))
            }
            Self::Graph(window) if step.name == StepName::Flows => {
                flows::FlowsPlan::new(window, clock.flow_expire, step).map(Self::Flows)
            }
            Self::Flows(plan) => plan.then(step),
            Self::RawPackets(plan) => plan.then(step),
            Self::Metrics(plan) => plan.then(step),
            Self::Groups(plan) => plan.then(step),
            Self::Values(plan) => plan.then(step),
            Self::Graph(_) | Self::Number(_) => Err(unplanned(step)),
        }
    }

    fn run(self, context: &Context<'_>) -> Result<Answer, QueryError> {
        match self {
            // `check_available` lets no query end here.
            Self::Graph(_) => Err(QueryError::at(1, "the graph is not available on this host yet")),
            Self::Flows(plan) => plan.collect(context).map(Answer::Flows),
            Self::RawPackets(plan) => plan.run(context).map(Answer::RawPackets),
            Self::Metrics(plan) => plan.run(context),
            Self::Groups(plan) => plan.run(context).map(Answer::Groups),
            Self::Values(plan) => plan.run(context).map(Answer::Values),
            Self::Number(plan) => plan.run(context),
        }
    }
}

/// For a step that the static checks let through and no plan knows: only a slip of ours makes one.
fn unplanned(step: &Step) -> QueryError {
    QueryError::at(
        step.column,
        format!("step {} is not available on this host yet", step.name),
    )
}

//! Plans and how they run: one module for each kind of thing that steps work on.
//!
//! A plan is folded from the steps of a query, first to last: each kind's `then` takes one step and
//! gives the next plan. The last one runs. Nothing is read before the whole query is planned, so
//! what later steps need (a limit, a count) decides how the earlier ones read.

mod aggregate;
mod engine;
mod flow_ends;
mod flows;
mod groups;
mod keys;
mod metrics;
mod node_metrics;
mod numbers;
mod packets;
mod pipeline;
mod sockets;
mod sort;
mod traversal;
mod values;

use std::net::IpAddr;
use std::time::Duration;

use flowtap_flow::packet::FilterCompiler;
use flowtap_flow::query::{Cancel, FlowReader};
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Topology;

pub use engine::{Engine, EngineOptions};

use crate::answer::Answer;
use crate::error::QueryError;
use crate::limits::Limits;
use crate::syntax::ast::{Query, Step, StepName};

/// What planning needs to know.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: Timestamp,
    flow_expire: Duration,
}

/// What running needs.
struct Context<'a> {
    reader: &'a dyn FlowReader,
    topology: &'a Topology,
    compiler: &'a dyn FilterCompiler,
    cancel: &'a Cancel,
    limits: &'a Limits,
}

/// A query, ready to run.
#[derive(Debug)]
enum Plan {
    /// The graph, and nodes, edges and paths of it.
    Graph(traversal::Traversal),
    Flows(flows::FlowsPlan),
    RawPackets(packets::PacketsPlan),
    Metrics(metrics::MetricsPlan),
    NodeMetrics(node_metrics::NodeMetricsPlan),
    Groups(groups::GroupsPlan),
    Sockets(sockets::SocketsPlan),
    NextHops(traversal::Traversal, IpAddr),
    Values(values::ValuesPlan),
    Number(numbers::NumberPlan),
}

impl Plan {
    fn of(query: &Query, clock: Clock) -> Result<Self, QueryError> {
        query
            .steps
            .iter()
            .try_fold(Self::Graph(traversal::Traversal::new()), |plan, step| {
                plan.then(step, clock)
            })
    }

    fn then(self, step: &Step, clock: Clock) -> Result<Self, QueryError> {
        match self {
            Self::Graph(_) if step.name == StepName::Workflow => Err(no_workflows(step)),
            Self::Graph(plan) => plan.then(step, clock),
            Self::Flows(plan) => plan.then(step),
            Self::RawPackets(plan) => plan.then(step),
            Self::Metrics(plan) => plan.then(step),
            Self::NodeMetrics(plan) => plan.then(step),
            Self::Groups(plan) => plan.then(step),
            Self::Sockets(plan) => plan.then(step),
            Self::Values(plan) => plan.then(step),
            Self::NextHops(..) | Self::Number(_) => Err(unplanned(step)),
        }
    }

    fn run(self, context: &Context<'_>) -> Result<Answer, QueryError> {
        match self {
            Self::Graph(plan) => plan.answer(context),
            Self::Flows(plan) => plan.collect(context).map(Answer::Flows),
            Self::RawPackets(plan) => plan.run(context).map(Answer::RawPackets),
            Self::Metrics(plan) => plan.run(context),
            Self::NodeMetrics(plan) => plan.run(context),
            Self::Groups(plan) => plan.run(context).map(Answer::Groups),
            Self::Sockets(plan) => plan.run(context).map(Answer::Sockets),
            Self::NextHops(plan, to) => plan.next_hops(to, context),
            Self::Values(plan) => plan.run(context).map(Answer::Values),
            Self::Number(plan) => plan.run(context),
        }
    }
}

fn no_workflows(step: &Step) -> QueryError {
    QueryError::at(
        step.column,
        "workflows are not part of flowtap; ask the queries of the workflow's script one by one",
    )
}

/// For a step that the static checks let through and no plan knows: only a slip of ours makes one.
fn unplanned(step: &Step) -> QueryError {
    QueryError::at(step.column, format!("step {} is not available here", step.name))
}

//! Steps on nodes, edges and paths.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use flowtap_flow::query::ReadError;
use flowtap_topology::{Budget, Edge, HistoryError, Metadata, Node, Snapshot, Wanted, metadata_bytes};

use super::flow_ends::FlowEnds;
use super::flows::FlowsPlan;
use super::node_metrics::NodeMetricsPlan;
use super::numbers::NumberPlan;
use super::sockets::SocketsPlan;
use super::values::ValuesPlan;
use super::{Clock, Context, Plan, unplanned};
use crate::answer::Answer;
use crate::arguments;
use crate::error::QueryError;
use crate::graph::{Bounds, First, Move, NextHop, State, Walker, by_age, next_hop};
use crate::kind::Kind;
use crate::limits::{Meter, size};
use crate::syntax::ast::{Step, StepName};
use crate::time::{TimeSpec, Window};

/// A way through the graph.
#[derive(Clone, Debug)]
pub(super) struct Traversal {
    origin: Origin,
    moves: Vec<Move>,
    /// What it leads to.
    kind: Kind,
}

/// Where the way begins.
#[derive(Clone, Debug)]
enum Origin {
    /// The graph, as it is or as it was.
    Graph(Option<Window>),
    /// The nodes that flows lead to.
    Flows(Box<FlowsPlan>, FlowEnds),
}

impl Traversal {
    /// The graph as it is.
    pub(super) fn new() -> Self {
        Self {
            origin: Origin::Graph(None),
            moves: Vec::new(),
            kind: Kind::Graph,
        }
    }

    /// The nodes at the ends of flows.
    pub(super) fn of_flows(flows: FlowsPlan, ends: FlowEnds) -> Self {
        Self {
            origin: Origin::Flows(Box::new(flows), ends),
            moves: Vec::new(),
            kind: Kind::Nodes,
        }
    }

    pub(super) fn then(mut self, step: &Step, clock: Clock) -> Result<Plan, QueryError> {
        if let Some(one) = Move::of(self.kind, step)? {
            self.kind = self.kind.after(step.name).ok_or_else(|| unplanned(step))?;
            self.moves.push(one);
            return Ok(Plan::Graph(self));
        }
        Ok(match step.name {
            StepName::At => return self.at(step, clock).map(Plan::Graph),
            StepName::Flows => Plan::Flows(FlowsPlan::new(self, clock.flow_expire, step)?),
            StepName::Count => Plan::Number(NumberPlan::CountElements(self)),
            StepName::Sum => Plan::Number(NumberPlan::sum_nodes(self, step)?),
            StepName::Values => Plan::Values(ValuesPlan::of_nodes(self, &arguments::text(step)?)),
            StepName::ValueMap => Plan::Values(ValuesPlan::of_node_maps(self, &arguments::texts(step)?)),
            StepName::Keys => Plan::Values(ValuesPlan::of_node_keys(self)),
            StepName::Metrics => Plan::NodeMetrics(NodeMetricsPlan::new(self, step)?),
            StepName::Sockets => Plan::Sockets(SocketsPlan::of_nodes(self)),
            StepName::NextHop => Plan::NextHops(self, arguments::address(step)?),
            _ => return Err(unplanned(step)),
        })
    }

    fn at(mut self, step: &Step, clock: Clock) -> Result<Self, QueryError> {
        // Behind `SubGraph` or a second `G` there is one graph already, and names kept of it.
        if !self.moves.is_empty() {
            let message = format!(
                "{} has to stand right behind G, before all other steps",
                step.name
            );
            return Err(QueryError::at(step.column, message));
        }
        self.origin = Origin::Graph(Some(TimeSpec::of(step)?.window(clock.now)));
        Ok(self)
    }

    pub(super) fn window(&self) -> Option<Window> {
        match &self.origin {
            Origin::Graph(window) => *window,
            Origin::Flows(flows, _) => flows.window(),
        }
    }

    /// Whether the graph that it is in is the whole one: no `SubGraph` was on the way.
    pub(super) fn is_whole_graph(&self) -> bool {
        let whole = match &self.origin {
            Origin::Graph(_) => true,
            Origin::Flows(flows, _) => flows.is_in_whole_graph(),
        };
        whole && !self.moves.iter().any(|one| matches!(one, Move::SubGraph))
    }

    /// Whether it leads to the whole graph, and not to a part of it.
    pub(super) fn is_everything(&self) -> bool {
        self.kind == Kind::Graph && self.is_whole_graph()
    }

    /// Goes the way. The walker stands at its end, with what it remembers.
    pub(super) fn run(&self, context: &Context<'_>) -> Result<(Walker<'static>, State), QueryError> {
        let (mut walker, state) = match &self.origin {
            Origin::Graph(window) => {
                let graph = context.graph(*window, First::of(&self.moves).as_ref())?;
                (Walker::new(Cow::Owned(graph)), State::Graph)
            }
            Origin::Flows(flows, ends) => {
                let (walker, nodes) = ends.nodes(flows, context)?;
                (walker, State::Nodes(nodes))
            }
        };
        let state = walker.run(&self.moves, state, context.bounds())?;
        Ok((walker, state))
    }

    /// The nodes that it leads to, in order.
    pub(super) fn nodes(&self, context: &Context<'_>) -> Result<Vec<Arc<Node>>, QueryError> {
        let (walker, state) = self.run(context)?;
        Ok(state.into_nodes(walker.graph()))
    }

    pub(super) fn count(&self, context: &Context<'_>) -> Result<usize, QueryError> {
        let (_, state) = self.run(context)?;
        Ok(match state {
            State::Nodes(nodes) => nodes.len(),
            State::Edges(edges) => edges.len(),
            State::Paths(paths) => paths.len(),
            State::Graph => 0,
        })
    }

    pub(super) fn answer(&self, context: &Context<'_>) -> Result<Answer, QueryError> {
        let (walker, state) = self.run(context)?;
        let mut node_bytes = Shown::new("nodes", context);
        let mut edge_bytes = Shown::new("edges", context);
        match state {
            State::Graph => {
                let mut nodes: Vec<_> = walker.graph().nodes().cloned().collect();
                let mut edges: Vec<_> = walker.graph().edges().cloned().collect();
                nodes.iter().try_for_each(|node| node_bytes.add(&node.metadata))?;
                edges.iter().try_for_each(|edge| edge_bytes.add(&edge.metadata))?;
                nodes.sort_unstable_by(|a, b| by_age(&**a, &**b));
                edges.sort_unstable_by(|a, b| by_age(&**a, &**b));
                Ok(Answer::Graph { nodes, edges })
            }
            State::Nodes(nodes) => {
                let nodes = nodes.in_order();
                nodes.iter().try_for_each(|node| node_bytes.add(&node.metadata))?;
                Ok(Answer::Nodes(nodes))
            }
            State::Edges(edges) => {
                let edges = edges.in_order();
                edges.iter().try_for_each(|edge| edge_bytes.add(&edge.metadata))?;
                Ok(Answer::Edges(edges))
            }
            State::Paths(paths) => {
                let mut nodes = paths.iter().flatten();
                nodes.try_for_each(|node| node_bytes.add(&node.metadata))?;
                Ok(Answer::Paths(paths))
            }
        }
    }

    /// For each node that has a route to `to`.
    pub(super) fn next_hops(&self, to: IpAddr, context: &Context<'_>) -> Result<Answer, QueryError> {
        let (walker, state) = self.run(context)?;
        let mut hops: Vec<(_, NextHop)> = Vec::new();
        let mut seen = HashSet::new();
        for node in state.into_nodes(walker.graph()) {
            context.cancel.check()?;
            if seen.insert(node.id.clone())
                && let Some(hop) = next_hop(walker.graph(), &node, to)
            {
                hops.push((node.id.clone(), hop));
            }
        }
        Ok(Answer::NextHops(hops))
    }
}

/// Counts what an answer will be when it is written out: elements share their memory, their text does
/// not.
struct Shown<'a> {
    meter: Meter,
    context: &'a Context<'a>,
}

impl<'a> Shown<'a> {
    fn new(what: &'static str, context: &'a Context<'_>) -> Self {
        Self {
            meter: Meter::new(what, context.limits),
            context,
        }
    }

    fn add(&mut self, metadata: &Metadata) -> Result<(), QueryError> {
        self.context.cancel.check()?;
        self.meter.add(size(size_of::<Node>()) + metadata_bytes(metadata))
    }
}

impl Context<'_> {
    /// The graph as it is, or as it was. Over a stretch of time each element that `first` asks about is as it was
    /// when it last met that, as with Skydive, which has its database look: a machine that was shut down properly
    /// has lost at its end what it is looked for by.
    pub(super) fn graph(
        &self,
        window: Option<Window>,
        first: Option<&First<'_>>,
    ) -> Result<Snapshot, QueryError> {
        let graph = match window {
            None => self.topology.live(),
            Some(window) => {
                let node = |node: &Node| first.is_some_and(|first| first.is_met(node));
                let edge = |edge: &Edge| first.is_some_and(|first| first.is_met(edge));
                let wanted = match first {
                    None => Wanted::Newest,
                    Some(first) if first.edges => Wanted::Edge(&edge),
                    Some(_) => Wanted::Node(&node),
                };
                let graph = self.topology.at(window.slice(), wanted, &self.budget());
                graph.map_err(|error| self.past_error(error))?
            }
        };
        Ok(Arc::unwrap_or_clone(graph))
    }

    /// What a look into the past may cost: what the query may.
    pub(super) fn budget(&self) -> Budget {
        let cancel = self.cancel.clone();
        Budget::new(self.limits.max_rows, self.limits.max_bytes, move || {
            cancel.check().is_ok()
        })
    }

    /// Why the past cannot be told. Whoever asked knows why they gave up.
    pub(super) fn past_error(&self, error: HistoryError) -> QueryError {
        match error {
            HistoryError::Cancelled => self.cancel.check().err().unwrap_or(ReadError::Cancelled).into(),
            error => error.into(),
        }
    }

    pub(super) fn bounds(&self) -> Bounds<'_> {
        Bounds {
            limits: self.limits,
            cancel: self.cancel,
        }
    }
}

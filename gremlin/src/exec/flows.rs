//! Steps on flows.

use std::collections::HashSet;
use std::time::Duration;

use flowtap_flow::filter::{FieldValue, FlowField, FlowFilter, Predicate, Value};
use flowtap_flow::flow::Flow;
use flowtap_flow::query::{FlowQuery, FlowRef, TimeRange};

use super::flow_ends::FlowEnds;
use super::groups::GroupsPlan;
use super::metrics::MetricsPlan;
use super::numbers::NumberPlan;
use super::packets::PacketsPlan;
use super::pipeline::{Dedup, Filter, MORE, Next, Slice, Stages, feed, finish};
use super::sockets::SocketsPlan;
use super::sort::Sort;
use super::traversal::Traversal;
use super::values::ValuesPlan;
use super::{Context, Plan, unplanned};
use crate::arguments;
use crate::error::QueryError;
use crate::graph::Walker;
use crate::limits::{Meter, flow_bytes, size};
use crate::syntax::ast::{Step, StepName};
use crate::time::Window;

/// The TIDs of the nodes that flows are of.
pub(super) type Tids = HashSet<Box<str>>;

/// TIDs that a reader is asked for by name; with more, each flow is looked up among them here.
const MAX_NAMED_TIDS: usize = 64;

/// `Flows` and the steps after it that leave flows flows.
#[derive(Clone, Debug)]
pub(super) struct FlowsPlan {
    /// What the flows are of: the whole graph, or the nodes that it leads to.
    of: Traversal,
    flow_expire: Duration,
    /// What the reader is asked for: every condition that no limit or dedup precedes.
    filter: FlowFilter,
    /// What is done to the flows that it gives.
    stages: Vec<FlowStage>,
}

#[derive(Clone, Debug)]
enum FlowStage {
    Filter(FlowFilter),
    Dedup(Vec<FlowField>),
    Sort { field: FlowField, descending: bool },
    Slice { from: u64, to: u64 },
}

impl FlowsPlan {
    pub(super) fn new(of: Traversal, flow_expire: Duration, step: &Step) -> Result<Self, QueryError> {
        Ok(Self {
            of,
            flow_expire,
            filter: arguments::flow_filter(step)?,
            stages: Vec::new(),
        })
    }

    pub(super) fn then(mut self, step: &Step) -> Result<Plan, QueryError> {
        if let Some(ends) = FlowEnds::of(step)? {
            return Ok(Plan::Graph(Traversal::of_flows(self, ends)));
        }
        match step.name {
            StepName::Has | StepName::HasEither => self.filter_by(arguments::flow_filter(step)?),
            StepName::Dedup => self.dedup_by(&arguments::dedup(step)?),
            StepName::Sort => {
                // An order in front of another is lost: ties are broken by UUID.
                self.drop_last_sort();
                let spec = arguments::sort(step)?;
                let field = spec.key.as_deref().map_or(FlowField::Last, FlowField::parse);
                self.stages.push(FlowStage::Sort {
                    field,
                    descending: spec.descending,
                });
            }
            StepName::Limit | StepName::Range => {
                let (from, to) = arguments::range(step)?;
                self.stages.push(FlowStage::Slice { from, to });
            }
            StepName::Count => {
                self.drop_last_sort();
                return Ok(Plan::Number(NumberPlan::CountFlows(self)));
            }
            StepName::Sum => {
                self.drop_last_sort();
                return NumberPlan::sum_flows(self, step).map(Plan::Number);
            }
            StepName::Values => {
                return Ok(Plan::Values(ValuesPlan::of_field(self, &arguments::text(step)?)));
            }
            StepName::Keys => {
                self.drop_last_sort();
                return Ok(Plan::Values(ValuesPlan::of_flow_keys(self)));
            }
            StepName::Metrics => return MetricsPlan::new(self, step).map(Plan::Metrics),
            StepName::RawPackets => return Ok(Plan::RawPackets(PacketsPlan::new(self))),
            StepName::Sockets => return Ok(Plan::Sockets(SocketsPlan::of_flows(self))),
            StepName::Group => return Ok(Plan::Groups(GroupsPlan::new(self))),
            _ => return Err(unplanned(step)),
        }
        Ok(Plan::Flows(self))
    }

    fn filter_by(&mut self, filter: FlowFilter) {
        // A condition may change places with an order, but not with a limit or a dedup.
        let moves = self
            .stages
            .iter()
            .all(|s| matches!(s, FlowStage::Sort { .. } | FlowStage::Filter(_)));
        if moves {
            self.filter = std::mem::take(&mut self.filter).and(filter);
        } else {
            self.stages.push(FlowStage::Filter(filter));
        }
    }

    fn dedup_by(&mut self, keys: &[String]) {
        let fields: Vec<FlowField> = keys.iter().map(|key| FlowField::parse(key)).collect();
        // Readers give each UUID once.
        if !fields.is_empty() && fields != [FlowField::Uuid] {
            self.stages.push(FlowStage::Dedup(fields));
        }
    }

    fn drop_last_sort(&mut self) {
        self.stages
            .pop_if(|stage| matches!(stage, FlowStage::Sort { .. }));
    }

    pub(super) fn window(&self) -> Option<Window> {
        self.of.window()
    }

    /// Whether steps from these flows to nodes look in the whole graph.
    pub(super) fn is_in_whole_graph(&self) -> bool {
        self.of.is_whole_graph()
    }

    /// The time of the packets and metrics that are asked of these flows.
    pub(super) fn contents_time(&self) -> TimeRange {
        self.window().map_or(TimeRange::ALL, Window::contents)
    }

    /// True if the flows come in an order that the user asked for.
    pub(super) fn is_sorted(&self) -> bool {
        self.stages
            .iter()
            .any(|stage| matches!(stage, FlowStage::Sort { .. }))
    }

    fn stages<'a>(&'a self, context: &Context<'a>) -> Stages<'a, Flow> {
        let mut stages: Stages<'a, Flow> = Vec::with_capacity(self.stages.len());
        for (i, stage) in self.stages.iter().enumerate() {
            stages.push(match stage {
                FlowStage::Filter(filter) => Box::new(Filter(|flow: &Flow| filter.matches(flow))),
                FlowStage::Dedup(fields) => {
                    let meter = Meter::new("different flows", context.limits);
                    Box::new(Dedup::new(|flow: &Flow| dedup_key(fields, flow), meter))
                }
                FlowStage::Sort { field, descending } => {
                    let keep = match self.stages.get(i + 1) {
                        Some(FlowStage::Slice { to, .. }) => Some(*to),
                        _ => None,
                    };
                    let meter = Meter::new("flows", context.limits);
                    Box::new(Sort::new(field.clone(), *descending, keep, meter))
                }
                FlowStage::Slice { from, to } => Box::new(Slice::new(*from, *to)),
            });
        }
        stages
    }

    /// The graph that the flows are of, and the TIDs of the nodes that they are of; `None` if they are
    /// of all.
    pub(super) fn place(&self, context: &Context<'_>) -> Result<(Walker<'static>, Option<Tids>), QueryError> {
        let (walker, state) = self.of.run(context)?;
        if self.of.is_everything() {
            return Ok((walker, None));
        }
        let nodes = state.into_nodes(walker.graph());
        let tids = nodes.iter().filter_map(|node| node.metadata.get("TID")?.as_str());
        let tids = tids.map(Box::from).collect();
        Ok((walker, Some(tids)))
    }

    /// Hands each flow to `sink`, in the order asked for, if one was; until it breaks.
    pub(super) fn visit(&self, context: &Context<'_>, sink: &mut Next<'_, Flow>) -> Result<(), QueryError> {
        // Flows of everything need no graph.
        let tids = if self.of.is_everything() {
            None
        } else {
            self.place(context)?.1
        };
        self.visit_among(context, tids.as_ref(), sink)
    }

    /// As [`Self::visit`], for the flows that were seen at nodes with these TIDs, or at any.
    pub(super) fn visit_among(
        &self,
        context: &Context<'_>,
        tids: Option<&Tids>,
        sink: &mut Next<'_, Flow>,
    ) -> Result<(), QueryError> {
        let time = self
            .window()
            .map_or(TimeRange::ALL, |window| window.flows(self.flow_expire));
        let mut filter = self.filter.clone();
        let mut stages = self.stages(context);
        match tids {
            None => {}
            Some(tids) if tids.is_empty() => return finish(&mut stages, sink),
            Some(tids) if tids.len() <= MAX_NAMED_TIDS => {
                let mut tids: Vec<&str> = tids.iter().map(|tid| &**tid).collect();
                tids.sort_unstable();
                let within = Predicate::Within(tids.into_iter().map(Value::from).collect());
                filter = FlowFilter::Field(FlowField::NodeTid, within).and(filter);
            }
            Some(tids) => stages.insert(0, Box::new(Filter(|flow: &Flow| tids.contains(&*flow.node_tid)))),
        }
        let query = FlowQuery { time, filter };
        let mut failure = None;
        context.reader.flows(&query, context.cancel, &mut |flow| {
            feed(&mut stages, flow, sink).unwrap_or_else(|error| {
                failure = Some(error);
                std::ops::ControlFlow::Break(())
            })
        })?;
        match failure {
            Some(error) => Err(error),
            None => finish(&mut stages, sink),
        }
    }

    /// All flows; where the user asked for no order, by start, then UUID.
    pub(super) fn collect(&self, context: &Context<'_>) -> Result<Vec<Flow>, QueryError> {
        let mut meter = Meter::new("flows", context.limits);
        let mut flows = Vec::new();
        self.visit(context, &mut |flow| {
            meter.add(flow_bytes(&flow))?;
            flows.push(flow);
            MORE
        })?;
        if !self.is_sorted() {
            flows.sort_unstable_by_key(|flow| (flow.start, flow.uuid));
        }
        Ok(flows)
    }

    /// The same as [`Self::collect`], but only what a store needs to find the flows again.
    pub(super) fn refs(&self, context: &Context<'_>) -> Result<Vec<FlowRef>, QueryError> {
        let mut meter = Meter::new("flows", context.limits);
        let mut refs = Vec::new();
        self.visit(context, &mut |flow| {
            meter.add(size(size_of::<FlowRef>()))?;
            refs.push(FlowRef::from(&flow));
            MORE
        })?;
        if !self.is_sorted() {
            refs.sort_unstable_by_key(|flow| (flow.start, flow.uuid));
        }
        Ok(refs)
    }
}

/// The values of `fields`, written so that different values never look the same; `None` if the flow
/// has none of the fields.
fn dedup_key(fields: &[FlowField], flow: &Flow) -> Option<String> {
    use std::fmt::Write;
    let mut key = String::new();
    let mut found = false;
    for field in fields {
        for value in field.values(flow) {
            found = true;
            // Length first: text may hold any separator. Writing to a string cannot fail.
            let _ = match value {
                FieldValue::Text(text) => write!(key, "t{}:{text}", text.len()),
                other => write!(key, "{other:?}"),
            };
        }
        key.push(';');
    }
    found.then_some(key)
}

//! From flows to nodes: where they were seen, who their addresses belong to.

use std::collections::HashMap;
use std::sync::Arc;

use flowtap_flow::flow::{Flow, FlowId, LinkLayer, MacAddr};
use flowtap_flow::text::Text;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{Node, Snapshot, Tid};
use serde_json::Value as Json;

use super::Context;
use super::flows::FlowsPlan;
use super::pipeline::MORE;
use crate::error::QueryError;
use crate::graph::{ElementFilter, Elements, Pace, Walker};
use crate::limits::{Meter, size};
use crate::syntax::ast::{Step, StepName};

/// Which nodes of each flow, and what they must look like.
#[derive(Clone, Debug)]
pub(super) struct FlowEnds {
    which: Which,
    filter: ElementFilter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// The node that has the MAC address A, or whose peer has.
    In,
    /// As `In`, for B.
    Out,
    /// `In`, then `Out`.
    Both,
    /// The node that the flow was seen at.
    Capture,
    /// `Capture`, then the nodes that have the addresses A and B themselves.
    All,
}

/// What is needed of a flow.
struct Seen {
    start: Timestamp,
    uuid: FlowId,
    node_tid: Text,
    link: Option<LinkLayer>,
}

impl From<Flow> for Seen {
    fn from(flow: Flow) -> Self {
        Self {
            start: flow.start,
            uuid: flow.uuid,
            node_tid: flow.node_tid,
            link: flow.link,
        }
    }
}

impl FlowEnds {
    /// `None` if `step` does not lead from flows to nodes.
    pub(super) fn of(step: &Step) -> Result<Option<Self>, QueryError> {
        let which = match step.name {
            StepName::In => Which::In,
            StepName::Out => Which::Out,
            StepName::Both => Which::Both,
            StepName::Hops | StepName::CaptureNode => Which::Capture,
            StepName::Nodes => Which::All,
            _ => return Ok(None),
        };
        Ok(Some(Self {
            which,
            filter: ElementFilter::of(step)?,
        }))
    }

    /// The nodes of each flow, in the order of the flows, and the walker in their graph. A flow without
    /// Ethernet has no nodes by address; a node comes as often as flows lead to it.
    pub(super) fn nodes(
        &self,
        flows: &FlowsPlan,
        context: &Context<'_>,
    ) -> Result<(Walker<'static>, Elements<Node>), QueryError> {
        let (walker, tids) = flows.place(context)?;
        let mut meter = Meter::new("flows", context.limits);
        let mut seen: Vec<Seen> = Vec::new();
        flows.visit_among(context, tids.as_ref(), &mut |flow| {
            meter.add(size(size_of::<Seen>()))?;
            seen.push(flow.into());
            MORE
        })?;
        if !flows.is_sorted() {
            seen.sort_unstable_by_key(|flow| (flow.start, flow.uuid));
        }
        let lookup = Lookup::new(walker.graph(), self, context)?;
        let mut meter = Meter::new("nodes", context.limits);
        let mut pace = Pace::new(context.cancel);
        let mut nodes = Vec::new();
        for flow in &seen {
            pace.tick()?;
            for node in lookup.nodes(self, flow).into_iter().flatten() {
                meter.add(size(size_of::<Arc<Node>>()))?;
                nodes.push(Arc::clone(node));
            }
        }
        drop(lookup);
        Ok((walker, Elements::ordered(nodes)))
    }
}

/// Finds nodes by TID, and by MAC address: of several with one address, the oldest.
struct Lookup<'g> {
    graph: &'g Snapshot,
    by_mac: HashMap<MacAddr, Arc<Node>>,
}

impl<'g> Lookup<'g> {
    fn new(graph: &'g Snapshot, ends: &FlowEnds, context: &Context<'_>) -> Result<Self, QueryError> {
        let keys: &[&str] = match ends.which {
            Which::Capture => &[],
            Which::All => &["MAC"],
            Which::In | Which::Out | Which::Both => &["MAC", "PeerIntfMAC"],
        };
        let mut by_mac = HashMap::new();
        if !keys.is_empty() {
            let mut pace = Pace::new(context.cancel);
            let nodes = Elements::of_graph(graph.nodes(), &ends.filter, &mut pace)?;
            for node in nodes.in_order() {
                let texts = keys.iter().filter_map(|key| node.metadata.get(*key));
                for mac in texts.filter_map(Json::as_str).filter_map(MacAddr::parse) {
                    by_mac.entry(mac).or_insert_with(|| Arc::clone(&node));
                }
            }
        }
        Ok(Self { graph, by_mac })
    }

    fn nodes(&self, ends: &FlowEnds, flow: &Seen) -> [Option<&Arc<Node>>; 3] {
        let capture = || {
            let node = self.graph.by_tid(&Tid::from(&*flow.node_tid))?;
            ends.filter.matches(&**node).then_some(node)
        };
        let a = || self.by_mac.get(&flow.link?.a);
        let b = || self.by_mac.get(&flow.link?.b);
        match ends.which {
            Which::In => [a(), None, None],
            Which::Out => [b(), None, None],
            Which::Both => [a(), b(), None],
            Which::Capture => [capture(), None, None],
            Which::All => [capture(), a(), b()],
        }
    }
}

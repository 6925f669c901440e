//! Steps on sockets.
//!
//! Nothing here watches sockets. A node has those that whoever describes it put into its `Sockets`, a
//! list of Skydive's `ConnectionInfo`; without any, the answer is empty.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use flowtap_flow::filter::{FieldValue, collect_json};
use flowtap_flow::flow::{Flow, FlowId};
use flowtap_topology::{Node, Snapshot};
use serde_json::Value as Json;

use super::flows::FlowsPlan;
use super::pipeline::MORE;
use super::traversal::Traversal;
use super::values::ValuesPlan;
use super::{Context, Plan, unplanned};
use crate::arguments;
use crate::condition::Condition;
use crate::error::QueryError;
use crate::limits::{Meter, json_bytes};
use crate::syntax::ast::{Step, StepName};

/// The sockets of nodes or flows, and what is asked of them.
#[derive(Clone, Debug)]
pub(super) struct SocketsPlan {
    source: Source,
    filters: Vec<SocketFilter>,
}

#[derive(Clone, Debug)]
enum Source {
    Nodes(Traversal),
    Flows(FlowsPlan),
}

#[derive(Clone, Debug)]
struct SocketFilter {
    either: bool,
    conditions: Vec<(Vec<String>, Condition)>,
}

/// The sockets of each node or flow that has any, by its ID.
pub(super) type BySource = Vec<(String, Vec<Json>)>;

impl SocketsPlan {
    pub(super) fn of_nodes(nodes: Traversal) -> Self {
        Self {
            source: Source::Nodes(nodes),
            filters: Vec::new(),
        }
    }

    pub(super) fn of_flows(flows: FlowsPlan) -> Self {
        Self {
            source: Source::Flows(flows),
            filters: Vec::new(),
        }
    }

    pub(super) fn then(mut self, step: &Step) -> Result<Plan, QueryError> {
        match step.name {
            StepName::Has | StepName::HasEither => {
                let conditions = arguments::required_conditions(step)?.into_iter();
                self.filters.push(SocketFilter {
                    either: step.name == StepName::HasEither,
                    conditions: conditions.map(|(key, c)| (path(&key), c)).collect(),
                });
                Ok(Plan::Sockets(self))
            }
            StepName::Values => {
                let key = arguments::text(step)?;
                Ok(Plan::Values(ValuesPlan::of_sockets(self, path(&key))))
            }
            _ => Err(unplanned(step)),
        }
    }

    pub(super) fn run(&self, context: &Context<'_>) -> Result<BySource, QueryError> {
        let mut meter = Meter::new("sockets", context.limits);
        let mut found = match &self.source {
            Source::Nodes(nodes) => of_nodes(nodes, &mut meter, context)?,
            Source::Flows(flows) => of_flows(flows, &mut meter, context)?,
        };
        for (_, sockets) in &mut found {
            sockets.retain(|socket| self.filters.iter().all(|filter| filter.matches(socket)));
        }
        // A condition that leaves a node nothing takes it out; a node without sockets is one that has
        // an empty list.
        found.retain(|(_, sockets)| self.filters.is_empty() || !sockets.is_empty());
        Ok(found)
    }
}

impl SocketFilter {
    fn matches(&self, socket: &Json) -> bool {
        let meets = |(path, condition): &(Vec<String>, Condition)| {
            let mut values: Vec<FieldValue<'static>> = Vec::new();
            collect_json(socket, path, &mut values);
            condition.test(&values)
        };
        if self.either {
            self.conditions.iter().any(meets)
        } else {
            self.conditions.iter().all(meets)
        }
    }
}

fn path(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

fn sockets_of(node: &Node) -> Option<&Vec<Json>> {
    node.metadata.get("Sockets")?.as_array()
}

fn of_nodes(nodes: &Traversal, meter: &mut Meter, context: &Context<'_>) -> Result<BySource, QueryError> {
    let mut found = BySource::new();
    let mut seen = HashSet::new();
    for node in nodes.nodes(context)? {
        context.cancel.check()?;
        let Some(sockets) = sockets_of(&node).filter(|_| seen.insert(node.id.clone())) else {
            continue;
        };
        sockets
            .iter()
            .try_for_each(|socket| meter.add(json_bytes(socket)))?;
        found.push((node.id.to_string(), sockets.clone()));
    }
    Ok(found)
}

/// Who talks to whom: protocol, local address and port, remote address and port.
type Tuple = (String, IpAddr, u16, IpAddr, u16);

/// The sockets at both ends of each flow, the first packet's sender first.
fn of_flows(flows: &FlowsPlan, meter: &mut Meter, context: &Context<'_>) -> Result<BySource, QueryError> {
    let (walker, tids) = flows.place(context)?;
    let sockets = by_tuple(walker.graph());
    let mut found: Vec<(_, FlowId, Vec<Json>)> = Vec::new();
    // Without sockets there is nothing to find, however many flows there are.
    if !sockets.is_empty() {
        flows.visit_among(context, tids.as_ref(), &mut |flow| {
            let ends = [tuple_of(&flow, false), tuple_of(&flow, true)];
            let known = ends.iter().flatten().filter_map(|tuple| sockets.get(tuple));
            let known: Vec<Json> = known.flatten().cloned().collect();
            known
                .iter()
                .try_for_each(|socket| meter.add(json_bytes(socket)))?;
            if !known.is_empty() {
                found.push((flow.start, flow.uuid, known));
            }
            MORE
        })?;
    }
    if !flows.is_sorted() {
        found.sort_by_key(|(start, uuid, _)| (*start, *uuid));
    }
    let found = found.into_iter();
    Ok(found
        .map(|(_, uuid, sockets)| (uuid.to_string(), sockets))
        .collect())
}

fn by_tuple(graph: &Snapshot) -> HashMap<Tuple, Vec<Json>> {
    let mut nodes: Vec<&Arc<Node>> = graph.nodes().filter(|node| sockets_of(node).is_some()).collect();
    nodes.sort_unstable_by(|a, b| crate::graph::by_age(&***a, &***b));
    let mut sockets: HashMap<Tuple, Vec<Json>> = HashMap::new();
    for socket in nodes.into_iter().filter_map(|node| sockets_of(node)).flatten() {
        let text = |key: &str| socket.get(key)?.as_str();
        let port = |key: &str| u16::try_from(socket.get(key)?.as_u64()?).ok();
        let tuple = || {
            Some((
                text("Protocol")?.to_owned(),
                text("LocalAddress")?.parse().ok()?,
                port("LocalPort")?,
                text("RemoteAddress")?.parse().ok()?,
                port("RemotePort")?,
            ))
        };
        if let Some(tuple) = tuple() {
            sockets.entry(tuple).or_default().push(socket.clone());
        }
    }
    sockets
}

fn tuple_of(flow: &Flow, from_b: bool) -> Option<Tuple> {
    let (network, transport) = (flow.network?, flow.transport?);
    let protocol = transport.protocol.as_str().to_owned();
    Some(if from_b {
        (protocol, network.b, transport.b, network.a, transport.a)
    } else {
        (protocol, network.a, transport.a, network.b, transport.b)
    })
}

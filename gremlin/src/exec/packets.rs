//! Steps on raw packets.

use std::collections::HashMap;
use std::ops::ControlFlow;

use flowtap_flow::flow::FlowId;
use flowtap_flow::packet::{FilterCompiler, LinkType, PacketFilter, RawPacket};

use super::flows::FlowsPlan;
use super::limits::{Meter, size};
use super::{Context, Plan, unplanned};
use crate::arguments;
use crate::error::QueryError;
use crate::syntax::ast::{Step, StepName};

/// The raw packets of flows, and the filters they must pass.
#[derive(Clone, Debug)]
pub(super) struct PacketsPlan {
    flows: FlowsPlan,
    filters: Vec<Expression>,
}

/// One `BPF` step.
#[derive(Clone, Debug)]
struct Expression {
    column: usize,
    text: String,
}

impl PacketsPlan {
    pub(super) fn new(flows: FlowsPlan) -> Self {
        Self {
            flows,
            filters: Vec::new(),
        }
    }

    pub(super) fn then(mut self, step: &Step) -> Result<Plan, QueryError> {
        if step.name != StepName::Bpf {
            return Err(unplanned(step));
        }
        let column = step.arguments.first().map_or(step.column, |a| a.column);
        self.filters.push(Expression {
            column,
            text: arguments::text(step)?,
        });
        Ok(Plan::RawPackets(self))
    }

    /// The packets of each flow that has any, oldest first. A flow whose packets no filter lets
    /// through stays, with none.
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<(FlowId, Vec<RawPacket>)>, QueryError> {
        let flows = self.flows.refs(context)?;
        let mut filters: Vec<Filter<'_>> = self.filters.iter().map(Filter::new).collect();
        let mut meter = Meter::new("raw packets", context.limits);
        let mut by_flow: HashMap<FlowId, Vec<RawPacket>> = HashMap::new();
        let mut failure = None;
        let mut take = |flow, packet: RawPacket| -> Result<(), QueryError> {
            let packets = by_flow.entry(flow).or_default();
            for filter in &mut filters {
                if !filter.matches(context.compiler, &packet)? {
                    return Ok(());
                }
            }
            meter.add(size(size_of::<RawPacket>() + packet.data.len()))?;
            packets.push(packet);
            Ok(())
        };
        let time = self.flows.contents_time();
        context.reader.raw_packets(
            &flows,
            time,
            context.cancel,
            &mut |flow, packet| match take(flow, packet) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        if let Some(error) = failure {
            return Err(error);
        }
        let in_order = flows.iter().filter_map(|flow| by_flow.remove_entry(&flow.uuid));
        Ok(in_order
            .map(|(flow, mut packets)| {
                packets.sort_by_key(|packet| packet.index);
                (flow, packets)
            })
            .collect())
    }
}

/// An expression compiled for each link type when its first packet comes.
struct Filter<'a> {
    expression: &'a Expression,
    programs: HashMap<LinkType, Box<dyn PacketFilter>>,
}

impl<'a> Filter<'a> {
    fn new(expression: &'a Expression) -> Self {
        Self {
            expression,
            programs: HashMap::new(),
        }
    }

    fn matches(&mut self, compiler: &dyn FilterCompiler, packet: &RawPacket) -> Result<bool, QueryError> {
        use std::collections::hash_map::Entry;
        let program = match self.programs.entry(packet.link_type) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let compiled = compiler.compile(&self.expression.text, packet.link_type);
                let program = compiled.map_err(|message| {
                    let text = &self.expression.text;
                    QueryError::at(self.expression.column, format!("BPF '{text}': {message}"))
                })?;
                new.insert(program)
            }
        };
        Ok(program.matches(&packet.data, packet.len))
    }
}

//! Steps on raw packets.

use std::collections::HashMap;
use std::ops::ControlFlow;

use flowtap_flow::flow::FlowId;
use flowtap_flow::packet::{FilterCompiler, LinkType, PacketFilter, RawPacket};

use super::flows::FlowsPlan;
use super::{Context, Plan, unplanned};
use crate::arguments;
use crate::error::QueryError;
use crate::limits::{Meter, size};
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
        let filters = self.filters.iter();
        let mut filters = filters
            .map(|expression| Filter::new(expression, context.compiler))
            .collect::<Result<Vec<_>, _>>()?;
        let flows = self.flows.refs(context)?;
        let mut meter = Meter::new("raw packets", context.limits);
        let mut by_flow: HashMap<FlowId, Vec<RawPacket>> = HashMap::new();
        let mut failure = None;
        let mut take = |flow, packet: RawPacket| -> Result<(), QueryError> {
            let packets = by_flow.entry(flow).or_default();
            for filter in &mut filters {
                if !filter.matches(context.compiler, &packet) {
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

/// An expression compiled for Ethernet at once, so that a wrong one is refused whatever there is to
/// filter, and for each other link type when its first packet comes.
struct Filter<'a> {
    expression: &'a Expression,
    /// `None` where the expression makes no sense for the link type (`ether host` on raw IP beside
    /// Ethernet): such packets do not match.
    programs: HashMap<LinkType, Option<Box<dyn PacketFilter>>>,
}

impl<'a> Filter<'a> {
    fn new(expression: &'a Expression, compiler: &dyn FilterCompiler) -> Result<Self, QueryError> {
        let text = &expression.text;
        let program = compiler
            .compile(text, LinkType::ETHERNET)
            .map_err(|message| QueryError::at(expression.column, format!("BPF '{text}': {message}")))?;
        Ok(Self {
            expression,
            programs: HashMap::from([(LinkType::ETHERNET, Some(program))]),
        })
    }

    fn matches(&mut self, compiler: &dyn FilterCompiler, packet: &RawPacket) -> bool {
        let program = self
            .programs
            .entry(packet.link_type)
            .or_insert_with(|| compiler.compile(&self.expression.text, packet.link_type).ok());
        program
            .as_ref()
            .is_some_and(|program| program.matches(&packet.data, packet.len))
    }
}

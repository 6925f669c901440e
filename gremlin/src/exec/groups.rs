//! Steps on groups of flows.

use std::collections::HashMap;

use flowtap_flow::flow::{Flow, FlowId};

use super::flows::FlowsPlan;
use super::{Context, Plan, unplanned};
use crate::arguments;
use crate::error::QueryError;
use crate::syntax::ast::{Step, StepName};

/// Flows by TrackingID.
#[derive(Clone, Debug)]
pub(super) struct GroupsPlan {
    flows: FlowsPlan,
    /// Groups must hold more flows than this.
    more_than: u64,
}

impl GroupsPlan {
    pub(super) fn new(flows: FlowsPlan) -> Self {
        Self { flows, more_than: 0 }
    }

    pub(super) fn then(mut self, step: &Step) -> Result<Plan, QueryError> {
        if step.name != StepName::MoreThan {
            return Err(unplanned(step));
        }
        self.more_than = self.more_than.max(arguments::more_than(step)?);
        Ok(Plan::Groups(self))
    }

    /// The groups in the order of their first flows.
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<(FlowId, Vec<Flow>)>, QueryError> {
        let mut order: HashMap<FlowId, usize> = HashMap::new();
        let mut groups: Vec<(FlowId, Vec<Flow>)> = Vec::new();
        for flow in self.flows.collect(context)? {
            let index = *order.entry(flow.tracking_id).or_insert_with(|| {
                groups.push((flow.tracking_id, Vec::new()));
                groups.len() - 1
            });
            groups[index].1.push(flow);
        }
        groups.retain(|(_, flows)| flows.len() as u64 > self.more_than);
        Ok(groups)
    }
}

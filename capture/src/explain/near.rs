//! Nodes that an expression just misses.

use flowtap_collectors::CaptureType;
use flowtap_topology::{Node, Snapshot};

use super::criteria::{Criterion, criteria};
use super::{NearMiss, NodeName};
use crate::declare::Expression;

/// How alike what is and what is asked must be, where a node meets no condition at all.
const ALIKE: f64 = 0.75;

/// The nodes that meet most of the conditions but not all, nearest first, `limit` at most.
pub(super) fn near_misses(expression: &Expression, graph: &Snapshot, limit: usize) -> Vec<NearMiss> {
    let criteria = criteria(expression.query(), graph);
    let mut misses: Vec<Miss<'_>> = graph
        .nodes()
        .filter_map(|node| Miss::of(node, &criteria))
        .collect();
    misses.sort_by(|a, b| {
        b.rank()
            .partial_cmp(&a.rank())
            .unwrap_or(std::cmp::Ordering::Equal)
            .then_with(|| a.name().cmp(&b.name()))
    });
    misses.truncate(limit);
    let misses = misses.into_iter().map(|miss| NearMiss {
        node: NodeName::of(miss.node, graph),
        why: miss.why(),
    });
    misses.collect()
}

struct Miss<'a> {
    node: &'a Node,
    failed: Vec<&'a Criterion>,
    met: usize,
    /// How many conditions it meets before the first that it does not: whoever writes an expression begins
    /// with what matters most.
    met_first: usize,
    nearness: f64,
}

impl<'a> Miss<'a> {
    /// `None` if it meets all, or nothing of it is near.
    fn of(node: &'a Node, criteria: &'a [Criterion]) -> Option<Self> {
        let (met, failed): (Vec<_>, Vec<_>) = criteria
            .iter()
            .partition(|criterion| criterion.met_by.contains(&node.id));
        let nearness = failed.iter().map(|criterion| criterion.nearness(node));
        let nearness = nearness.fold(0.0, f64::max);
        let is_near = !failed.is_empty() && (!met.is_empty() || nearness >= ALIKE);
        is_near.then_some(Self {
            node,
            failed,
            met: met.len(),
            met_first: criteria
                .iter()
                .take_while(|criterion| criterion.met_by.contains(&node.id))
                .count(),
            nearness,
        })
    }

    /// First what can be captured at all, then who meets most, then who is most alike.
    fn rank(&self) -> (bool, usize, usize, f64) {
        let types = CaptureType::of_node(self.node.node_type().unwrap_or_default());
        (!types.is_empty(), self.met, self.met_first, self.nearness)
    }

    /// Nodes that are equally near are shown in one order always.
    fn name(&self) -> (Option<&str>, &str) {
        (self.node.name(), self.node.id.as_str())
    }

    fn why(&self) -> String {
        let reasons: Vec<String> = self
            .failed
            .iter()
            .map(|failed| failed.why_not(self.node))
            .collect();
        reasons.join("; ")
    }
}

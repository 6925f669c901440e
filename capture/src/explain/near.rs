//! Nodes that an expression just misses.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use flowtap_collectors::CaptureType;
use flowtap_topology::{Node, NodeId, Snapshot};

use super::criteria::{Asked, Criterion};
use super::{NearMiss, NodeName};

/// How alike what is and what is asked must be, where a node meets no condition at all.
const ALIKE: f64 = 0.75;

/// The nodes that meet most of the conditions but not all, nearest first, `limit` at most; none of `named`.
pub(super) fn near_misses(
    asked: &Asked,
    named: &[Arc<Node>],
    graph: &Snapshot,
    limit: usize,
) -> Vec<NearMiss> {
    let criteria = asked.criteria.as_slice();
    let named: HashSet<&NodeId> = named.iter().map(|node| &node.id).collect();
    let among = asked.among.as_ref();
    let nodes = graph.nodes().filter(|node| !named.contains(&node.id));
    let nodes = nodes.filter(|node| among.is_none_or(|among| among.contains(&node.id)));
    // A few of many: no more than these are kept in order.
    let mut nearest: Vec<Miss<'_>> = Vec::with_capacity(limit + 1);
    for miss in nodes.filter_map(|node| Miss::of(node, criteria, among.is_some())) {
        let place = nearest.partition_point(|nearer| nearer.compare(&miss) == Ordering::Less);
        if place < limit {
            nearest.insert(place, miss);
            nearest.truncate(limit);
        }
    }
    let misses = nearest.into_iter().map(|miss| NearMiss {
        node: NodeName::of(miss.node, graph),
        why: why(miss.node, criteria),
    });
    misses.collect()
}

struct Miss<'a> {
    node: &'a Node,
    can_be_captured: bool,
    met: usize,
    /// How many conditions it meets before the first that it does not: whoever writes an expression begins
    /// with what matters most.
    met_first: usize,
    nearness: f64,
}

impl<'a> Miss<'a> {
    /// `None` if it meets all, or nothing of it is near. What other conditions have led to `is_near`.
    fn of(node: &'a Node, criteria: &[Criterion], is_near: bool) -> Option<Self> {
        let (mut met, mut met_first, mut nearness) = (0, None, 0.0_f64);
        for (place, criterion) in criteria.iter().enumerate() {
            if criterion.met_by.contains(&node.id) {
                met += 1;
            } else {
                met_first.get_or_insert(place);
                nearness = nearness.max(criterion.nearness(node));
            }
        }
        let met_first = met_first?;
        let types = CaptureType::of_node(node.node_type().unwrap_or_default());
        (is_near || met > 0 || nearness >= ALIKE).then_some(Self {
            node,
            can_be_captured: !types.is_empty(),
            met,
            met_first,
            nearness,
        })
    }

    /// First what can be captured at all, then who meets most, then who is most alike. Nodes that are
    /// equally near are shown in one order always.
    fn compare(&self, other: &Self) -> Ordering {
        let rank = |miss: &Self| (miss.can_be_captured, miss.met, miss.met_first);
        let (own, others) = (self.node, other.node);
        rank(other)
            .cmp(&rank(self))
            .then_with(|| other.nearness.total_cmp(&self.nearness))
            .then_with(|| own.name().cmp(&others.name()))
            .then_with(|| own.id.cmp(&others.id))
    }
}

/// Why a node is not named.
fn why(node: &Node, criteria: &[Criterion]) -> String {
    let failed = criteria
        .iter()
        .filter(|criterion| !criterion.met_by.contains(&node.id));
    let reasons: Vec<String> = failed.map(|criterion| criterion.why_not(node)).collect();
    reasons.join("; ")
}

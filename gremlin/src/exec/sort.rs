//! `Sort`: all flows in order, or the first so many of them in a bounded heap.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use flowtap_flow::filter::FlowField;
use flowtap_flow::flow::{Flow, FlowId};

use super::pipeline::{Flowing, MORE, Next, Stage};
use crate::limits::{Meter, flow_bytes};
use crate::sort_key::SortKey;

/// A flow and its place: by key, ties by UUID, flows without the field last in either direction.
struct Ranked {
    descending: bool,
    key: Option<SortKey>,
    uuid: FlowId,
    flow: Flow,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = SortKey::compare(self.descending, self.key.as_ref(), other.key.as_ref());
        by_key.then_with(|| self.uuid.cmp(&other.uuid))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// Orders flows.
pub(super) struct Sort {
    field: FlowField,
    descending: bool,
    /// Only the first so many are wanted.
    keep: Option<u64>,
    /// The largest on top, so that it makes room for a smaller one.
    heap: BinaryHeap<Ranked>,
    meter: Meter,
}

impl Sort {
    pub(super) fn new(field: FlowField, descending: bool, keep: Option<u64>, meter: Meter) -> Self {
        Self {
            field,
            descending,
            keep,
            heap: BinaryHeap::new(),
            meter,
        }
    }
}

impl Stage<Flow> for Sort {
    fn push(&mut self, flow: Flow, _next: &mut Next<'_, Flow>) -> Flowing {
        let key = self.field.values(&flow).into_iter().next().map(SortKey::of);
        let ranked = Ranked {
            descending: self.descending,
            key,
            uuid: flow.uuid,
            flow,
        };
        if self.keep.is_some_and(|keep| self.heap.len() as u64 >= keep) {
            match self.heap.peek_mut() {
                Some(mut largest) if ranked < *largest => {
                    self.meter.remove(flow_bytes(&largest.flow));
                    self.meter.add(flow_bytes(&ranked.flow))?;
                    *largest = ranked;
                }
                _ => {}
            }
            return MORE;
        }
        self.meter.add(flow_bytes(&ranked.flow))?;
        self.heap.push(ranked);
        MORE
    }

    fn finish(&mut self, next: &mut Next<'_, Flow>) -> Flowing {
        for ranked in std::mem::take(&mut self.heap).into_sorted_vec() {
            if next(ranked.flow)?.is_break() {
                break;
            }
        }
        MORE
    }
}

//! `Sort`: all flows in order, or the first so many of them in a bounded heap.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use flowtap_flow::filter::{FieldValue, FlowField};
use flowtap_flow::flow::{Flow, FlowId};

use super::limits::{Meter, flow_bytes};
use super::pipeline::{Flowing, MORE, Next, Stage};

/// What a flow is ordered by. Values of one field are of one variant; between variants the order
/// has no meaning, but there is one.
#[derive(Clone, Debug, PartialEq)]
enum Key {
    Int(i64),
    Float(f64),
    Bool(bool),
    Address(IpAddr),
    Text(String),
}

impl Key {
    fn of(value: FieldValue<'_>) -> Self {
        match value {
            FieldValue::Int(int) => Self::Int(int),
            FieldValue::Float(float) => Self::Float(float),
            FieldValue::Bool(bool) => Self::Bool(bool),
            FieldValue::Text(text) => text
                .parse()
                .map_or_else(|_| Self::Text(text.into_owned()), Self::Address),
        }
    }

    fn variant(&self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::Float(_) => 1,
            Self::Bool(_) => 2,
            Self::Address(_) => 3,
            Self::Text(_) => 4,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Address(a), Self::Address(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.variant().cmp(&other.variant()),
        }
    }
}

/// A flow and its place: by key, ties by UUID, flows without the field last in either direction.
struct Ranked {
    descending: bool,
    key: Option<Key>,
    uuid: FlowId,
    flow: Flow,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = match (&self.key, &other.key) {
            (Some(a), Some(b)) if self.descending => b.order(a),
            (Some(a), Some(b)) => a.order(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
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
        let key = self.field.values(&flow).into_iter().next().map(Key::of);
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

//! What a block's flows are looked up by: its filter holds these keys, and stands in for an index.

use std::net::IpAddr;

use flowtap_flow::filter::{FlowField, FlowFilter, LayerEnd, Predicate, Value};
use flowtap_flow::flow::{Flow, FlowId};

use super::bloom::{self, mix};

/// Keys of a block, some five for each flow.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<u64>);

/// What a key is of. Part of the format. A flow's two ends share a kind: most questions are for either.
#[derive(Clone, Copy)]
enum Kind {
    Uuid = 1,
    Tracking = 2,
    L3Tracking = 3,
    Parent = 4,
    Address = 5,
}

fn key(kind: Kind, value: u64) -> u64 {
    mix(value) ^ mix(kind as u64)
}

fn id_key(kind: Kind, id: FlowId) -> u64 {
    key(kind, id.0)
}

fn address_key(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => key(Kind::Address, u32::from(v4).into()),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)];
            let [high, low] = [high, low].map(|half| u64::try_from(half).unwrap_or_default());
            key(Kind::Address, mix(high) ^ low)
        }
    }
}

impl Keys {
    /// Adds those of `flow`.
    pub(super) fn add(&mut self, flow: &Flow) {
        self.0.push(id_key(Kind::Uuid, flow.uuid));
        self.0.push(id_key(Kind::Tracking, flow.tracking_id));
        self.0.push(id_key(Kind::L3Tracking, flow.l3_tracking_id));
        if flow.parent_uuid != FlowId::NONE {
            self.0.push(id_key(Kind::Parent, flow.parent_uuid));
        }
        if let Some(network) = flow.network {
            self.0.extend([network.a, network.b].map(address_key));
        }
    }

    /// The filter of all that were added; leaves none.
    pub(super) fn take_filter(&mut self) -> Vec<u8> {
        let filter = bloom::build(self.0.iter().copied());
        self.0.clear();
        filter
    }
}

/// Of which keys a block must have some: of each list, at least one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted(Vec<Vec<u64>>);

/// More alternatives than this do not narrow.
const MAX_ALTERNATIVES: usize = 256;

impl Wanted {
    /// What any flow that `filter` lets through must have.
    pub(super) fn by(filter: &FlowFilter) -> Self {
        let mut wanted = Self::default();
        wanted.require(filter);
        wanted
    }

    /// Any of these flows.
    pub(super) fn uuids(uuids: impl ExactSizeIterator<Item = FlowId>) -> Self {
        if uuids.len() > MAX_ALTERNATIVES {
            return Self::default();
        }
        Self(vec![uuids.map(|uuid| id_key(Kind::Uuid, uuid)).collect()])
    }

    /// False if the block with this filter surely has no flow that is wanted.
    pub(super) fn may_be_in(&self, filter: &[u8]) -> bool {
        let any = |keys: &Vec<u64>| keys.iter().any(|key| bloom::may_have(filter, *key));
        self.0.iter().all(any)
    }

    fn require(&mut self, filter: &FlowFilter) {
        match filter {
            FlowFilter::And(filters) => filters.iter().for_each(|filter| self.require(filter)),
            FlowFilter::Field(..) | FlowFilter::Or(_) => {
                let alternatives = alternatives(filter).filter(|keys| keys.len() <= MAX_ALTERNATIVES);
                self.0.extend(alternatives);
            }
            FlowFilter::All | FlowFilter::Not(_) => {}
        }
    }
}

/// The keys of which a flow that passes has at least one, or `None` if that cannot be told.
fn alternatives(filter: &FlowFilter) -> Option<Vec<u64>> {
    match filter {
        FlowFilter::Or(filters) => {
            let each: Option<Vec<_>> = filters.iter().map(alternatives).collect();
            Some(each?.concat())
        }
        FlowFilter::And(filters) => filters.iter().find_map(alternatives),
        FlowFilter::Field(field, predicate) => {
            let kind = match field {
                FlowField::Uuid => Kind::Uuid,
                FlowField::TrackingId => Kind::Tracking,
                FlowField::L3TrackingId => Kind::L3Tracking,
                FlowField::ParentUuid => Kind::Parent,
                FlowField::Network(part) if matches!(part.end, LayerEnd::Any | LayerEnd::A | LayerEnd::B) => {
                    return texts(predicate)?
                        .map(|text| text?.parse().ok().map(address_key))
                        .collect();
                }
                _ => return None,
            };
            let ids = texts(predicate)?.map(|text| {
                let id = FlowId::parse(text?).filter(|id| *id != FlowId::NONE)?;
                Some(id_key(kind, id))
            });
            ids.collect()
        }
        FlowFilter::All | FlowFilter::Not(_) => None,
    }
}

/// The texts that a field must equal one of; `None` for a literal that is no text, which is compared in
/// another way.
fn texts(predicate: &Predicate) -> Option<impl Iterator<Item = Option<&str>>> {
    let literals = match predicate {
        Predicate::Eq(value) => std::slice::from_ref(value),
        Predicate::Within(values) => values,
        _ => return None,
    };
    Some(literals.iter().map(|literal| match literal {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    proptest! {
        /// A block that has a flow that passes is never passed over, whatever the filter.
        #[test]
        fn no_wanted_flow_is_passed_over(
            batches in testing::batches(12),
            filters in prop::collection::vec(testing::filter(), 40),
        ) {
            let flows: Vec<_> = batches.iter().flat_map(|batch| &batch.updates).map(|update| &update.flow).collect();
            let mut keys = Keys::default();
            flows.iter().for_each(|flow| keys.add(flow));
            let block = keys.take_filter();
            for filter in filters {
                let passes = flows.iter().any(|flow| filter.matches(flow));
                prop_assert!(!passes || Wanted::by(&filter).may_be_in(&block), "{:?}", filter);
            }
            prop_assert!(Wanted::uuids(flows.iter().map(|flow| flow.uuid)).may_be_in(&block));
        }
    }

    #[test]
    fn what_is_elsewhere_is_passed_over() {
        let mut keys = Keys::default();
        let mut flow = testing::batch_of_one().updates.remove(0).flow;
        flow.tracking_id = FlowId(0xabc);
        keys.add(&flow);
        let block = keys.take_filter();
        let has = |path: &str, value: &str| Wanted::by(&FlowFilter::eq(path, value)).may_be_in(&block);
        assert!(has("TrackingID", "abc"));
        assert!(!has("TrackingID", "abd") && !has("UUID", "abc"));
        assert!(!has("Network", "203.0.113.77") && !has("IPV6.A", "2001:db8::77"));
        let both = FlowFilter::eq("Application", "x").and(FlowFilter::eq("TrackingID", "abd"));
        assert!(!Wanted::by(&both).may_be_in(&block));
        let either = FlowFilter::Or(vec![both, FlowFilter::eq("Application", "x")]);
        assert!(Wanted::by(&either).may_be_in(&block));
    }
}

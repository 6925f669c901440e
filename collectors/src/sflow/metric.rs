//! Counters by Skydive's names (`SFlow.Metric.IfInOctets`, …): their values, their changes, their JSON.

use flowtap_flow::timestamp::Timestamp;
use serde_json::{Map, Value};

/// How a value behaves in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Grows, and wraps at 2³².
    Counter32,
    /// Grows, and never wraps.
    Counter64,
    /// Goes up and down: no difference is taken.
    Gauge,
}

macro_rules! metrics {
    ($($kind:ident { $($name:ident)* })*) => {
        /// One metric; the variant's name is its name in the metadata.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(super) enum Metric { $($($name,)*)* }

        impl Metric {
            const ALL: [(Self, &'static str, Kind); [$($(Self::$name),*),*].len()] =
                [$($((Self::$name, stringify!($name), Kind::$kind)),*),*];
        }
    };
}

metrics! {
    Counter64 { IfInOctets IfOutOctets VlanOctets }
    Counter32 {
        IfInUcastPkts IfInMulticastPkts IfInBroadcastPkts IfInDiscards IfInErrors IfInUnknownProtos
        IfOutUcastPkts IfOutMulticastPkts IfOutBroadcastPkts IfOutDiscards IfOutErrors
        EthAlignmentErrors EthFCSErrors EthSingleCollisionFrames EthMultipleCollisionFrames
        EthSQETestErrors EthDeferredTransmissions EthLateCollisions EthExcessiveCollisions
        EthInternalMacReceiveErrors EthInternalMacTransmitErrors EthCarrierSenseErrors
        EthFrameTooLongs EthSymbolErrors
        VlanUcastPkts VlanMulticastPkts VlanBroadcastPkts VlanDiscards
        OvsDpNHit OvsDpNMissed OvsDpNLost OvsDpNMaskHit
    }
    Gauge {
        OvsDpNFlows OvsDpNMasks OvsAppFdOpen OvsAppFdMax OvsAppConnOpen OvsAppConnMax OvsAppMemUsed
        OvsAppMemMax
    }
}

const COUNT: usize = Metric::ALL.len();

/// A value for each metric, as one counter sample or a sum of several tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Values([u64; COUNT]);

impl Default for Values {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Values {
    /// Sets a 32-bit value; all ones is the specification's "unknown" and leaves it alone.
    pub(super) fn set(&mut self, metric: Metric, value: u32) {
        if value != u32::MAX {
            self.0[metric as usize] = value.into();
        }
    }

    /// As [`Values::set`], for 64 bits.
    pub(super) fn set_wide(&mut self, metric: Metric, value: u64) {
        if value != u64::MAX {
            self.0[metric as usize] = value;
        }
    }

    #[cfg(test)]
    pub(super) fn get(&self, metric: Metric) -> u64 {
        self.0[metric as usize]
    }

    fn combine(&mut self, other: &Self, combine: impl Fn(u64, u64) -> u64) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = combine(*mine, theirs);
        }
    }

    /// As JSON, with the period they hold for. Zeros are left out, as Skydive does.
    fn to_json(self, start: Timestamp, last: Timestamp) -> Value {
        let mut json: Map<String, Value> = Metric::ALL
            .iter()
            .map(|(metric, name, _)| (name, self.0[*metric as usize]))
            .filter(|(_, value)| *value > 0)
            .map(|(name, value)| ((*name).to_owned(), value.into()))
            .collect();
        json.insert("Start".to_owned(), start.millis().into());
        json.insert("Last".to_owned(), last.millis().into());
        Value::Object(json)
    }
}

/// The metrics of one data source, or of an agent: the sum of its data sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metrics {
    /// As they stand. Agents send totals, never differences.
    values: Values,
    /// What changed since the last time they were shown.
    change: Values,
    first: Timestamp,
    shown: Timestamp,
    last: Timestamp,
}

/// What a counter sample changed, for the agent's sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    before: Values,
    after: Values,
    change: Values,
}

impl Metrics {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            values: Values::default(),
            change: Values::default(),
            first: at,
            shown: at,
            last: at,
        }
    }

    /// Takes what a counter sample of this data source says, `first` if it is the source's first: then
    /// there is nothing to take a difference from.
    pub(super) fn sample(&mut self, after: Values, first: bool, at: Timestamp) -> Update {
        let before = self.values;
        let change = if first {
            Values::default()
        } else {
            change(&before, &after)
        };
        self.values = after;
        self.change.combine(&change, u64::wrapping_add);
        self.last = at;
        Update {
            before,
            after,
            change,
        }
    }

    /// Takes into a sum what [`Metrics::sample`] said of one of its parts.
    pub(super) fn add(&mut self, part: &Update, at: Timestamp) {
        self.values.combine(&part.before, u64::wrapping_sub);
        self.values.combine(&part.after, u64::wrapping_add);
        self.change.combine(&part.change, u64::wrapping_add);
        self.last = at;
    }

    /// The metrics as they stand, to begin the next sample from: it may lack some.
    pub(super) fn values(&self) -> Values {
        self.values
    }

    /// `Metric` and `LastUpdateMetric`, the changes since the last call.
    pub(super) fn show(&mut self) -> (Value, Value) {
        let mut change = std::mem::take(&mut self.change);
        for (metric, _, kind) in Metric::ALL {
            if kind == Kind::Gauge {
                change.0[metric as usize] = self.values.0[metric as usize];
            }
        }
        let shown = std::mem::replace(&mut self.shown, self.last);
        (
            self.values.to_json(self.first, self.last),
            change.to_json(shown, self.last),
        )
    }
}

/// By how much each counter grew. One that fell has wrapped if that makes for less than half its
/// range; else it began anew from zero.
fn change(before: &Values, after: &Values) -> Values {
    let mut change = Values::default();
    for (metric, _, kind) in Metric::ALL {
        let i = metric as usize;
        let (before, after) = (before.0[i], after.0[i]);
        change.0[i] = match kind {
            Kind::Gauge => 0,
            _ if after >= before => after - before,
            Kind::Counter32 if before - after > 1 << 31 => after + (1 << 32) - before,
            Kind::Counter32 | Kind::Counter64 => after,
        };
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(octets: u64, packets: u32) -> Values {
        let mut values = Values::default();
        values.set_wide(Metric::IfInOctets, octets);
        values.set(Metric::IfInUcastPkts, packets);
        values
    }

    #[test]
    fn changes_survive_wraps_and_resets() {
        let wrap = change(&octets(0, u32::MAX - 5), &octets(0, 4));
        assert_eq!(wrap.get(Metric::IfInUcastPkts), 10);
        let reset = change(&octets(5_000, 1_000), &octets(700, 3));
        assert_eq!(
            (reset.get(Metric::IfInOctets), reset.get(Metric::IfInUcastPkts)),
            (700, 3)
        );
    }

    #[test]
    fn unknown_values_are_no_values() {
        let values = octets(u64::MAX, u32::MAX);
        assert_eq!(values, Values::default());
    }

    #[test]
    fn an_agents_sum_is_that_of_its_ports_latest_values() {
        let at = Timestamp::from_secs;
        let (mut one, mut two, mut sum) = (Metrics::new(at(1)), Metrics::new(at(1)), Metrics::new(at(1)));
        sum.add(&one.sample(octets(100, 1), true, at(1)), at(1));
        sum.add(&two.sample(octets(1_000, 10), true, at(1)), at(1));
        let (metric, change) = sum.show();
        assert_eq!(
            metric,
            serde_json::json!({"IfInOctets": 1100, "IfInUcastPkts": 11, "Start": 1000, "Last": 1000})
        );
        assert_eq!(change, serde_json::json!({"Start": 1000, "Last": 1000}));
        sum.add(&one.sample(octets(150, 2), false, at(2)), at(2));
        let (metric, change) = sum.show();
        assert_eq!(metric["IfInOctets"], 1150);
        assert_eq!(
            change,
            serde_json::json!({"IfInOctets": 50, "IfInUcastPkts": 1, "Start": 1000, "Last": 2000})
        );
    }

    #[test]
    fn names_are_skydives() {
        let names: Vec<_> = Metric::ALL.iter().map(|(_, name, _)| *name).collect();
        assert_eq!(names.len(), 43);
        assert!(names.contains(&"EthSQETestErrors") && names.contains(&"OvsDpNMaskHit"));
    }
}

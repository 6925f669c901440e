//! What nodes counted, interval by interval, on its way to whoever keeps it.
//!
//! Counters change all the time and are no revisions of their nodes. Watchers show what was counted
//! since they last looked as `LastUpdateMetric`; each new one is an [`Interval`], which goes to the
//! graph's [`IntervalLog`] if there is one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::Value;

use crate::element::Metadata;
use crate::identity::NodeId;

/// Intervals that wait for whoever keeps them, some 2 KiB each, so 64 MiB while a disk is full; then
/// the oldest go, and are counted.
const PENDING: usize = 32_768;

/// So many that wait are worth waking whoever keeps them.
const WORTH_WAKING: usize = 4_096;

/// Whose counters they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeMetric {
    /// The kernel's, of an interface: `LastUpdateMetric`.
    Interface,
    /// Open vSwitch's: `Ovs.LastUpdateMetric`.
    Ovs,
    /// An sFlow agent's: `SFlow.LastUpdateMetric`.
    SFlow,
}

impl NodeMetric {
    /// Where in the metadata the last interval stands.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Interface => "LastUpdateMetric",
            Self::Ovs => "Ovs.LastUpdateMetric",
            Self::SFlow => "SFlow.LastUpdateMetric",
        }
    }

    /// The last interval, in the entry `key` of a node's metadata that is `value`.
    fn within<'v>(key: &str, value: &'v Value) -> Option<(Self, &'v Metadata)> {
        let (metric, value) = match key {
            "LastUpdateMetric" => (Self::Interface, value),
            "Ovs" => (Self::Ovs, value.get("LastUpdateMetric")?),
            "SFlow" => (Self::SFlow, value.get("LastUpdateMetric")?),
            _ => return None,
        };
        Some((metric, value.as_object()?))
    }
}

/// What a node counted in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// The node.
    pub node: NodeId,
    /// Whose counters.
    pub metric: NodeMetric,
    /// In milliseconds since the Unix epoch.
    pub start: i64,
    /// In milliseconds since the Unix epoch.
    pub last: i64,
    /// What was counted, by name; zeros are left out.
    pub counters: Metadata,
}

impl Interval {
    /// As it stands in a node's metadata: the counters with `Start` and `Last`.
    #[must_use]
    pub fn into_metric(self) -> Value {
        let mut metric = self.counters;
        metric.insert("Start".to_owned(), self.start.into());
        metric.insert("Last".to_owned(), self.last.into());
        Value::Object(metric)
    }
}

/// Receives the intervals of one graph. It outlives the graph; then nothing comes any more.
#[derive(Clone, Debug, Default)]
pub struct IntervalLog(Arc<Mutex<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    queue: VecDeque<Interval>,
    pushed: u64,
    lost: u64,
}

impl IntervalLog {
    /// Takes the oldest that wait, `max` at most.
    #[must_use]
    pub fn take(&self, max: usize) -> Vec<Interval> {
        let mut pending = self.pending();
        let count = pending.queue.len().min(max);
        pending.queue.drain(..count).collect()
    }

    /// How many have come since the start.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pending().pushed
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending().queue.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many have gone because too many waited, since the last call.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.pending().lost)
    }

    // Each change leaves it whole.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a graph puts intervals, as long as somebody receives them.
#[derive(Debug, Default)]
pub(crate) struct IntervalSink(Weak<Mutex<Pending>>);

impl IntervalSink {
    pub(crate) fn to(log: &IntervalLog) -> Self {
        Self(Arc::downgrade(&log.0))
    }

    /// Puts the interval that a node's `key` shows now, if there is one and it is another than the one
    /// that ended at `before`. Returns whether it is time to wake who receives it.
    pub(crate) fn put(&self, node: &NodeId, key: &str, value: &Value, before: Option<i64>) -> bool {
        let Some(log) = self.0.upgrade().map(IntervalLog) else {
            return false;
        };
        let Some((metric, shown)) = NodeMetric::within(key, value) else {
            return false;
        };
        let time = |name: &str| shown.get(name).and_then(Value::as_i64);
        let (Some(start), Some(last)) = (time("Start"), time("Last")) else {
            return false;
        };
        if before == Some(last) {
            return false;
        }
        let mut counters = shown.clone();
        counters.retain(|name, _| name != "Start" && name != "Last");
        // Something was looked at, and nothing had happened.
        if counters.is_empty() {
            return false;
        }
        let mut pending = log.pending();
        if pending.queue.len() == PENDING {
            pending.queue.pop_front();
            pending.lost += 1;
        }
        pending.queue.push_back(Interval {
            node: node.clone(),
            metric,
            start,
            last,
            counters,
        });
        pending.pushed += 1;
        pending.queue.len() == WORTH_WAKING
    }
}

/// When the interval ended that a node's `key`, which is `value`, shows.
pub(crate) fn shown_last(key: &str, value: Option<&Value>) -> Option<i64> {
    let (_, shown) = NodeMetric::within(key, value?)?;
    shown.get("Last").and_then(Value::as_i64)
}

/// Whether an entry of a node's metadata says what the node has counted since it was made.
pub(crate) fn is_counted(key: &str, value: Option<&Value>) -> bool {
    let Some(value) = value else { return false };
    (key == "Metric" && !value.is_null()) || value.get("Metric").is_some()
}

/// Whether an entry of a node's metadata may say so from now on, and does not yet.
pub(crate) fn begins_to_count(key: &str, value: Option<&Value>) -> bool {
    matches!(key, "Metric" | "Ovs" | "SFlow") && !is_counted(key, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(log: &IntervalLog, key: &str, value: &Value, before: Option<i64>) -> bool {
        IntervalSink::to(log).put(&NodeId::from("n"), key, value, before)
    }

    #[test]
    fn each_interval_comes_once_and_whole() {
        let log = IntervalLog::default();
        let metric = json!({"RxBytes": 5, "Start": 1, "Last": 2});
        put(&log, "LastUpdateMetric", &metric, None);
        put(&log, "LastUpdateMetric", &metric, Some(2));
        put(
            &log,
            "Ovs",
            &json!({"LastUpdateMetric": metric, "Metric": {"RxBytes": 9}}),
            Some(1),
        );
        put(
            &log,
            "SFlow",
            &json!({"LastUpdateMetric": {"Start": 1, "Last": 2}}),
            None,
        );
        put(&log, "Metric", &metric, None);
        assert_eq!(log.pushed(), 2);
        let intervals = log.take(9);
        let metrics: Vec<_> = intervals.iter().map(|interval| interval.metric).collect();
        assert_eq!(metrics, [NodeMetric::Interface, NodeMetric::Ovs]);
        for interval in intervals {
            assert_eq!(interval.into_metric(), metric);
        }
        assert!(log.is_empty());
    }

    #[test]
    fn the_oldest_goes_when_nobody_takes_any() {
        let log = IntervalLog::default();
        let mut woken = 0;
        for last in 0..=i64::try_from(PENDING).unwrap() {
            let metric = json!({"RxBytes": 5, "Start": 0, "Last": last});
            woken += u32::from(put(&log, "LastUpdateMetric", &metric, None));
        }
        assert_eq!(
            (log.len(), log.take_lost(), log.take_lost(), woken),
            (PENDING, 1, 0, 1)
        );
        assert_eq!(log.take(1)[0].last, 1);
    }
}

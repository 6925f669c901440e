//! An interface's counters (`struct rtnl_link_stats64`) as `Metric` and `LastUpdateMetric`.

use serde_json::{Map, Value};

use super::wire::u64_at;

/// The names of the metadata, in the order of the structure.
const NAMES: [&str; 23] = [
    "RxPackets",
    "TxPackets",
    "RxBytes",
    "TxBytes",
    "RxErrors",
    "TxErrors",
    "RxDropped",
    "TxDropped",
    "Multicast",
    "Collisions",
    "RxLengthErrors",
    "RxOverErrors",
    "RxCrcErrors",
    "RxFrameErrors",
    "RxFifoErrors",
    "RxMissedErrors",
    "TxAbortedErrors",
    "TxCarrierErrors",
    "TxFifoErrors",
    "TxHeartbeatErrors",
    "TxWindowErrors",
    "RxCompressed",
    "TxCompressed",
];

/// Counts since the interface was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters([u64; NAMES.len()]);

impl Counters {
    /// Reads `IFLA_STATS64`; kernels that have more counters add them at the end.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut counters = Self::default();
        for (place, counter) in counters.0.iter_mut().enumerate() {
            *counter = u64_at(value, place * 8)?;
        }
        Some(counters)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|counter| *counter == 0)
    }

    /// What was counted since `before`. A counter that stands lower (the driver began anew) has counted
    /// what it shows.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut delta = *self;
        for (counter, before) in delta.0.iter_mut().zip(before.0) {
            *counter = counter.checked_sub(before).unwrap_or(*counter);
        }
        delta
    }

    /// The counters that are not zero, with the times (milliseconds since the Unix epoch) of the first
    /// of two looks, if this is what was counted between them, and of the last.
    pub(super) fn to_json(self, start: Option<i64>, last: i64) -> Value {
        let mut metric: Map<_, _> = NAMES
            .into_iter()
            .zip(self.0)
            .filter(|(_, counter)| *counter != 0)
            .map(|(name, counter)| (name.to_owned(), counter.into()))
            .collect();
        if let Some(start) = start {
            metric.insert("Start".to_owned(), start.into());
        }
        metric.insert("Last".to_owned(), last.into());
        metric.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counters(packets: u64, bytes: u64) -> Counters {
        let mut value = [0; 200];
        value[..8].copy_from_slice(&packets.to_ne_bytes());
        value[16..24].copy_from_slice(&bytes.to_ne_bytes());
        Counters::parse(&value).unwrap()
    }

    #[test]
    fn zeros_are_left_out() {
        assert_eq!(
            counters(2, 120).to_json(None, 1_000),
            json!({"RxPackets": 2, "RxBytes": 120, "Last": 1_000})
        );
        assert!(counters(0, 0).is_zero());
        assert!(Counters::parse(&[0; 100]).is_none());
    }

    #[test]
    fn what_was_counted_meanwhile_is_the_difference() {
        let delta = counters(5, 500).since(&counters(3, 300));
        assert_eq!(
            delta.to_json(Some(1), 2),
            json!({"RxPackets": 2, "RxBytes": 200, "Start": 1, "Last": 2})
        );
        let anew = counters(1, 60).since(&counters(3, 300));
        assert_eq!(anew, counters(1, 60));
    }
}

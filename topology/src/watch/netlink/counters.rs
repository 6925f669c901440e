//! An interface's counters (`struct rtnl_link_stats64`) as `Metric` and `LastUpdateMetric`.

use serde_json::Value;

use crate::watch::counts::Counts;

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
pub(super) type Counters = Counts<{ NAMES.len() }>;

/// Reads `IFLA_STATS64`; kernels that have more counters add them at the end.
pub(super) fn parse(value: &[u8]) -> Option<Counters> {
    let mut counters = Counters::default();
    for (place, counter) in counters.0.iter_mut().enumerate() {
        *counter = u64_at(value, place * 8)?;
    }
    Some(counters)
}

/// `Metric`, or with a `start` `LastUpdateMetric`.
pub(super) fn to_json(counters: Counters, start: Option<i64>, last: i64) -> Value {
    counters.to_json(NAMES, start, last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counters_are_read_by_their_place() {
        let mut value = [0; 200];
        value[..8].copy_from_slice(&2_u64.to_ne_bytes());
        value[16..24].copy_from_slice(&120_u64.to_ne_bytes());
        let counters = parse(&value).unwrap();
        assert_eq!(
            to_json(counters, None, 1_000),
            json!({"RxPackets": 2, "RxBytes": 120, "Last": 1_000})
        );
        assert!(parse(&[0; 100]).is_none());
    }
}

//! Counters of an interface as the switch has them: `Ovs.Metric` and `Ovs.LastUpdateMetric`.
//!
//! vswitchd writes them every five seconds unless told otherwise.

use serde_json::{Map, Value};

use crate::ovsdb::Row;
use crate::watch::counts::Counts;

/// Columns of an `Interface` that count, and so make no history.
pub(super) const COUNTERS: [&str; 2] = ["statistics", "link_resets"];

/// The switch's names and Skydive's.
const NAMES: [(&str, &str); 14] = [
    ("collisions", "Collisions"),
    ("rx_bytes", "RxBytes"),
    ("rx_crc_err", "RxCrcErrors"),
    ("rx_dropped", "RxDropped"),
    ("rx_errors", "RxErrors"),
    ("rx_frame_err", "RxFrameErrors"),
    ("rx_missed_errors", "RxMissedErrors"),
    ("rx_multicast_packets", "Multicast"),
    ("rx_over_err", "RxOverErrors"),
    ("rx_packets", "RxPackets"),
    ("tx_bytes", "TxBytes"),
    ("tx_dropped", "TxDropped"),
    ("tx_errors", "TxErrors"),
    ("tx_packets", "TxPackets"),
];

/// What a row counts, in the order of [`NAMES`].
fn counts(row: &Row) -> Counts<{ NAMES.len() }> {
    let mut counts = Counts::default();
    for (key, value) in row.integers("statistics") {
        let place = NAMES.iter().position(|(name, _)| *name == key);
        // Some drivers say all ones for what they do not count, which arrives as -1.
        if let (Some(place), Ok(value)) = (place, u64::try_from(value)) {
            counts.0[place] = value;
        }
    }
    counts
}

/// What the counters of an interface were, and when, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    counts: Counts<{ NAMES.len() }>,
    at: i64,
}

/// Puts the counters of `row`, read at `now`, into `ovs`, and what they gained since `last`.
pub(super) fn show(ovs: &mut Value, row: &Row, now: i64, last: Option<&Reading>) -> Reading {
    let counts = counts(row);
    let names = NAMES.map(|(_, name)| name);
    if !ovs.is_object() {
        *ovs = Value::Object(Map::new());
    }
    ovs["Metric"] = counts.to_json(names, None, now);
    if let Some(last) = last {
        let since = counts.since(&last.counts);
        // Nothing happened: the last time that something did stays.
        if !since.is_zero() {
            ovs["LastUpdateMetric"] = since.to_json(names, Some(last.at), now);
        }
    }
    if let Some(resets) = row.integer("link_resets") {
        ovs["LinkResets"] = resets.into();
    }
    Reading { counts, at: now }
}

/// Takes the counters over from the `Ovs` that `new` takes the place of.
pub(super) fn keep(new: &mut Value, old: Option<&Value>) {
    for entry in ["Metric", "LastUpdateMetric", "LinkResets"] {
        if let Some(value) = old.and_then(|old| old.get(entry)) {
            new[entry] = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ovsdb::Datum;

    fn row<const N: usize>(statistics: [(&str, i64); N]) -> Row {
        Row::new().with("statistics", Datum::map(statistics))
    }

    #[test]
    fn counters_and_what_they_gained() {
        let first = row([
            ("rx_packets", 5),
            ("tx_packets", 0),
            ("rx_dropped", -1),
            ("rx_1_to_64", 7),
        ]);
        let mut ovs = json!({"Options": {"a": "b"}});
        let reading = show(&mut ovs, &first, 1000, None);
        assert_eq!(
            ovs,
            json!({"Options": {"a": "b"}, "Metric": {"RxPackets": 5, "Last": 1000}})
        );
        let second = row([("rx_packets", 8), ("tx_packets", 2)]).with("link_resets", 1);
        let reading = show(&mut ovs, &second, 6000, Some(&reading));
        assert_eq!(
            ovs["Metric"],
            json!({"RxPackets": 8, "TxPackets": 2, "Last": 6000})
        );
        let gained = json!({"RxPackets": 3, "TxPackets": 2, "Start": 1000, "Last": 6000});
        assert_eq!(
            (&ovs["LastUpdateMetric"], &ovs["LinkResets"]),
            (&gained, &json!(1))
        );
        let reading = show(&mut ovs, &second, 11_000, Some(&reading));
        assert_eq!(ovs["LastUpdateMetric"], gained, "nothing happened since");
        let reset = row([("rx_packets", 1)]);
        show(&mut ovs, &reset, 16_000, Some(&reading));
        assert_eq!(
            ovs["LastUpdateMetric"],
            json!({"RxPackets": 1, "Start": 11_000, "Last": 16_000})
        );
    }
}

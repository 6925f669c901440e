//! Flows as comma-separated values (RFC 4180).

use std::io::{self, Write};

use serde_json::Value;

/// The columns: paths of the JSON document.
const COLUMNS: [&str; 25] = [
    "UUID",
    "Start",
    "Last",
    "Application",
    "LayersPath",
    "Link.A",
    "Link.B",
    "Network.A",
    "Network.B",
    "Transport.Protocol",
    "Transport.A",
    "Transport.B",
    "Metric.ABPackets",
    "Metric.ABBytes",
    "Metric.BAPackets",
    "Metric.BABytes",
    "Metric.RTT",
    "TrackingID",
    "L3TrackingID",
    "ParentUUID",
    "NodeTID",
    "CaptureID",
    "RawPacketsCaptured",
    "FinishType",
    "CommunityID",
];

pub(super) fn header(out: &mut impl Write) -> io::Result<()> {
    write!(out, "{}\r\n", COLUMNS.join(","))
}

/// Writes one line; what a flow does not have is empty.
pub(super) fn row(flow: &Value, out: &mut impl Write) -> io::Result<()> {
    for (index, column) in COLUMNS.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        match column.split('.').try_fold(flow, |value, name| value.get(name)) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.contains([',', '"', '\r', '\n']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(Value::String(text)) => out.write_all(text.as_bytes())?,
            Some(other) => write!(out, "{other}")?,
        }
    }
    out.write_all(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_needs_it_and_leaves_out_what_is_not_there() {
        let flow = serde_json::json!({
            "UUID": "u", "Start": 5, "Application": "a,\"b\"", "Metric": {"ABPackets": 7}, "CommunityID": "1:x="
        });
        let mut out = Vec::new();
        header(&mut out).expect("a Vec takes all");
        row(&flow, &mut out).expect("a Vec takes all");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
        assert_eq!(lines[1], "u,5,,\"a,\"\"b\"\"\",,,,,,,,,7,,,,,,,,,,,,1:x=");
    }
}

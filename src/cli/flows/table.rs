//! Flows as a table for people.

use std::borrow::Cow;
use std::io::{self, Write};

use flowtap_api::wire::FlowDocument;

use crate::output::text::printable;
use crate::output::time;

const COLUMNS: usize = 8;
const TITLES: [&str; COLUMNS] = [
    "START (UTC)",
    "APPLICATION",
    "A",
    "B",
    "PACKETS",
    "BYTES",
    "RTT",
    "END",
];
/// Narrowest widths. They fit IPv4, so that a table that grows as flows come stays in line.
const WIDTHS: [usize; COLUMNS] = [23, 11, 21, 21, 11, 15, 7, 0];

/// Writes rows one below the other.
pub(super) struct Table {
    widths: [usize; COLUMNS],
    color: bool,
}

impl Table {
    /// A table wide enough for `flows`.
    pub(super) fn new(flows: &[FlowDocument], color: bool) -> Self {
        let mut widths = WIDTHS;
        for cells in flows.iter().map(cells) {
            for (width, cell) in widths.iter_mut().zip(&cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        Self { widths, color }
    }

    pub(super) fn header(&self, out: &mut impl Write) -> io::Result<()> {
        let (bold, plain) = if self.color {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        writeln!(out, "{bold}{}{plain}", self.line(&TITLES.map(str::to_owned)))
    }

    pub(super) fn row(&self, flow: &FlowDocument, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.line(&cells(flow)))
    }

    fn line(&self, cells: &[String; COLUMNS]) -> String {
        let padded = cells
            .iter()
            .zip(self.widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

fn cells(flow: &FlowDocument) -> [String; COLUMNS] {
    let (a, b) = ends(flow);
    let metric = &flow.metric;
    [
        time::utc(flow.start),
        flow.application.clone(),
        a,
        b,
        both(metric.ab_packets.to_string(), metric.ba_packets.to_string()),
        both(bytes(metric.ab_bytes), bytes(metric.ba_bytes)),
        if metric.rtt == 0 {
            String::new()
        } else {
            nanos(metric.rtt)
        },
        end(flow.finish_type).to_owned(),
    ]
    .map(|cell| match printable(&cell) {
        Cow::Borrowed(_) => cell,
        Cow::Owned(shown) => shown,
    })
}

fn both(there: String, back: String) -> String {
    format!("{there}/{back}")
}

/// The two ends by the highest addresses that the flow has.
fn ends(flow: &FlowDocument) -> (String, String) {
    match (&flow.network, &flow.transport, &flow.link) {
        (Some(network), Some(ports), _) => (with_port(&network.a, ports.a), with_port(&network.b, ports.b)),
        (Some(network), None, _) => (network.a.clone(), network.b.clone()),
        (None, _, Some(link)) => (link.a.clone(), link.b.clone()),
        (None, _, None) => (String::new(), String::new()),
    }
}

fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// Why a flow ended, as IPFIX and Skydive tell it; nothing while it goes on.
fn end(finish_type: u64) -> &'static str {
    match finish_type {
        0 => "",
        1 => "timeout",
        2 => "FIN",
        3 => "RST",
        4 => "evicted",
        _ => "?",
    }
}

/// Three digits and a unit of 1000.
fn bytes(count: u64) -> String {
    scaled(count, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

fn nanos(count: u64) -> String {
    scaled(count, &["ns", "µs", "ms", "s", "ks", "Ms", "Gs"])
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn scaled(count: u64, units: &[&str; 7]) -> String {
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 99.95) + usize::from(unit > 0 && value < 9.995);
    format!("{value:.decimals$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        for (count, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (1234, "1.23kB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (999_499, "999kB"),
            (999_500, "1.00MB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(nanos(1_500_000), "1.50ms");
    }

    #[test]
    fn no_cell_steers_the_terminal() {
        let flow = FlowDocument {
            application: "A\x1b[2J\n".to_owned(),
            ..FlowDocument::default()
        };
        assert_eq!(cells(&flow)[1], "A\\u{1b}[2J\\u{a}");
    }

    #[test]
    fn columns_stay_in_line() {
        let short = FlowDocument {
            application: "ARP".to_owned(),
            ..FlowDocument::default()
        };
        let long = FlowDocument {
            application: "AN-APPLICATION-OF-SOME-LENGTH".to_owned(),
            ..short.clone()
        };
        let flows = [short, long];
        let table = Table::new(&flows, false);
        let mut out = Vec::new();
        table.header(&mut out).expect("a Vec takes all");
        flows
            .iter()
            .for_each(|flow| table.row(flow, &mut out).expect("a Vec takes all"));
        let text = String::from_utf8(out).expect("text");
        let starts: Vec<_> = text
            .lines()
            .map(|line| line.find("0/0").or(line.find("PACKETS")))
            .collect();
        assert!(
            starts.iter().all(|start| *start == starts[0] && start.is_some()),
            "{text}"
        );
    }
}

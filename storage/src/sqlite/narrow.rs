//! A flow filter as SQL that lets through at least what the filter does.
//!
//! SQL only narrows; [`FlowQuery::wants`](flowtap_flow::query::FlowQuery::wants) decides on the
//! decoded flow, exactly as the live table does. So a field may be translated roughly, or not at all,
//! but must never lose a flow. Only numbers and hex digits enter the SQL, never a user's text.

use std::borrow::Cow;
use std::net::IpAddr;

use flowtap_flow::filter::{
    FieldValue, FlowField, FlowFilter, LayerEnd, LayerPart, MetricField, Predicate, Value,
};
use flowtap_flow::flow::{FlowId, MacAddr, TransportProtocol};
use flowtap_flow::text::Text;

use super::columns::mac_number;

/// Longest list of terms: SQLite parses chains of `OR` up to a depth of 1,000. What is longer does not
/// narrow.
const MAX_TERMS: usize = 200;
/// Deepest nesting that is translated; each level costs SQLite a few levels of its own.
const MAX_DEPTH: usize = 40;
/// "No flow".
const NOTHING: &str = "0";

/// A condition on rows of `flow`, or `None` if the filter says nothing that SQL can use. `texts` is
/// the segment's dictionary.
pub(super) fn narrow(filter: &FlowFilter, texts: &[Text]) -> Option<String> {
    narrow_at(filter, texts, 0)
}

fn narrow_at(filter: &FlowFilter, texts: &[Text], depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    let inner = |filter| narrow_at(filter, texts, depth + 1);
    match filter {
        // What is not let through by a rough condition may well be wanted: no negation.
        FlowFilter::All | FlowFilter::Not(_) => None,
        FlowFilter::Field(field, predicate) => narrow_field(field, predicate, texts),
        FlowFilter::And(filters) => {
            let terms: Vec<_> = filters.iter().filter_map(inner).take(MAX_TERMS).collect();
            (!terms.is_empty()).then(|| join(&terms, " AND "))
        }
        FlowFilter::Or(filters) => any_of(filters.iter().map(inner).collect::<Option<_>>()?),
    }
}

fn narrow_field(field: &FlowField, predicate: &Predicate, texts: &[Text]) -> Option<String> {
    match field {
        FlowField::Uuid => ids("uuid", predicate),
        FlowField::TrackingId => ids("tracking", predicate),
        FlowField::L3TrackingId => ids("l3_tracking", predicate),
        FlowField::ParentUuid => ids("parent", predicate),
        FlowField::LayersPath => shared_text("layers", predicate, texts),
        FlowField::Application => shared_text("application", predicate, texts),
        FlowField::NodeTid => shared_text("node", predicate, texts),
        FlowField::CaptureId => shared_text("capture", predicate, texts),
        FlowField::Start => number("start", predicate, Unit::Millis),
        FlowField::Last => number("last", predicate, Unit::Millis),
        FlowField::RawPacketsCaptured => number("raw_packets", predicate, Unit::Plain),
        FlowField::FinishType => number("finish", predicate, Unit::Plain),
        FlowField::Link(part) => link(*part, predicate),
        FlowField::Network(part) => network(*part, predicate),
        FlowField::Transport(part) => transport(*part, predicate),
        FlowField::IcmpType | FlowField::IcmpCode | FlowField::IcmpId => icmp(predicate),
        FlowField::Metric(metric) => match metric {
            MetricField::AbPackets => number("ab_packets", predicate, Unit::Counter),
            MetricField::AbBytes => number("ab_bytes", predicate, Unit::Counter),
            MetricField::BaPackets => number("ba_packets", predicate, Unit::Counter),
            MetricField::BaBytes => number("ba_bytes", predicate, Unit::Counter),
            MetricField::Rtt => number("rtt", predicate, Unit::Counter),
            MetricField::Start | MetricField::Last => None,
        },
        FlowField::CommunityId | FlowField::LastUpdateMetric(_) | FlowField::Json(_) => None,
    }
}

fn join(terms: &[String], operator: &str) -> String {
    format!("({})", terms.join(operator))
}

fn any_of(terms: Vec<String>) -> Option<String> {
    match terms.len() {
        0 => Some(NOTHING.to_owned()),
        1..=MAX_TERMS => Some(join(&terms, " OR ")),
        _ => None,
    }
}

fn one_of(column: &str, numbers: &[i64]) -> Option<String> {
    match numbers.len() {
        0 => Some(NOTHING.to_owned()),
        1..=MAX_TERMS => {
            let list: Vec<_> = numbers.iter().map(ToString::to_string).collect();
            Some(format!("{column} IN ({})", list.join(", ")))
        }
        _ => None,
    }
}

fn text_value(text: &str) -> Option<FieldValue<'_>> {
    (!text.is_empty()).then_some(FieldValue::Text(Cow::Borrowed(text)))
}

/// The few texts of a dictionary are tested here, whatever the predicate, instead of row by row.
fn shared_text(column: &str, predicate: &Predicate, texts: &[Text]) -> Option<String> {
    let passing: Vec<i64> = (0..)
        .zip(texts)
        .filter(|(_, text)| predicate.test(text_value(text)))
        .map(|(id, _)| id)
        .collect();
    one_of(column, &passing)
}

/// The literals that a field must equal one of, or `None` if the predicate is no such thing.
fn literals(predicate: &Predicate) -> Option<&[Value]> {
    match predicate {
        Predicate::Eq(value) => Some(std::slice::from_ref(value)),
        Predicate::Within(values) => Some(values),
        _ => None,
    }
}

fn ids(column: &str, predicate: &Predicate) -> Option<String> {
    let mut wanted = Vec::new();
    for literal in literals(predicate)? {
        // A number is compared as a number with the id's text, where that looks like one.
        let Value::Text(text) = literal else { return None };
        let id = if text.is_empty() {
            Some(FlowId::NONE)
        } else {
            FlowId::parse(text)
        };
        wanted.extend(id.map(|id| id.0.cast_signed()));
    }
    one_of(column, &wanted)
}

/// How a column's numbers relate to the field's.
#[derive(Clone, Copy)]
enum Unit {
    /// They are the same.
    Plain,
    /// The column is unsigned in signed clothes; above `i64::MAX` the field says `i64::MAX`.
    Counter,
    /// The column holds ns, the field ms rounded down.
    Millis,
}

fn number(column: &str, predicate: &Predicate, unit: Unit) -> Option<String> {
    let terms = ranges(predicate)?
        .into_iter()
        .map(|range| in_range(column, range, unit));
    any_of(terms.collect::<Option<_>>()?)
}

fn in_range(column: &str, (low, high): (i64, i64), unit: Unit) -> Option<String> {
    let (low, high) = match unit {
        Unit::Plain | Unit::Counter => (low, high),
        Unit::Millis => (
            low.saturating_mul(1_000_000),
            high.saturating_mul(1_000_000).saturating_add(999_999),
        ),
    };
    if low > high {
        return Some(NOTHING.to_owned());
    }
    match (low, high, unit) {
        (i64::MIN, i64::MAX, _) => None,
        (i64::MIN, high, _) => Some(format!("{column} <= {high}")),
        (low, i64::MAX, Unit::Counter) => Some(format!("({column} >= {low} OR {column} < 0)")),
        (low, i64::MAX, _) => Some(format!("{column} >= {low}")),
        (low, high, _) => Some(format!("{column} BETWEEN {low} AND {high}")),
    }
}

/// The whole numbers that pass, as closed ranges (one whose end precedes its start is empty), or
/// `None` if they cannot be told.
fn ranges(predicate: &Predicate) -> Option<Vec<(i64, i64)>> {
    const NONE: (i64, i64) = (0, -1);
    let above = |low: i64| low.checked_add(1).map_or(NONE, |low| (low, i64::MAX));
    let below = |high: i64| high.checked_sub(1).map_or(NONE, |high| (i64::MIN, high));
    let both = |a: (i64, i64), b: (i64, i64)| {
        if a == NONE || b == NONE {
            NONE
        } else {
            (a.0.max(b.0), a.1.min(b.1))
        }
    };
    Some(match predicate {
        Predicate::Eq(_) | Predicate::Within(_) => literals(predicate)?
            .iter()
            .map(|value| whole(value).map(|number| (number, number)))
            .collect::<Option<_>>()?,
        Predicate::Lt(value) => vec![below(whole(value)?)],
        Predicate::Lte(value) => vec![(i64::MIN, whole(value)?)],
        Predicate::Gt(value) => vec![above(whole(value)?)],
        Predicate::Gte(value) => vec![(whole(value)?, i64::MAX)],
        Predicate::Inside(low, high) => vec![both(above(whole(low)?), below(whole(high)?))],
        Predicate::Between(low, high) => vec![both((whole(low)?, i64::MAX), below(whole(high)?))],
        _ => return None,
    })
}

/// A literal's whole number. Decimals, and texts that hold one, count as far as a comparison of
/// decimals is exact.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    let decimal = match value {
        Value::Int(number) => return Some(*number),
        Value::Float(number) => *number,
        Value::Text(text) => text.parse().ok()?,
        Value::Bool(_) => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    (decimal.fract() == 0.0 && decimal.abs() < EXACT).then_some(decimal as i64)
}

/// The columns of a layer's ends that `end` asks for.
fn ends<'a>(end: LayerEnd, a: &'a str, b: &'a str) -> Option<Vec<&'a str>> {
    match end {
        LayerEnd::Any => Some(vec![a, b]),
        LayerEnd::A => Some(vec![a]),
        LayerEnd::B => Some(vec![b]),
        LayerEnd::Id | LayerEnd::Protocol => None,
    }
}

fn link(part: LayerPart, predicate: &Predicate) -> Option<String> {
    if part.end == LayerEnd::Id {
        return number("link_id", predicate, Unit::Counter);
    }
    let columns = ends(part.end, "link_a", "link_b")?;
    let macs = literals(predicate)?.iter().map(|literal| match literal {
        Value::Text(text) => MacAddr::parse(text).map(mac_number),
        _ => None,
    });
    let macs = macs.collect::<Option<Vec<_>>>()?;
    any_of(
        columns
            .iter()
            .map(|column| one_of(column, &macs))
            .collect::<Option<_>>()?,
    )
}

fn network(part: LayerPart, predicate: &Predicate) -> Option<String> {
    let kinds = [
        (Some("IPV4"), "typeof(net_a) = 'integer'"),
        (Some("IPV6"), "typeof(net_a) = 'blob'"),
        (None, "net_a IS NULL"),
    ];
    match (part.end, predicate) {
        (LayerEnd::Id, _) => number("net_id", predicate, Unit::Counter),
        (LayerEnd::Protocol, _) | (_, Predicate::Exists) => protocol(part, predicate, &kinds),
        (_, Predicate::Ipv4Range(cidr)) => {
            let (first, last) = cidr.bounds();
            let (first, last) = (u32::from(first), u32::from(last));
            let columns = ends(part.end, "net_a", "net_b")?;
            any_of(
                columns
                    .iter()
                    .map(|column| format!("{column} BETWEEN {first} AND {last}"))
                    .collect(),
            )
        }
        _ => {
            let columns = ends(part.end, "net_a", "net_b")?;
            let addresses = literals(predicate)?.iter().map(|literal| match literal {
                Value::Text(text) => text.parse().ok().map(address),
                _ => None,
            });
            let addresses = addresses.collect::<Option<Vec<_>>>()?.join(", ");
            any_of(
                columns
                    .iter()
                    .map(|column| format!("{column} IN ({addresses})"))
                    .collect(),
            )
        }
    }
}

/// An address as the literal that stands in its column.
fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => u32::from(v4).to_string(),
        IpAddr::V6(v6) => format!("x'{:032x}'", u128::from(v6)),
    }
}

fn transport(part: LayerPart, predicate: &Predicate) -> Option<String> {
    use TransportProtocol::{Sctp, Tcp, Udp};
    let kinds = [Tcp, Udp, Sctp].map(|p| (Some(p.as_str()), format!("protocol = {}", p.number())));
    let [tcp, udp, sctp] = &kinds;
    let kinds = [
        (tcp.0, tcp.1.as_str()),
        (udp.0, udp.1.as_str()),
        (sctp.0, sctp.1.as_str()),
        (None, "protocol IS NULL"),
    ];
    if part.end == LayerEnd::Protocol || *predicate == Predicate::Exists {
        return protocol(part, predicate, &kinds);
    }
    let columns = ends(part.end, "port_a", "port_b")?;
    let ports = columns
        .iter()
        .map(|column| number(column, predicate, Unit::Plain));
    let ports = any_of(ports.collect::<Option<_>>()?)?;
    match kinds
        .iter()
        .find(|kind| part.protocol.is_some() && kind.0 == part.protocol)
    {
        Some((_, is_protocol)) => Some(format!("({is_protocol} AND {ports})")),
        None => Some(ports),
    }
}

/// Tests the predicate on each protocol that a layer may have, and on a layer that is not there.
fn protocol(part: LayerPart, predicate: &Predicate, kinds: &[(Option<&str>, &str)]) -> Option<String> {
    let passing = kinds.iter().filter(|(name, _)| {
        let name = name.filter(|name| part.protocol.is_none_or(|wanted| wanted == *name));
        predicate.test(name.and_then(text_value))
    });
    any_of(passing.map(|(_, sql)| (*sql).to_owned()).collect())
}

fn icmp(predicate: &Predicate) -> Option<String> {
    let may_be_absent = predicate.test(std::iter::empty());
    (!may_be_absent).then(|| "icmp IS NOT NULL".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(filter: &FlowFilter) -> Option<String> {
        let texts = ["", "TCP", "DNS"].map(Text::from).to_vec();
        narrow(filter, &texts)
    }

    fn field(path: &str, predicate: Predicate) -> FlowFilter {
        FlowFilter::Field(FlowField::parse(path), predicate)
    }

    #[test]
    fn fields_become_columns() {
        let cases = [
            (FlowFilter::eq("Application", "DNS"), "application IN (2)"),
            (
                field("Application", Predicate::Nee("DNS".into())),
                "application IN (0, 1)",
            ),
            (FlowFilter::eq("Application", "NTP"), "0"),
            (FlowFilter::eq("UUID", "ff"), "uuid IN (255)"),
            (
                FlowFilter::eq("Network", "10.0.0.1"),
                "(net_a IN (167772161) OR net_b IN (167772161))",
            ),
            (
                FlowFilter::eq("TCP.B", 80),
                "(protocol = 6 AND ((port_b BETWEEN 80 AND 80)))",
            ),
            (
                field("Metric.ABBytes", Predicate::Gt(5.into())),
                "((ab_bytes >= 6 OR ab_bytes < 0))",
            ),
            (field("Start", Predicate::Lt(2.into())), "(start <= 1999999)"),
            (FlowFilter::eq("Transport.Protocol", "UDP"), "(protocol = 17)"),
        ];
        for (filter, expected) in cases {
            assert_eq!(sql(&filter).as_deref(), Some(expected), "{filter:?}");
        }
    }

    #[test]
    fn what_cannot_narrow_does_not() {
        let not = FlowFilter::Not(Box::new(FlowFilter::eq("Application", "TCP")));
        let or = FlowFilter::Or(vec![FlowFilter::eq("Application", "TCP"), not.clone()]);
        let json = FlowFilter::eq("TCPMetric.ABSynStart", 4);
        for filter in [FlowFilter::All, not, or, json, FlowFilter::eq("UUID", 12)] {
            assert_eq!(sql(&filter), None, "{filter:?}");
        }
    }

    #[test]
    fn no_user_text_enters() {
        let evil = "' OR 1=1 --";
        for path in [
            "Application",
            "UUID",
            "Network",
            "Link.A",
            "Transport",
            "Start",
            "NodeTID",
        ] {
            let sql = sql(&FlowFilter::eq(path, evil));
            assert!(sql.is_none_or(|sql| !sql.contains('-')), "{path}");
        }
    }

    #[test]
    fn long_and_deep_filters_stay_legal() {
        let many = FlowFilter::Or((0..5_000).map(|port| FlowFilter::eq("Transport", port)).collect());
        assert_eq!(sql(&many), None);
        let deep = (0..5_000).fold(FlowFilter::eq("Transport", 1), |inner, _| {
            FlowFilter::And(vec![inner])
        });
        assert_eq!(sql(&deep), None);
    }
}

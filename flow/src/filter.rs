//! The one filter over flows: Gremlin compiles to it, the live table evaluates it, stores translate it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use regex::Regex;

use crate::flow::{Flow, FlowMetric, MacAddr};

/// A literal of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Int(i64),
    /// A decimal.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A string.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

/// What a field holds, borrowed where it can be.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// A number.
    Int(i64),
    /// A decimal.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text; addresses in their canonical form.
    Text(Cow<'a, str>),
}

impl FieldValue<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Int(int) => Cow::Owned(int.to_string()),
            Self::Float(float) => Cow::Owned(float.to_string()),
            Self::Bool(bool) => Cow::Borrowed(if *bool { "true" } else { "false" }),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "mixed comparisons only")]
    fn number(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            Self::Bool(_) => None,
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// Orders a field against a literal: numbers as numbers (also when one side is text that holds
    /// one), addresses by value, all else as text. `None` if they cannot be compared.
    fn compare(&self, value: &Value) -> Option<std::cmp::Ordering> {
        match (self, value) {
            (Self::Int(field), Value::Int(literal)) => Some(field.cmp(literal)),
            (Self::Bool(field), Value::Bool(literal)) => Some(field.cmp(literal)),
            (Self::Text(field), Value::Text(literal)) => Some(compare_text(field, literal)),
            (Self::Bool(_), Value::Text(literal)) => Some(self.text().as_ref().cmp(literal)),
            (Self::Bool(_), _) | (_, Value::Bool(_)) => None,
            (field, literal) => field.number()?.partial_cmp(&number_of(literal)?),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "mixed comparisons only")]
fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Int(int) => Some(*int as f64),
        Value::Float(float) => Some(*float),
        Value::Bool(_) => None,
        Value::Text(text) => text.parse().ok(),
    }
}

fn compare_text(field: &str, literal: &str) -> std::cmp::Ordering {
    if field == literal {
        return std::cmp::Ordering::Equal;
    }
    // One address has several spellings: `FE80::1` and `fe80:0::1`, `AA-BB-…` and `aa:bb:…`.
    if let (Ok(a), Ok(b)) = (field.parse::<IpAddr>(), literal.parse::<IpAddr>()) {
        return a.cmp(&b);
    }
    if let (Some(a), Some(b)) = (MacAddr::parse(field), MacAddr::parse(literal)) {
        return a.cmp(&b);
    }
    field.cmp(literal)
}

/// A regular expression that must match the whole text, as Skydive's do.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `source`.
    ///
    /// # Errors
    /// A sentence for the user: an anchor (`^`, `$`) is refused, since the pattern is anchored
    /// already, and so is what the regex crate refuses.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.starts_with('^') || (source.ends_with('$') && !source.ends_with("\\$")) {
            return Err("Regex are anchored by default, ^ and $ don't have to be provided".to_owned());
        }
        let regex = Regex::new(&format!("^(?:{source})$")).map_err(|e| e.to_string())?;
        Ok(Self {
            source: source.to_owned(),
            regex,
        })
    }

    /// What the user wrote.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Cidr {
    network: u32,
    mask: u32,
}

impl Ipv4Cidr {
    /// Parses `10.0.0.0/8`; an address alone is a /32.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let bits: u32 = bits.parse().ok().filter(|b| *b <= 32)?;
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        let address: Ipv4Addr = address.parse().ok()?;
        Some(Self {
            network: u32::from(address) & mask,
            mask,
        })
    }

    /// First and last address.
    #[must_use]
    pub fn bounds(&self) -> (Ipv4Addr, Ipv4Addr) {
        (
            Ipv4Addr::from(self.network),
            Ipv4Addr::from(self.network | !self.mask),
        )
    }

    /// True if `text` is an address, or a CIDR whose address is, in this network.
    #[must_use]
    pub fn contains_text(&self, text: &str) -> bool {
        let address = text.split('/').next().unwrap_or(text);
        address
            .parse::<Ipv4Addr>()
            .is_ok_and(|a| u32::from(a) & self.mask == self.network)
    }
}

/// What is asked of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// Equal.
    Eq(Value),
    /// There, and not equal.
    Ne(Value),
    /// Not equal, or not there.
    Nee(Value),
    /// Less than.
    Lt(Value),
    /// Greater than.
    Gt(Value),
    /// At most.
    Lte(Value),
    /// At least.
    Gte(Value),
    /// Strictly between.
    Inside(Value, Value),
    /// From the first, included, to the second, excluded.
    Between(Value, Value),
    /// One of these.
    Within(Vec<Value>),
    /// None of these, or not there.
    Without(Vec<Value>),
    /// The whole text matches.
    Regex(Pattern),
    /// An address of this network.
    Ipv4Range(Ipv4Cidr),
    /// There.
    Exists,
    /// Not there.
    Absent,
}

impl Predicate {
    /// Tests a field that may hold no, one or several values. Positive predicates want any value to
    /// pass; negative ones (`Ne`, `Nee`, `Without`, `Absent`) want every value to.
    pub fn test<'a>(&self, values: impl IntoIterator<Item = FieldValue<'a>>) -> bool {
        let mut values = values.into_iter().peekable();
        match self {
            Self::Exists => values.next().is_some(),
            Self::Absent => values.next().is_none(),
            Self::Ne(_) => values.peek().is_some() && values.all(|v| self.test_one(&v)),
            Self::Nee(_) | Self::Without(_) => values.all(|v| self.test_one(&v)),
            _ => values.any(|v| self.test_one(&v)),
        }
    }

    fn test_one(&self, field: &FieldValue<'_>) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let equal = |value: &Value| field.compare(value) == Some(Equal);
        let is = |value: &Value, wanted: &[std::cmp::Ordering]| {
            field
                .compare(value)
                .is_some_and(|ordering| wanted.contains(&ordering))
        };
        match self {
            Self::Eq(value) => equal(value),
            Self::Ne(value) | Self::Nee(value) => !equal(value),
            Self::Lt(value) => is(value, &[Less]),
            Self::Gt(value) => is(value, &[Greater]),
            Self::Lte(value) => is(value, &[Less, Equal]),
            Self::Gte(value) => is(value, &[Greater, Equal]),
            Self::Inside(low, high) => is(low, &[Greater]) && is(high, &[Less]),
            Self::Between(low, high) => is(low, &[Greater, Equal]) && is(high, &[Less]),
            Self::Within(values) => values.iter().any(equal),
            Self::Without(values) => !values.iter().any(equal),
            Self::Regex(pattern) => pattern.regex.is_match(&field.text()),
            Self::Ipv4Range(cidr) => cidr.contains_text(&field.text()),
            Self::Exists => true,
            Self::Absent => false,
        }
    }
}

/// A field of [`Flow`], named by its dotted path in Skydive's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FlowField {
    /// `UUID`.
    Uuid,
    /// `TrackingID`.
    TrackingId,
    /// `L3TrackingID`.
    L3TrackingId,
    /// `ParentUUID`.
    ParentUuid,
    /// `LayersPath`.
    LayersPath,
    /// `Application`.
    Application,
    /// `NodeTID`.
    NodeTid,
    /// `CaptureID`.
    CaptureId,
    /// `CommunityID`.
    CommunityId,
    /// `Start`, ms.
    Start,
    /// `Last`, ms.
    Last,
    /// `RawPacketsCaptured`.
    RawPacketsCaptured,
    /// `FinishType`.
    FinishType,
    /// `Link` (A or B), `Link.A`, …
    Link(LayerPart),
    /// `Network` (A or B), `Network.A`, …; `IPV4.…` and `IPV6.…` ask for the protocol too.
    Network(LayerPart),
    /// `Transport` (A or B), `Transport.A`, …; `TCP.…`, `UDP.…`, `SCTP.…` ask for the protocol too.
    Transport(LayerPart),
    /// `ICMP.Type`.
    IcmpType,
    /// `ICMP.Code`.
    IcmpCode,
    /// `ICMP.ID`.
    IcmpId,
    /// `Metric.…`.
    Metric(MetricField),
    /// `LastUpdateMetric.…`.
    LastUpdateMetric(MetricField),
    /// Any other path into the JSON document, such as `TCPMetric.ABSynStart` or `DNS.Questions.Name`.
    Json(Vec<String>),
}

/// Which part of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerPart {
    /// Which value.
    pub end: LayerEnd,
    /// Skydive's protocol name that the layer must have, if the path named one.
    pub protocol: Option<&'static str>,
}

/// Which value of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum LayerEnd {
    Any,
    A,
    B,
    Id,
    Protocol,
}

/// A field of [`FlowMetric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum MetricField {
    AbPackets,
    AbBytes,
    BaPackets,
    BaBytes,
    Start,
    Last,
    Rtt,
}

impl MetricField {
    /// All of them, in the order of Skydive's JSON.
    pub const ALL: [Self; 7] = [
        Self::AbPackets,
        Self::AbBytes,
        Self::BaPackets,
        Self::BaBytes,
        Self::Start,
        Self::Last,
        Self::Rtt,
    ];

    /// Skydive's JSON name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AbPackets => "ABPackets",
            Self::AbBytes => "ABBytes",
            Self::BaPackets => "BAPackets",
            Self::BaBytes => "BABytes",
            Self::Start => "Start",
            Self::Last => "Last",
            Self::Rtt => "RTT",
        }
    }

    /// From Skydive's JSON name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == name)
    }

    /// Its value: counts, ms for times, ns for the RTT.
    #[must_use]
    pub fn of(self, metric: &FlowMetric) -> i64 {
        let signed = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        match self {
            Self::AbPackets => signed(metric.ab_packets),
            Self::AbBytes => signed(metric.ab_bytes),
            Self::BaPackets => signed(metric.ba_packets),
            Self::BaBytes => signed(metric.ba_bytes),
            Self::Start => metric.start.millis(),
            Self::Last => metric.last.millis(),
            Self::Rtt => signed(metric.rtt),
        }
    }
}

impl FlowField {
    /// From a path of Skydive's JSON. Every path is legal; one that no flow has simply never matches.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let parts: Vec<&str> = path.split('.').collect();
        let known = match parts.as_slice() {
            ["UUID"] => Some(Self::Uuid),
            ["TrackingID"] => Some(Self::TrackingId),
            ["L3TrackingID"] => Some(Self::L3TrackingId),
            ["ParentUUID"] => Some(Self::ParentUuid),
            ["LayersPath"] => Some(Self::LayersPath),
            ["Application"] => Some(Self::Application),
            ["NodeTID"] => Some(Self::NodeTid),
            ["CaptureID"] => Some(Self::CaptureId),
            ["CommunityID"] => Some(Self::CommunityId),
            ["Start"] => Some(Self::Start),
            ["Last"] => Some(Self::Last),
            ["RawPacketsCaptured"] => Some(Self::RawPacketsCaptured),
            ["FinishType"] => Some(Self::FinishType),
            ["ICMP", "Type"] => Some(Self::IcmpType),
            ["ICMP", "Code"] => Some(Self::IcmpCode),
            ["ICMP", "ID"] => Some(Self::IcmpId),
            ["Metric", field] => MetricField::parse(field).map(Self::Metric),
            ["LastUpdateMetric", field] => MetricField::parse(field).map(Self::LastUpdateMetric),
            [layer] => Self::layer(layer, LayerEnd::Any),
            [layer, "A"] => Self::layer(layer, LayerEnd::A),
            [layer, "B"] => Self::layer(layer, LayerEnd::B),
            [layer, "ID"] => Self::layer(layer, LayerEnd::Id),
            [layer, "Protocol"] => Self::layer(layer, LayerEnd::Protocol),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Json(parts.into_iter().map(str::to_owned).collect()))
    }

    fn layer(name: &str, end: LayerEnd) -> Option<Self> {
        let part = |protocol| LayerPart { end, protocol };
        Some(match name {
            "Link" => Self::Link(part(None)),
            "ETHERNET" => Self::Link(part(Some("ETHERNET"))),
            "Network" => Self::Network(part(None)),
            "IPV4" => Self::Network(part(Some("IPV4"))),
            "IPV6" => Self::Network(part(Some("IPV6"))),
            "Transport" => Self::Transport(part(None)),
            "TCP" => Self::Transport(part(Some("TCP"))),
            "UDP" => Self::Transport(part(Some("UDP"))),
            "SCTP" => Self::Transport(part(Some("SCTP"))),
            _ => return None,
        })
    }

    /// The values that `flow` has in this field: none, one, or (A or B; JSON arrays) several.
    #[must_use]
    pub fn values<'a>(&self, flow: &'a Flow) -> Vec<FieldValue<'a>> {
        let text = |t: String| vec![FieldValue::Text(Cow::Owned(t))];
        let lent = |t: &'a str| {
            if t.is_empty() {
                vec![]
            } else {
                vec![FieldValue::Text(Cow::Borrowed(t))]
            }
        };
        let id = |i: crate::flow::FlowId| if i.0 == 0 { vec![] } else { text(i.to_string()) };
        match self {
            Self::Uuid => id(flow.uuid),
            Self::TrackingId => id(flow.tracking_id),
            Self::L3TrackingId => id(flow.l3_tracking_id),
            Self::ParentUuid => id(flow.parent_uuid),
            Self::LayersPath => lent(&flow.layers_path),
            Self::Application => lent(&flow.application),
            Self::NodeTid => lent(&flow.node_tid),
            Self::CaptureId => lent(&flow.capture_id),
            Self::CommunityId => crate::community_id::of_flow(flow).map(text).unwrap_or_default(),
            Self::Start => vec![FieldValue::Int(flow.start.millis())],
            Self::Last => vec![FieldValue::Int(flow.last.millis())],
            Self::RawPacketsCaptured => vec![FieldValue::Int(i64::from(flow.raw_packets_captured))],
            Self::FinishType => vec![FieldValue::Int(flow.finish_type as i64)],
            Self::IcmpType => flow.icmp.iter().flat_map(|i| lent(i.kind.as_str())).collect(),
            Self::IcmpCode => flow
                .icmp
                .iter()
                .map(|i| FieldValue::Int(i64::from(i.code)))
                .collect(),
            Self::IcmpId => flow
                .icmp
                .iter()
                .map(|i| FieldValue::Int(i64::from(i.id)))
                .collect(),
            Self::Metric(field) => vec![FieldValue::Int(field.of(&flow.metric))],
            Self::LastUpdateMetric(field) => flow
                .last_update_metric
                .iter()
                .map(|m| FieldValue::Int(field.of(m)))
                .collect(),
            Self::Link(part) => flow.link.as_ref().map_or_else(Vec::new, |l| {
                part.of(
                    "ETHERNET",
                    l.id,
                    || FieldValue::Text(l.a.to_string().into()),
                    || FieldValue::Text(l.b.to_string().into()),
                )
            }),
            Self::Network(part) => flow.network.as_ref().map_or_else(Vec::new, |n| {
                part.of(
                    n.protocol(),
                    n.id,
                    || FieldValue::Text(n.a.to_string().into()),
                    || FieldValue::Text(n.b.to_string().into()),
                )
            }),
            Self::Transport(part) => flow.transport.as_ref().map_or_else(Vec::new, |t| {
                part.of(
                    t.protocol.as_str(),
                    0,
                    || FieldValue::Int(t.a.into()),
                    || FieldValue::Int(t.b.into()),
                )
            }),
            Self::Json(path) => json_values(flow, path),
        }
    }
}

impl LayerPart {
    fn of<'a>(
        &self,
        protocol: &'static str,
        id: u64,
        a: impl Fn() -> FieldValue<'a>,
        b: impl Fn() -> FieldValue<'a>,
    ) -> Vec<FieldValue<'a>> {
        if self.protocol.is_some_and(|wanted| wanted != protocol) {
            return vec![];
        }
        match self.end {
            LayerEnd::Any => vec![a(), b()],
            LayerEnd::A => vec![a()],
            LayerEnd::B => vec![b()],
            LayerEnd::Id => vec![FieldValue::Int(i64::try_from(id).unwrap_or(i64::MAX))],
            LayerEnd::Protocol => vec![FieldValue::Text(Cow::Borrowed(protocol))],
        }
    }
}

fn json_values(flow: &Flow, path: &[String]) -> Vec<FieldValue<'static>> {
    // Only the rare fields come here; the fixed ones never pay for the document.
    let Ok(document) = serde_json::to_value(flow) else {
        return vec![];
    };
    let mut found = Vec::new();
    collect_json(&document, path, &mut found);
    found
}

/// Collects what stands at `path` of a JSON document; a list stands for each of its elements.
pub fn collect_json(value: &serde_json::Value, path: &[String], found: &mut Vec<FieldValue<'static>>) {
    use serde_json::Value as Json;
    match (value, path) {
        (Json::Array(elements), _) => elements.iter().for_each(|e| collect_json(e, path, found)),
        (Json::Object(map), [key, rest @ ..]) => {
            if let Some(inner) = map.get(key) {
                collect_json(inner, rest, found);
            } else if !rest.is_empty() {
                // Keys may hold dots themselves (`ExtID.vm-id` written flat).
                if let Some(inner) = map.get(&path.join(".")) {
                    collect_json(inner, &[], found);
                }
            }
        }
        (Json::Bool(bool), []) => found.push(FieldValue::Bool(*bool)),
        (Json::Number(number), []) => found.push(number.as_i64().map_or_else(
            || FieldValue::Float(number.as_f64().unwrap_or(0.0)),
            FieldValue::Int,
        )),
        (Json::String(text), []) => found.push(FieldValue::Text(Cow::Owned(text.clone()))),
        // An object that is there but is no single value: it exists, and equals nothing useful.
        (Json::Object(_), []) => found.push(FieldValue::Text(Cow::Borrowed(""))),
        _ => {}
    }
}

/// A condition on flows.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum FlowFilter {
    /// Every flow.
    #[default]
    All,
    /// One field.
    Field(FlowField, Predicate),
    /// All of these.
    And(Vec<FlowFilter>),
    /// Any of these.
    Or(Vec<FlowFilter>),
    /// Not this.
    Not(Box<FlowFilter>),
}

impl FlowFilter {
    /// `path` equals `value`.
    #[must_use]
    pub fn eq(path: &str, value: impl Into<Value>) -> Self {
        Self::Field(FlowField::parse(path), Predicate::Eq(value.into()))
    }

    /// Both this and `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, filter) | (filter, Self::All) => filter,
            (Self::And(mut filters), other) => {
                filters.push(other);
                Self::And(filters)
            }
            (first, second) => Self::And(vec![first, second]),
        }
    }

    /// True if `flow` meets the condition.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        match self {
            Self::All => true,
            Self::Field(field, predicate) => predicate.test(field.values(flow)),
            Self::And(filters) => filters.iter().all(|f| f.matches(flow)),
            Self::Or(filters) => filters.iter().any(|f| f.matches(flow)),
            Self::Not(filter) => !filter.matches(flow),
        }
    }
}

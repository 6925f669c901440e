//! Fields of a flow, by their paths in Skydive's JSON.

use std::borrow::Cow;

use super::predicate::FieldValue;
use crate::flow::{Flow, FlowId, FlowMetric};

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
        // As the document has it: there also where it is empty.
        let id = |id: FlowId| {
            text(if id == FlowId::NONE {
                String::new()
            } else {
                id.to_string()
            })
        };
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

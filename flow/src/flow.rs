//! A flow as queries and stores see it: a snapshot of both directions of one conversation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::timestamp::Timestamp;

/// A flow's 64-bit identifier, printed as Skydive does: lower-case hex without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

impl FlowId {
    /// "None": the parent of a flow that has none.
    pub const NONE: Self = Self(0);

    /// Parses what [`fmt::Display`] prints.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 16 {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Serialize for FlowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::NONE {
            serializer.serialize_str("")
        } else {
            serializer.collect_str(self)
        }
    }
}

/// An IEEE 802 MAC address, in network order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Parses six hex pairs separated by `:` or `-`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| (1..=2).contains(&p.len()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The link layer of a flow: A sent the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLayer {
    /// Source MAC of the first packet.
    pub a: MacAddr,
    /// Destination MAC of the first packet.
    pub b: MacAddr,
    /// VLAN ids of the first packet: the outermost tag in bits 0 to 11, the next in bits 12 to 23, …
    pub id: u64,
}

/// The network layer of a flow. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLayer {
    /// Source address of the first packet.
    pub a: IpAddr,
    /// Destination address of the first packet.
    pub b: IpAddr,
    /// VNI or GRE key of the tunnel that this flow carries, 0 if none.
    pub id: u64,
}

impl NetworkLayer {
    /// Skydive's name of the protocol.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.a.is_ipv4() { "IPV4" } else { "IPV6" }
    }
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransportProtocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl TransportProtocol {
    /// Skydive's name of the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    /// The IANA protocol number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// From the IANA protocol number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// The transport layer of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportLayer {
    /// Which one.
    pub protocol: TransportProtocol,
    /// Source port of the first packet.
    pub a: u16,
    /// Destination port of the first packet.
    pub b: u16,
}

/// Skydive's kinds of ICMPv4 and ICMPv6 messages, numbered as its key recipe needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum IcmpType {
    Unknown = 0,
    DestinationUnreachable = 1,
    Echo = 2,
    Neighbor = 3,
    AddressMask = 4,
    Info = 5,
    ParameterProblem = 6,
    Redirect = 7,
    Router = 8,
    SourceQuench = 9,
    TimeExceeded = 10,
    Timestamp = 11,
    PacketTooBig = 12,
}

impl IcmpType {
    const NAMES: [&'static str; 13] = [
        "UNKNOWN",
        "DESTINATION_UNREACHABLE",
        "ECHO",
        "NEIGHBOR",
        "ADDRESS_MASK",
        "INFO",
        "PARAMETER_PROBLEM",
        "REDIRECT",
        "ROUTER",
        "SOURCE_QUENCH",
        "TIME_EXCEEDED",
        "TIMESTAMP",
        "PACKET_TOO_BIG",
    ];

    /// Skydive's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// From the number in Skydive's key recipe; anything above 12 is [`IcmpType::Unknown`].
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::DestinationUnreachable,
            2 => Self::Echo,
            3 => Self::Neighbor,
            4 => Self::AddressMask,
            5 => Self::Info,
            6 => Self::ParameterProblem,
            7 => Self::Redirect,
            8 => Self::Router,
            9 => Self::SourceQuench,
            10 => Self::TimeExceeded,
            11 => Self::Timestamp,
            12 => Self::PacketTooBig,
            _ => Self::Unknown,
        }
    }
}

/// The ICMP layer of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpLayer {
    /// The kind of message.
    pub kind: IcmpType,
    /// The code field of the first packet, 0 for ICMPv6 echo.
    pub code: u8,
    /// The identifier of an echo, 0 where there is none.
    pub id: u16,
}

/// Packets and bytes both ways over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowMetric {
    /// Packets from A to B; for sampled traffic, the estimate (samples × rate).
    pub ab_packets: u64,
    /// Bytes on the wire from A to B; for sampled traffic, the estimate.
    pub ab_bytes: u64,
    /// Packets from B to A.
    pub ba_packets: u64,
    /// Bytes on the wire from B to A.
    pub ba_bytes: u64,
    /// Begin of the stretch.
    pub start: Timestamp,
    /// Its end: the last packet in it.
    pub last: Timestamp,
    /// Round-trip time in nanoseconds, 0 if not measured.
    pub rtt: u64,
}

impl Serialize for FlowMetric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ABPackets", &self.ab_packets)?;
        map.serialize_entry("ABBytes", &self.ab_bytes)?;
        map.serialize_entry("BAPackets", &self.ba_packets)?;
        map.serialize_entry("BABytes", &self.ba_bytes)?;
        map.serialize_entry("Start", &self.start.millis())?;
        map.serialize_entry("Last", &self.last.millis())?;
        if self.rtt != 0 {
            map.serialize_entry("RTT", &self.rtt)?;
        }
        map.end()
    }
}

/// TCP details, kept when a capture asks for them (`ExtraTCPMetric`). Times in ms, 0 = not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "Skydive's field names, which say it")]
#[serde(default)]
pub struct TcpMetric {
    #[serde(rename = "ABSynStart", skip_serializing_if = "is_zero")]
    pub ab_syn_start: i64,
    #[serde(rename = "BASynStart", skip_serializing_if = "is_zero")]
    pub ba_syn_start: i64,
    #[serde(rename = "ABSynTTL", skip_serializing_if = "is_zero")]
    pub ab_syn_ttl: i64,
    #[serde(rename = "BASynTTL", skip_serializing_if = "is_zero")]
    pub ba_syn_ttl: i64,
    #[serde(rename = "ABFinStart", skip_serializing_if = "is_zero")]
    pub ab_fin_start: i64,
    #[serde(rename = "BAFinStart", skip_serializing_if = "is_zero")]
    pub ba_fin_start: i64,
    #[serde(rename = "ABRstStart", skip_serializing_if = "is_zero")]
    pub ab_rst_start: i64,
    #[serde(rename = "BARstStart", skip_serializing_if = "is_zero")]
    pub ba_rst_start: i64,
    #[serde(rename = "ABSegmentOutOfOrder", skip_serializing_if = "is_zero")]
    pub ab_segment_out_of_order: i64,
    #[serde(rename = "ABSegmentSkipped", skip_serializing_if = "is_zero")]
    pub ab_segment_skipped: i64,
    #[serde(rename = "ABSegmentSkippedBytes", skip_serializing_if = "is_zero")]
    pub ab_segment_skipped_bytes: i64,
    #[serde(rename = "ABPackets", skip_serializing_if = "is_zero")]
    pub ab_packets: i64,
    #[serde(rename = "ABBytes", skip_serializing_if = "is_zero")]
    pub ab_bytes: i64,
    #[serde(rename = "ABSawStart", skip_serializing_if = "is_zero")]
    pub ab_saw_start: i64,
    #[serde(rename = "ABSawEnd", skip_serializing_if = "is_zero")]
    pub ab_saw_end: i64,
    #[serde(rename = "BASegmentOutOfOrder", skip_serializing_if = "is_zero")]
    pub ba_segment_out_of_order: i64,
    #[serde(rename = "BASegmentSkipped", skip_serializing_if = "is_zero")]
    pub ba_segment_skipped: i64,
    #[serde(rename = "BASegmentSkippedBytes", skip_serializing_if = "is_zero")]
    pub ba_segment_skipped_bytes: i64,
    #[serde(rename = "BAPackets", skip_serializing_if = "is_zero")]
    pub ba_packets: i64,
    #[serde(rename = "BABytes", skip_serializing_if = "is_zero")]
    pub ba_bytes: i64,
    #[serde(rename = "BASawStart", skip_serializing_if = "is_zero")]
    pub ba_saw_start: i64,
    #[serde(rename = "BASawEnd", skip_serializing_if = "is_zero")]
    pub ba_saw_end: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// IP details, kept when a capture asks for defragmentation (`IPDefrag`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpMetric {
    /// Fragments that became part of a whole packet.
    pub fragments: i64,
    /// Fragments that never did: overlapping, too late, or too many.
    pub fragment_errors: i64,
}

/// What was really seen of a sampled flow; [`FlowMetric`] holds the estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Sampling {
    /// N of the last sample's 1:N, 0 if the agent did not tell.
    pub rate: u32,
    /// Samples from A to B.
    #[serde(rename = "ABPackets")]
    pub ab_packets: u64,
    /// Bytes of the sampled packets on the wire from A to B.
    #[serde(rename = "ABBytes")]
    pub ab_bytes: u64,
    /// Samples from B to A.
    #[serde(rename = "BAPackets")]
    pub ba_packets: u64,
    /// Bytes of the sampled packets on the wire from B to A.
    #[serde(rename = "BABytes")]
    pub ba_bytes: u64,
}

impl Sampling {
    /// The 95 % error bound of the estimate in percent: 196·√(1/samples) (sflow.org, packetSamplingBasics).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    pub fn error_percent(&self) -> f64 {
        let samples = (self.ab_packets + self.ba_packets).max(1);
        196.0 * (1.0 / samples as f64).sqrt()
    }
}

impl Serialize for Sampling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Rate", &self.rate)?;
        map.serialize_entry("ABPackets", &self.ab_packets)?;
        map.serialize_entry("ABBytes", &self.ab_bytes)?;
        map.serialize_entry("BAPackets", &self.ba_packets)?;
        map.serialize_entry("BABytes", &self.ba_bytes)?;
        map.serialize_entry("ErrorPercent", &self.error_percent())?;
        map.end()
    }
}

/// How a flow ended. The numbers are Skydive's; `Evicted` is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FinishType {
    /// It has not.
    #[default]
    NotFinished = 0,
    /// No packet for the expiry time (RFC 7011 flowEndReason 1).
    Timeout = 1,
    /// FIN both ways (flowEndReason 3).
    Fin = 2,
    /// RST (flowEndReason 3).
    Rst = 3,
    /// The flow table was full (flowEndReason 5, lack of resources).
    Evicted = 4,
}

impl FinishType {
    /// From the number in JSON and in stores.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Timeout,
            2 => Self::Fin,
            3 => Self::Rst,
            4 => Self::Evicted,
            _ => Self::NotFinished,
        }
    }
}

/// What rarely stands beside the fixed fields. Stored as one JSON document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowExtra {
    /// TCP details.
    #[serde(rename = "TCPMetric", skip_serializing_if = "Option::is_none")]
    pub tcp_metric: Option<TcpMetric>,
    /// Defragmentation details.
    #[serde(rename = "IPMetric", skip_serializing_if = "Option::is_none")]
    pub ip_metric: Option<IpMetric>,
    /// Raw sums of sampled traffic.
    #[serde(rename = "Sampling", skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Skydive's extra layers (`DHCPv4`, `DNS`, `VRRPv2`), as JSON under those names.
    #[serde(flatten)]
    pub layers: serde_json::Map<String, serde_json::Value>,
}

impl FlowExtra {
    /// True if there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tcp_metric.is_none()
            && self.ip_metric.is_none()
            && self.sampling.is_none()
            && self.layers.is_empty()
    }
}

/// Both directions of one conversation at one node. A sent the first packet seen.
///
/// Serialized, it is Skydive's flow document (times in ms, RTT in ns) plus `CommunityID` and
/// `Sampling`.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Identifies this flow at this node since its start.
    pub uuid: FlowId,
    /// The same conversation has the same one at every node.
    pub tracking_id: FlowId,
    /// The same without the link layer.
    pub l3_tracking_id: FlowId,
    /// The flow that carries this one in a tunnel, or [`FlowId::NONE`].
    pub parent_uuid: FlowId,
    /// Names of the layers joined by `/`.
    pub layers_path: Arc<str>,
    /// The last layer, or what a port stands for.
    pub application: Arc<str>,
    /// Ethernet addresses, if there were any.
    pub link: Option<LinkLayer>,
    /// IP addresses, if there were any.
    pub network: Option<NetworkLayer>,
    /// Ports, if there were any.
    pub transport: Option<TransportLayer>,
    /// ICMP, if it was.
    pub icmp: Option<IcmpLayer>,
    /// Totals since the flow began.
    pub metric: FlowMetric,
    /// What came since the last update interval; `None` before the first.
    pub last_update_metric: Option<FlowMetric>,
    /// The first packet.
    pub start: Timestamp,
    /// The last packet.
    pub last: Timestamp,
    /// TID of the node where it was seen; empty if that is in no topology.
    pub node_tid: Arc<str>,
    /// UUID of the capture that saw it.
    pub capture_id: Arc<str>,
    /// Raw packets kept, whether still here or already stored.
    pub raw_packets_captured: u32,
    /// How it ended.
    pub finish_type: FinishType,
    /// The rest.
    pub extra: Option<Box<FlowExtra>>,
}

impl Flow {
    /// The IP protocol number, where the layers tell it.
    #[must_use]
    pub fn ip_protocol(&self) -> Option<u8> {
        match (&self.transport, &self.icmp, &self.network) {
            (Some(transport), _, _) => Some(transport.protocol.number()),
            (None, Some(_), Some(network)) => Some(if network.a.is_ipv4() { 1 } else { 58 }),
            _ => None,
        }
    }
}

struct Layer<'a, A> {
    protocol: &'a str,
    a: A,
    b: A,
    id: u64,
}

impl<A: Serialize> Serialize for Layer<'_, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Protocol", self.protocol)?;
        map.serialize_entry("A", &self.a)?;
        map.serialize_entry("B", &self.b)?;
        if self.id != 0 {
            map.serialize_entry("ID", &self.id)?;
        }
        map.end()
    }
}

impl Serialize for IcmpLayer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Type", self.kind.as_str())?;
        if self.code != 0 {
            map.serialize_entry("Code", &self.code)?;
        }
        if self.id != 0 {
            map.serialize_entry("ID", &self.id)?;
        }
        map.end()
    }
}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("UUID", &self.uuid)?;
        map.serialize_entry("LayersPath", &*self.layers_path)?;
        map.serialize_entry("Application", &*self.application)?;
        if let Some(link) = &self.link {
            let (a, b) = (link.a.to_string(), link.b.to_string());
            map.serialize_entry(
                "Link",
                &Layer {
                    protocol: "ETHERNET",
                    a,
                    b,
                    id: link.id,
                },
            )?;
        }
        if let Some(network) = &self.network {
            let (a, b) = (network.a.to_string(), network.b.to_string());
            map.serialize_entry(
                "Network",
                &Layer {
                    protocol: network.protocol(),
                    a,
                    b,
                    id: network.id,
                },
            )?;
        }
        if let Some(transport) = &self.transport {
            let layer = Layer {
                protocol: transport.protocol.as_str(),
                a: transport.a,
                b: transport.b,
                id: 0,
            };
            map.serialize_entry("Transport", &layer)?;
        }
        if let Some(icmp) = &self.icmp {
            map.serialize_entry("ICMP", icmp)?;
        }
        if let Some(last_update) = &self.last_update_metric {
            map.serialize_entry("LastUpdateMetric", last_update)?;
        }
        map.serialize_entry("Metric", &self.metric)?;
        map.serialize_entry("Start", &self.start.millis())?;
        map.serialize_entry("Last", &self.last.millis())?;
        map.serialize_entry("TrackingID", &self.tracking_id)?;
        map.serialize_entry("L3TrackingID", &self.l3_tracking_id)?;
        map.serialize_entry("ParentUUID", &self.parent_uuid)?;
        if !self.node_tid.is_empty() {
            map.serialize_entry("NodeTID", &*self.node_tid)?;
        }
        if !self.capture_id.is_empty() {
            map.serialize_entry("CaptureID", &*self.capture_id)?;
        }
        map.serialize_entry("RawPacketsCaptured", &self.raw_packets_captured)?;
        if self.finish_type != FinishType::NotFinished {
            map.serialize_entry("FinishType", &(self.finish_type as u8))?;
        }
        if let Some(community_id) = crate::community_id::of_flow(self) {
            map.serialize_entry("CommunityID", &community_id)?;
        }
        if let Some(extra) = &self.extra {
            if let Some(tcp_metric) = &extra.tcp_metric {
                map.serialize_entry("TCPMetric", tcp_metric)?;
            }
            if let Some(ip_metric) = &extra.ip_metric {
                map.serialize_entry("IPMetric", ip_metric)?;
            }
            if let Some(sampling) = &extra.sampling {
                map.serialize_entry("Sampling", sampling)?;
            }
            for (name, layer) in &extra.layers {
                map.serialize_entry(name, layer)?;
            }
        }
        map.end()
    }
}

/// An address from 4 or 16 bytes in network order.
#[must_use]
pub fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| IpAddr::V6(Ipv6Addr::from(v6)))
}

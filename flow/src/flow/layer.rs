//! The layers of a flow: addresses, ports, ICMP, and the identifiers they are printed as.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

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
    /// The type field of the first packet.
    pub number: u8,
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

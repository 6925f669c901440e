//! One packet as a collector lends it.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// A link type of the pcap file format (`LINKTYPE_*`, tcpdump.org/linktypes.html), without FCS bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte address family in the byte order of the machine that wrote it.
    pub const NULL: Self = Self(0);
    /// Ethernet (EN10MB).
    pub const ETHERNET: Self = Self(1);
    /// Raw IP, version told by the first nibble.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: a 4-byte address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture v1.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture v2.
    pub const LINUX_SLL2: Self = Self(276);

    /// From the link type field of a pcap header, whose upper bits tell of an FCS.
    /// Values that some systems write for raw IP (12 and 14, `DLT_RAW`) become [`LinkType::RAW`].
    #[must_use]
    pub fn from_pcap_header(field: u32) -> Self {
        match field & 0xffff {
            12 | 14 => Self::RAW,
            other => Self(u16::try_from(other).unwrap_or(u16::MAX)),
        }
    }

    /// True if [`crate::decode`] reads this link type.
    #[must_use]
    pub fn is_supported(self) -> bool {
        matches!(
            self,
            Self::NULL
                | Self::ETHERNET
                | Self::RAW
                | Self::LOOP
                | Self::LINUX_SLL
                | Self::IPV4
                | Self::IPV6
                | Self::LINUX_SLL2
        )
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NULL => f.write_str("NULL"),
            Self::ETHERNET => f.write_str("EN10MB"),
            Self::RAW => f.write_str("RAW"),
            Self::LOOP => f.write_str("LOOP"),
            Self::LINUX_SLL => f.write_str("LINUX_SLL"),
            Self::IPV4 => f.write_str("IPV4"),
            Self::IPV6 => f.write_str("IPV6"),
            Self::LINUX_SLL2 => f.write_str("LINUX_SLL2"),
            Self(other) => write!(f, "LINKTYPE_{other}"),
        }
    }
}

/// One packet seen once at one place. The bytes are lent.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it was seen.
    pub timestamp: Timestamp,
    /// Its length on the wire in bytes, which may be more than was captured.
    pub len: u32,
    /// What the first byte of `data` begins.
    pub link_type: LinkType,
    /// How many packets this one stands for: the sampling rate N of 1:N, 1 when every packet is
    /// seen, 0 when the agent did not tell (then it counts as 1).
    pub sampling_rate: u32,
    /// True for bytes off the wire. False for headers rebuilt from a record that carried only
    /// fields (sFlow v5 `sampled_ipv4`, ...): such a packet counts in its flow but is never kept
    /// as a raw packet.
    pub captured: bool,
    /// The captured bytes: `caplen` of libpcap is their number.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// A captured, unsampled packet.
    #[must_use]
    pub fn new(timestamp: Timestamp, len: u32, link_type: LinkType, data: &'a [u8]) -> Self {
        Self {
            timestamp,
            len,
            link_type,
            sampling_rate: 1,
            captured: true,
            data,
        }
    }
}

/// How many packets a reader hands over at once: small enough for the L1 cache, large enough that
/// the three loops over it (decode, hash, table) pay for their set-up.
pub const BATCH: usize = 64;

/// Where a reader puts what it sees: the flow table, a pcap writer, a test recorder.
///
/// One sink belongs to one capture point and one thread at a time.
pub trait Sink: Send {
    /// Takes up to [`BATCH`] packets, oldest first. The bytes are lent for the call.
    fn packets(&mut self, batch: &[Packet<'_>]);

    /// Says that the source pauses or has ended: what the sink holds back goes out now.
    fn flush(&mut self);
}

/// A packet kept with its flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPacket {
    /// When it was seen.
    pub timestamp: Timestamp,
    /// Its number within its flow, from 1.
    pub index: u32,
    /// Its length on the wire in bytes.
    pub len: u32,
    /// What the first byte of `data` begins.
    pub link_type: LinkType,
    /// The captured bytes.
    pub data: Bytes,
}

impl RawPacket {
    /// The packet as it was lent when it was seen.
    #[must_use]
    pub fn as_packet(&self) -> Packet<'_> {
        Packet::new(self.timestamp, self.len, self.link_type, &self.data)
    }
}

/// Decides packet by packet, as a compiled BPF program does.
pub trait PacketFilter: Send + Sync {
    /// True if the packet passes.
    fn matches(&self, data: &[u8], len: u32) -> bool;
}

/// Compiles pcap-filter(7) expressions; libpcap's compiler lives in the collectors.
pub trait FilterCompiler: Send + Sync {
    /// Compiles `expression` for packets of `link_type`.
    ///
    /// # Errors
    /// libpcap's own message, for instance ``syntax error in filter expression``.
    fn compile(&self, expression: &str, link_type: LinkType) -> Result<Box<dyn PacketFilter>, String>;
}

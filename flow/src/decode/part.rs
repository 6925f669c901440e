//! What decoding gives: one part for each flow that a packet belongs to.

use crate::flow::MacAddr;
use crate::key::{FlowKey, KeyKind};
use crate::layers::LayersPath;
use crate::packet::LinkType;
use crate::point::LayerKeyMode;

/// What of a packet a round-trip time can be measured with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// Nothing.
    #[default]
    None,
    /// An ICMP echo request or DNS query with this number.
    Request(u16),
    /// The answer to it.
    Reply(u16),
}

/// What TCP metrics need of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSegment {
    /// True if the header was there as a whole.
    pub present: bool,
    /// FIN, SYN, RST, …: the low eight flag bits of RFC 9293 §3.1.
    pub flags: u8,
    /// Sequence number, host order.
    pub sequence: u32,
    /// Bytes of payload on the wire.
    pub payload_len: u32,
}

impl TcpSegment {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// ACK.
    pub const ACK: u8 = 16;

    /// True if all bits of `flags` are set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// What defragmentation needs of an IPv4 fragment (RFC 791 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Source and destination, host order.
    pub addresses: (u32, u32),
    /// Identification field.
    pub identification: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Where this fragment's payload belongs, in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Where the fragment's payload lies in the packet.
    pub payload: (u32, u32),
}

/// One flow's part of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The flow's key; its parent is filled in when the parent's flow is known.
    pub key: FlowKey,
    /// The packet's number in its batch.
    pub packet: u16,
    /// 0 for the outermost part, one more for each tunnel.
    pub level: u8,
    /// True if the packet goes from the key's second endpoint to its first.
    pub swapped: bool,
    /// The bytes are not those of the packet but of a defragmented one: nothing can be kept of it.
    pub reassembled: bool,
    /// The layers seen.
    pub path: LayersPath,
    /// Source and destination MAC address, where the key does not hold them.
    pub macs: Option<(MacAddr, MacAddr)>,
    /// VLAN ids, see [`crate::flow::LinkLayer::id`].
    pub vlan: u64,
    /// VNI or GRE key.
    pub tunnel_id: u32,
    /// Source port where the key does not hold it (tunnels over UDP).
    pub tunnel_source_port: u16,
    /// Length on the wire in bytes, from this part's first byte.
    pub len: u32,
    /// Where this part begins in the packet's bytes.
    pub offset: u32,
    /// Link type of the bytes from there.
    pub link_type: LinkType,
    /// IP TTL or hop limit.
    pub ttl: u8,
    /// The type field of ICMP, where the key says that it is ICMP.
    pub icmp_type: u8,
    /// For round-trip times.
    pub probe: Probe,
    /// For TCP metrics.
    pub tcp: TcpSegment,
    /// Where the application's bytes lie, in the bytes decoded.
    pub payload: (u32, u32),
    /// Set for an IPv4 fragment.
    pub fragment: Option<Fragment>,
}

impl Part {
    #[inline]
    pub(super) fn new(point: u32, packet: u16, len: u32, link_type: LinkType) -> Self {
        Self {
            key: FlowKey::new(point),
            packet,
            level: 0,
            swapped: false,
            reassembled: false,
            path: LayersPath::default(),
            macs: None,
            vlan: 0,
            tunnel_id: 0,
            tunnel_source_port: 0,
            len,
            offset: 0,
            link_type,
            ttl: 0,
            icmp_type: 0,
            probe: Probe::None,
            tcp: TcpSegment::default(),
            payload: (0, 0),
            fragment: None,
        }
    }

    /// A part of which nothing is known but its flow.
    #[cfg(test)]
    pub(crate) fn of_key(key: FlowKey) -> Self {
        Self {
            key,
            ..Self::new(0, 0, 0, LinkType::ETHERNET)
        }
    }

    /// Source and destination port of TCP, UDP or SCTP.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.key.kind() {
            KeyKind::Ports(_) => {
                let (first, second) = self.key.ports();
                Some(if self.swapped {
                    (second, first)
                } else {
                    (first, second)
                })
            }
            KeyKind::Tunnel => Some((self.tunnel_source_port, self.key.tunnel_port())),
            _ => None,
        }
    }

    /// Puts the key in canonical order. MAC addresses are part of it in key mode L2, and where there
    /// is nothing else.
    pub(super) fn finish(&mut self, mode: LayerKeyMode) {
        if let Some((source, destination)) = self.macs
            && (mode == LayerKeyMode::L2 || self.key.ip_version() == 0)
        {
            self.key.set_macs(source, destination);
            self.macs = None;
        }
        // A host that pings itself: the answer goes back.
        let answer = matches!(self.probe, Probe::Reply(_)) && self.key.kind() == KeyKind::Icmp;
        self.swapped = self.key.canonicalize(answer);
    }

    /// Takes back what [`Self::finish`] did: the source stands first again, and MAC addresses beside the key.
    pub(super) fn reopen(&mut self) {
        if let Some((first, second)) = self.key.macs() {
            self.macs = Some(if self.swapped {
                (second, first)
            } else {
                (first, second)
            });
        }
        self.key.reopen(self.swapped);
    }
}

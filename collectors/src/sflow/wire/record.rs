//! Records that flowtap reads itself: those of the hot path, and those whose MAC addresses
//! `sflow-parser` takes for 6 bytes although XDR pads them to 8.

use std::net::IpAddr;

use super::Cursor;

/// The first bytes of a packet (`sampled_header`, (0,1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawHeader<'a> {
    /// What the bytes begin with: a `header_protocol`.
    pub protocol: u32,
    /// Length of the packet before sampling, in bytes, with what was stripped.
    pub frame_length: u32,
    /// Bytes removed from the packet before `header` was taken, FCS included.
    pub stripped: u32,
    /// The bytes.
    pub header: &'a [u8],
}

impl RawHeader<'_> {
    /// `header_protocol` of Ethernet (ISO 8802-3).
    pub const ETHERNET: u32 = 1;
    /// `header_protocol` of IPv4.
    pub const IPV4: u32 = 11;
    /// `header_protocol` of IPv6.
    pub const IPV6: u32 = 12;
}

impl<'a> RawHeader<'a> {
    /// Reads the record; `None` if it is shorter than it says.
    #[inline(always)]
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        Some(Self {
            protocol: cursor.u32()?,
            frame_length: cursor.u32()?,
            stripped: cursor.u32()?,
            header: cursor.opaque()?,
        })
    }

    /// Length of the packet on the wire in bytes. An Ethernet frame counts without what was stripped
    /// (its FCS, mostly), an IP packet as given; never less than there are bytes.
    #[must_use]
    pub fn packet_length(&self) -> u32 {
        let length = match self.protocol {
            Self::ETHERNET => self.frame_length.saturating_sub(self.stripped),
            _ => self.frame_length,
        };
        length.max(u32::try_from(self.header.len()).unwrap_or(u32::MAX))
    }
}

/// The Ethernet header of a packet, field by field (`sampled_ethernet`, (0,2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampledEthernet {
    /// Length of the frame in bytes, FCS included.
    pub length: u32,
    /// Source address.
    pub source: [u8; 6],
    /// Destination address.
    pub destination: [u8; 6],
    /// EtherType.
    pub ethertype: u32,
}

impl SampledEthernet {
    /// Reads the record; `None` if it is too short.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        Some(Self {
            length: cursor.u32()?,
            source: cursor.mac()?,
            destination: cursor.mac()?,
            ethertype: cursor.u32()?,
        })
    }
}

/// The IP header and ports of a packet, field by field (`sampled_ipv4`, (0,3); `sampled_ipv6`, (0,4)).
/// Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampledIp {
    /// Length of the IP packet in bytes.
    pub length: u32,
    /// IP protocol number (IPv6: of the first header that is no extension).
    pub protocol: u32,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TCP or UDP source port, or its equivalent.
    pub source_port: u32,
    /// TCP or UDP destination port, or its equivalent.
    pub destination_port: u32,
    /// TCP flags.
    pub tcp_flags: u32,
    /// IPv4 type of service, IPv6 traffic class.
    pub traffic_class: u32,
}

impl SampledIp {
    /// Reads a `sampled_ipv4`; `None` if it is too short.
    #[must_use]
    pub fn parse_v4(body: &[u8]) -> Option<Self> {
        Self::parse(body, |cursor| cursor.array::<4>().map(IpAddr::from))
    }

    /// Reads a `sampled_ipv6`; `None` if it is too short.
    #[must_use]
    pub fn parse_v6(body: &[u8]) -> Option<Self> {
        Self::parse(body, |cursor| cursor.array::<16>().map(IpAddr::from))
    }

    fn parse(body: &[u8], address: impl Fn(&mut Cursor<'_>) -> Option<IpAddr>) -> Option<Self> {
        let mut cursor = Cursor(body);
        Some(Self {
            length: cursor.u32()?,
            protocol: cursor.u32()?,
            source: address(&mut cursor)?,
            destination: address(&mut cursor)?,
            source_port: cursor.u32()?,
            destination_port: cursor.u32()?,
            tcp_flags: cursor.u32()?,
            traffic_class: cursor.u32()?,
        })
    }
}

/// When the packet was sampled (`extended_timestamp`, (0,1043)): nanoseconds since the Unix epoch,
/// UTC. `None` if the record is too short.
#[must_use]
pub fn extended_timestamp(body: &[u8]) -> Option<u64> {
    Cursor(body).u64()
}

/// How a port takes part in a link aggregation (`lag_port_stats`, (0,7), IEEE 802.1AX). The LACP
/// packet counters behind these fields are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagPort {
    /// `dot3adAggPortActorSystemID`.
    pub actor_system: [u8; 6],
    /// `dot3adAggPortPartnerOperSystemID`.
    pub partner_system: [u8; 6],
    /// `dot3adAggPortAttachedAggID`: the ifIndex of the aggregator, 0 for none.
    pub aggregator: u32,
}

impl LagPort {
    /// Reads the record; `None` if it is too short.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        const LENGTH: usize = 8 + 8 + 4 + 4 + 8 * 4;
        let mut cursor = Cursor(body.get(..LENGTH)?);
        Some(Self {
            actor_system: cursor.mac()?,
            partner_system: cursor.mac()?,
            aggregator: cursor.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_padded_to_eight_bytes() {
        let mut body = vec![0, 0, 0, 64];
        body.extend([2, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 8, 0]);
        let record = SampledEthernet::parse(&body).unwrap();
        assert_eq!(
            (record.source[5], record.destination[5], record.ethertype),
            (1, 2, 0x0800)
        );
        assert_eq!(SampledEthernet::parse(&body[..23]), None);

        // A bond member of Open vSwitch: aggregator 3, which a 6-byte reading takes for 65535.
        let mut body = vec![2, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 5, 0x76, 0, 0, 0, 0, 0, 3];
        body.extend([0xff; 36]);
        assert_eq!(LagPort::parse(&body).unwrap().aggregator, 3);
        assert_eq!(LagPort::parse(&body[..55]), None);
    }

    #[test]
    fn what_was_stripped_counts_for_ethernet_alone() {
        let ethernet = RawHeader {
            protocol: 1,
            frame_length: 102,
            stripped: 4,
            header: &[0; 64],
        };
        assert_eq!(ethernet.packet_length(), 98);
        assert_eq!(
            RawHeader {
                protocol: 11,
                ..ethernet
            }
            .packet_length(),
            102
        );
        assert_eq!(
            RawHeader {
                frame_length: 3,
                ..ethernet
            }
            .packet_length(),
            64
        );
    }

    #[test]
    fn an_inner_length_is_believed_only_as_far_as_there_are_bytes() {
        let body = [0, 0, 0, 1, 0, 0, 0, 60, 0, 0, 0, 4, 1, 0xf0, 0, 0, 1, 2, 3, 4];
        assert_eq!(RawHeader::parse(&body), None);
    }
}

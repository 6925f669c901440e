//! What follows an IP header.

use etherparse::{TcpHeaderSlice, UdpHeaderSlice};

use super::part::{Part, TcpSegment};
use super::{Next, Walk, application, link::u16_at};
use crate::layers::Layer;

/// IANA's protocol numbers.
pub(super) mod number {
    pub(in crate::decode) const ICMP: u8 = 1;
    pub(in crate::decode) const IGMP: u8 = 2;
    pub(in crate::decode) const IPV4: u8 = 4;
    pub(in crate::decode) const TCP: u8 = 6;
    pub(in crate::decode) const UDP: u8 = 17;
    pub(in crate::decode) const IPV6: u8 = 41;
    pub(in crate::decode) const GRE: u8 = 47;
    pub(in crate::decode) const ESP: u8 = 50;
    pub(in crate::decode) const AH: u8 = 51;
    pub(in crate::decode) const ICMPV6: u8 = 58;
    pub(in crate::decode) const OSPF: u8 = 89;
    pub(in crate::decode) const VRRP: u8 = 112;
    pub(in crate::decode) const SCTP: u8 = 132;
    pub(in crate::decode) const UDP_LITE: u8 = 136;
    pub(in crate::decode) const MPLS: u8 = 137;
}

/// The shortest Authentication Header, without its check value.
const AH_LEN: usize = 12;

impl Walk<'_, '_> {
    pub(super) fn protocol(&mut self, protocol: u8, parts: &mut Vec<Part>) -> Next {
        match protocol {
            number::TCP => self.tcp(),
            number::UDP => self.udp(parts),
            number::ICMP => self.icmpv4(),
            number::ICMPV6 => self.icmpv6(),
            number::SCTP => {
                self.ports(Layer::Sctp, number::SCTP);
                Next::End
            }
            number::IPV4 | number::IPV6 => Next::Ip,
            number::GRE => self.gre(parts),
            number::MPLS => Next::Mpls,
            number::IGMP => self.named(Layer::Igmp, 8),
            number::VRRP => {
                self.part.payload = self.span();
                self.named(Layer::Vrrp, 8)
            }
            number::OSPF => self.named(Layer::Ospf, 14),
            number::ESP => self.named(Layer::IpSecEsp, 8),
            number::AH => self.authentication_header(),
            number::UDP_LITE => self.named(Layer::UdpLite, 8),
            _ => Next::End,
        }
    }

    /// What follows is readable (RFC 4302 §2): the header tells its protocol, and its own length in words of four
    /// bytes, less two.
    fn authentication_header(&mut self) -> Next {
        let &[protocol, words, ..] = self.rest() else {
            return Next::End;
        };
        let len = (usize::from(words) + 2) * 4;
        if self.rest().len() < AH_LEN
            || !self.push(Layer::IpSecAh)
            || !(AH_LEN..=self.rest().len()).contains(&len)
        {
            return Next::End;
        }
        self.advance(len);
        Next::Protocol(protocol)
    }

    /// Reads the two ports that TCP, UDP and SCTP begin with: four bytes suffice.
    fn ports(&mut self, layer: Layer, protocol: u8) -> Option<(u16, u16)> {
        let (source, destination) = (u16_at(self.rest(), 0)?, u16_at(self.rest(), 2)?);
        if !self.push(layer) {
            return None;
        }
        self.part.key.set_ports(protocol, source, destination);
        Some((source, destination))
    }

    fn tcp(&mut self) -> Next {
        let Some(ports) = self.ports(Layer::Tcp, number::TCP) else {
            return Next::End;
        };
        let Ok(header) = TcpHeaderSlice::from_slice(self.rest()) else {
            self.tcp_cut();
            return Next::End;
        };
        let header_len = header.slice().len();
        self.part.tcp = TcpSegment {
            present: true,
            flags: header.slice()[13],
            sequence: header.sequence_number(),
            payload_len: 0,
        };
        self.part.tcp.payload_len = self.wire_payload(header_len);
        self.advance(header_len);
        self.part.payload = self.span();
        if let Some(layer) = application::of_tcp(ports, self.rest()) {
            self.push(layer);
        }
        Next::End
    }

    /// A TCP header that was cut: flags and sequence number if those bytes are there. The payload
    /// then is what the header length field leaves of the IP packet.
    fn tcp_cut(&mut self) {
        let rest = self.rest();
        let (Some(sequence), Some(offset), Some(flags)) = (
            super::link::u32_at(rest, 4),
            rest.get(12).copied(),
            rest.get(13).copied(),
        ) else {
            return;
        };
        let payload_len = self.wire_payload(usize::from(offset >> 4) * 4);
        self.part.tcp = TcpSegment {
            present: true,
            flags,
            sequence,
            payload_len,
        };
    }

    /// Bytes on the wire behind a header of `header_len` bytes that begins here. Where the capture
    /// was cut, the wire length tells; else the IP length does (it knows of padding).
    fn wire_payload(&self, header_len: usize) -> u32 {
        let captured_all = self.end < self.data.len() || self.wire_len as usize <= self.data.len();
        let end = if captured_all {
            self.end
        } else {
            self.wire_len as usize
        };
        u32::try_from(end.saturating_sub(self.at + header_len)).unwrap_or(u32::MAX)
    }

    fn udp(&mut self, parts: &mut Vec<Part>) -> Next {
        let Some((source, destination)) = self.ports(Layer::Udp, number::UDP) else {
            return Next::End;
        };
        if UdpHeaderSlice::from_slice(self.rest()).is_err() {
            return Next::End;
        }
        self.advance(8);
        self.part.payload = self.span();
        if let Some(next) = self.udp_tunnel(source, destination, parts) {
            return next;
        }
        let (layer, probe) = application::of_udp((source, destination), self.rest());
        if let Some(layer) = layer {
            self.push(layer);
            self.part.probe = probe;
        }
        Next::End
    }
}

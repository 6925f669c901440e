//! GRE (RFC 2784, RFC 2890), ERSPAN, VXLAN (RFC 7348), Geneve (RFC 8926), MPLS (RFC 3032): each
//! ends the flow's part of the packet and begins a child flow's.

use super::link::{self, u16_at, u32_at};
use super::part::Part;
use super::{DecodeOptions, Next, Walk};
use crate::layers::Layer;

const VXLAN_PORT: u16 = 4789;
/// What Linux used before IANA assigned one.
const OLD_VXLAN_PORT: u16 = 8472;
const GENEVE_PORT: u16 = 6081;
const ERSPAN_2: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;
/// Labels read before a stack is taken for hostile.
const MAX_LABELS: usize = 8;

/// True if one of these UDP ports, source and destination, may stand for a tunnel.
#[inline]
pub(super) fn is_tunnel_port((source, destination): (u16, u16), options: &DecodeOptions) -> bool {
    let is_one = |port| matches!(port, VXLAN_PORT | OLD_VXLAN_PORT | GENEVE_PORT);
    is_one(source) || is_one(destination) || options.mpls_udp_ports.contains(&destination)
}

impl Walk<'_, '_> {
    pub(super) fn gre(&mut self, parts: &mut Vec<Part>) -> Next {
        let rest = self.rest();
        let (Some(flags), Some(protocol)) = (u16_at(rest, 0), u16_at(rest, 2)) else {
            return Next::End;
        };
        let (has_checksum, has_key, has_sequence) =
            (flags & 0x8000 != 0, flags & 0x2000 != 0, flags & 0x1000 != 0);
        let key_at = if has_checksum { 8 } else { 4 };
        let header_len = key_at + 4 * (usize::from(has_key) + usize::from(has_sequence));
        let key = if has_key { u32_at(rest, key_at) } else { Some(0) };
        // Version 1 is PPTP's (RFC 2637), whose header differs.
        let (0, Some(key)) = (flags & 7, key) else {
            return self.named(Layer::Gre, 4);
        };
        if rest.len() < header_len || !self.push(Layer::Gre) {
            return Next::End;
        }
        self.part.tunnel_id = key;
        self.advance(header_len);
        match protocol {
            link::IPV4 | link::IPV6 if self.holds(Next::Ip) => self.split(parts, 0, Next::Ip),
            link::TRANSPARENT_ETHERNET if self.holds(Next::Ethernet) => self.split(parts, 0, Next::Ethernet),
            link::MPLS_UNICAST | link::MPLS_MULTICAST => Next::Mpls,
            // Type I has no header of its own and no sequence number.
            ERSPAN_2 => self.split(parts, if has_sequence { 8 } else { 0 }, Next::Ethernet),
            ERSPAN_3 => {
                let has_subheader = self.rest().get(11).is_some_and(|byte| byte & 1 != 0);
                self.split(parts, if has_subheader { 20 } else { 12 }, Next::Ethernet)
            }
            _ => Next::End,
        }
    }

    /// What a UDP port says of a tunnel, if the payload bears it out.
    pub(super) fn udp_tunnel(
        &mut self,
        source: u16,
        destination: u16,
        parts: &mut Vec<Part>,
    ) -> Option<Next> {
        let either = |ports: &[u16]| ports.contains(&destination) || ports.contains(&source);
        if either(&[VXLAN_PORT, OLD_VXLAN_PORT]) {
            return self.vxlan(source, destination, parts);
        }
        if either(&[GENEVE_PORT]) {
            return self.geneve(source, destination, parts);
        }
        if self.options.mpls_udp_ports.contains(&destination) && self.label_stack_len().is_some() {
            return Some(Next::Mpls);
        }
        None
    }

    fn vxlan(&mut self, source: u16, destination: u16, parts: &mut Vec<Part>) -> Option<Next> {
        let rest = self.rest();
        // The I flag says that there is a VNI.
        if rest.len() < 8 || rest[0] & 0x08 == 0 {
            return None;
        }
        let vni = u32_at(rest, 4)? >> 8;
        Some(self.udp_split(Layer::Vxlan, vni, (source, destination), 8, Next::Ethernet, parts))
    }

    fn geneve(&mut self, source: u16, destination: u16, parts: &mut Vec<Part>) -> Option<Next> {
        let rest = self.rest();
        let first = *rest.first()?;
        let (protocol, vni) = (u16_at(rest, 2)?, u32_at(rest, 4)? >> 8);
        let header_len = 8 + usize::from(first & 0x3f) * 4;
        if first >> 6 != 0 || rest.len() < header_len {
            return None;
        }
        let next = match protocol {
            link::TRANSPARENT_ETHERNET => Next::Ethernet,
            link::IPV4 | link::IPV6 => Next::Ip,
            _ => return None,
        };
        Some(self.udp_split(Layer::Geneve, vni, (source, destination), header_len, next, parts))
    }

    fn udp_split(
        &mut self,
        layer: Layer,
        vni: u32,
        (source, destination): (u16, u16),
        header_len: usize,
        next: Next,
        parts: &mut Vec<Part>,
    ) -> Next {
        if !self.push(layer) {
            return Next::End;
        }
        self.part.tunnel_id = vni;
        self.part.key.set_tunnel(vni, destination);
        self.part.tunnel_source_port = source;
        self.advance(header_len);
        self.split(parts, 0, next)
    }

    pub(super) fn mpls(&mut self, parts: &mut Vec<Part>) -> Next {
        let Some(labels) = self.label_stack_len() else {
            return Next::End;
        };
        for _ in 0..labels {
            self.push(Layer::Mpls);
            self.advance(4);
        }
        let (next, skip) = self.behind_labels();
        if next == Next::End {
            Next::End
        } else {
            self.split(parts, skip, next)
        }
    }

    /// The labels up to the bottom of the stack, if that comes soon enough.
    fn label_stack_len(&self) -> Option<usize> {
        let labels = self.rest().chunks_exact(4).take(MAX_LABELS);
        let bottom = labels.map(|label| label[2] & 1).position(|bottom| bottom == 1)?;
        Some(bottom + 1)
    }

    /// Labels do not say what they carry: IP by its first nibble, else Ethernet, which may have a
    /// pseudowire control word of four bytes (RFC 4385) before it.
    fn behind_labels(&self) -> (Next, usize) {
        let rest = self.rest();
        let known = |at: usize| {
            u16_at(rest, at + 12)
                .is_some_and(|t| matches!(t, link::IPV4 | link::IPV6 | 0x0806 | 0x8100 | 0x88a8))
        };
        match rest.first().map(|byte| byte >> 4) {
            None => (Next::End, 0),
            Some(4 | 6) if self.holds(Next::Ip) => (Next::Ip, 0),
            Some(0) if !known(0) && known(4) => (Next::Ethernet, 4),
            _ => (Next::Ethernet, 0),
        }
    }

    /// True if what follows can be what it is said to be.
    fn holds(&self, next: Next) -> bool {
        let rest = self.rest();
        match next {
            Next::Ip => match rest.first().map(|byte| byte >> 4) {
                Some(4) => rest.len() >= 20,
                Some(6) => rest.len() >= 40,
                _ => false,
            },
            _ => rest.len() >= 14,
        }
    }
}

//! Link layers: Ethernet, VLAN tags, Linux cooked, BSD loopback, LLC, PPPoE.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};

use super::{Next, Walk};
use crate::flow::MacAddr;
use crate::layers::Layer;
use crate::packet::LinkType;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const TRANSPARENT_ETHERNET: u16 = 0x6558;
pub(super) const MPLS_UNICAST: u16 = 0x8847;
pub(super) const MPLS_MULTICAST: u16 = 0x8848;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const OLD_SERVICE_VLAN: u16 = 0x9100;
const PPPOE_SESSION: u16 = 0x8864;
const EAPOL: u16 = 0x888e;
const LLDP: u16 = 0x88cc;
const LOOPBACK_TEST: u16 = 0x9000;
/// Up to here the field is an IEEE 802.3 length.
const LARGEST_LENGTH: u16 = 1500;

/// Five tags of 12 bits fit the flow's VLAN id.
const MAX_TAGS: u32 = 5;

/// True if a VLAN tag follows.
pub(super) fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN)
}

/// Where the first layer that has a name begins, and what it is. The cooked and loopback headers of
/// the operating systems carry no addresses that a peer would know, and stand in no path.
pub(super) fn begin(link_type: LinkType, data: &[u8]) -> (Next, usize) {
    match link_type {
        LinkType::ETHERNET => (Next::Ethernet, 0),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => (Next::Ip, 0),
        LinkType::NULL | LinkType::LOOP if data.len() > 4 => (Next::Ip, 4),
        LinkType::LINUX_SLL => match u16_at(data, 14) {
            Some(protocol) => (by_cooked_protocol(protocol), 16),
            None => (Next::End, 0),
        },
        LinkType::LINUX_SLL2 => match u16_at(data, 0) {
            Some(protocol) if data.len() >= 20 => (by_cooked_protocol(protocol), 20),
            _ => (Next::End, 0),
        },
        _ => (Next::End, 0),
    }
}

fn by_cooked_protocol(protocol: u16) -> Next {
    // Values below 1536 are Linux's own (802.3 frames, LLC, CAN …), not EtherTypes.
    if protocol > LARGEST_LENGTH {
        Next::EtherType(protocol)
    } else {
        Next::End
    }
}

/// A big-endian 16-bit field, if it is there.
pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

/// A big-endian 32-bit field, if it is there.
pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

impl Walk<'_, '_> {
    pub(super) fn ethernet(&mut self) -> Next {
        let Ok(header) = Ethernet2HeaderSlice::from_slice(self.rest()) else {
            return Next::End;
        };
        let macs = (MacAddr(header.source()), MacAddr(header.destination()));
        let ether_type = header.ether_type().0;
        if !self.push(Layer::Ethernet) {
            return Next::End;
        }
        self.part.macs = Some(macs);
        self.advance(14);
        if ether_type <= LARGEST_LENGTH {
            // Padding behind an 802.3 length is no part of the payload.
            self.end = self.end.min(self.at + usize::from(ether_type));
            return self.llc();
        }
        Next::EtherType(ether_type)
    }

    pub(super) fn ether_type(&mut self, ether_type: u16) -> Next {
        match ether_type {
            IPV4 | IPV6 => Next::Ip,
            _ if is_vlan(ether_type) => self.vlan(),
            ARP => self.named(Layer::Arp, 8),
            MPLS_UNICAST | MPLS_MULTICAST => Next::Mpls,
            PPPOE_SESSION => self.pppoe(),
            EAPOL => self.named(Layer::Eapol, 4),
            LLDP => self.named(Layer::LinkLayerDiscovery, 2),
            LOOPBACK_TEST => self.named(Layer::EthernetCtp, 2),
            _ => Next::End,
        }
    }

    /// A layer that we name but do not read, if at least `min` bytes of it are there.
    pub(super) fn named(&mut self, layer: Layer, min: usize) -> Next {
        if self.rest().len() >= min {
            self.push(layer);
        }
        Next::End
    }

    fn vlan(&mut self) -> Next {
        let Ok(header) = SingleVlanHeaderSlice::from_slice(self.rest()) else {
            return Next::End;
        };
        let (id, ether_type) = (header.vlan_identifier().value(), header.ether_type().0);
        let tags = self
            .part
            .path
            .layers()
            .filter(|layer| *layer == Layer::Dot1Q)
            .count();
        if !self.push(Layer::Dot1Q) {
            return Next::End;
        }
        if let Some(tags) = u32::try_from(tags).ok().filter(|tags| *tags < MAX_TAGS) {
            self.part.vlan |= u64::from(id) << (12 * tags);
        }
        self.advance(4);
        if ether_type <= LARGEST_LENGTH {
            self.llc()
        } else {
            Next::EtherType(ether_type)
        }
    }

    fn llc(&mut self) -> Next {
        let [dsap, ssap, control, ..] = *self.rest() else {
            return Next::End;
        };
        if !self.push(Layer::Llc) {
            return Next::End;
        }
        // Unnumbered frames (the two low bits set) have one control byte, others two.
        self.advance(if control & 3 == 3 { 3 } else { 4 });
        match (dsap, ssap) {
            (0x42, 0x42) => self.named(Layer::Stp, 4),
            (0xaa, 0xaa) => {
                let (Some(organization), Some(ether_type)) = (self.rest().get(..3), u16_at(self.rest(), 3))
                else {
                    return Next::End;
                };
                let encapsulated = organization == [0, 0, 0];
                self.push(Layer::Snap);
                self.advance(5);
                if encapsulated {
                    Next::EtherType(ether_type)
                } else {
                    Next::End
                }
            }
            _ => Next::End,
        }
    }

    /// PPPoE session (RFC 2516) and the PPP protocol field behind it.
    fn pppoe(&mut self) -> Next {
        if self.rest().len() < 6 || !self.push(Layer::PppoE) {
            return Next::End;
        }
        self.advance(6);
        let Some(protocol) = u16_at(self.rest(), 0) else {
            return Next::End;
        };
        self.push(Layer::Ppp);
        self.advance(2);
        match protocol {
            0x0021 | 0x0057 => Next::Ip,
            0x0281 | 0x0283 => Next::Mpls,
            _ => Next::End,
        }
    }
}

//! Applications that are known by port and borne out by their first bytes.

use super::link::u16_at;
use super::part::Probe;
use crate::layers::Layer;

const DNS: u16 = 53;
const DHCPV4_SERVER: u16 = 67;
const DHCPV4_CLIENT: u16 = 68;
const NTP: u16 = 123;
const DHCPV6_CLIENT: u16 = 546;
const DHCPV6_SERVER: u16 = 547;
const SFLOW: u16 = 6343;
const DNS_HEADER: usize = 12;

/// The highest of these ports.
const HIGHEST: u16 = SFLOW;

/// What a UDP payload is, and what its round-trip time can be measured with.
#[inline]
pub(super) fn of_udp(ports: (u16, u16), payload: &[u8]) -> (Option<Layer>, Probe) {
    if ports.0.min(ports.1) > HIGHEST {
        return (None, Probe::None);
    }
    of_known_ports(ports, payload)
}

fn of_known_ports((source, destination): (u16, u16), payload: &[u8]) -> (Option<Layer>, Probe) {
    let none = (None, Probe::None);
    // The destination's port decides first, as a client's own port is accidental.
    for port in [destination, source] {
        match port {
            DNS if payload.len() >= DNS_HEADER => return (Some(Layer::Dns), dns_probe(payload)),
            DHCPV4_SERVER | DHCPV4_CLIENT if is_dhcpv4(payload) => return (Some(Layer::Dhcpv4), Probe::None),
            NTP if payload.len() >= 48 || (payload.len() >= 12 && matches!(payload[0] & 7, 6 | 7)) => {
                return (Some(Layer::Ntp), Probe::None);
            }
            DHCPV6_CLIENT | DHCPV6_SERVER if payload.first().is_some_and(|kind| (1..=36).contains(kind)) => {
                return (Some(Layer::Dhcpv6), Probe::None);
            }
            SFLOW if payload.get(..4) == Some(&[0, 0, 0, 5]) => return (Some(Layer::SFlow), Probe::None),
            _ => {}
        }
    }
    none
}

/// What a TCP payload is: DNS with its length prefix (RFC 1035 §4.2.2), or a TLS handshake record on
/// any port (RFC 8446 §5.1).
#[inline(always)]
pub(super) fn of_tcp((source, destination): (u16, u16), payload: &[u8]) -> Option<Layer> {
    if payload.is_empty() {
        return None;
    }
    if (source == DNS || destination == DNS)
        && payload.len() >= 2 + DNS_HEADER
        && u16_at(payload, 0).is_some_and(|len| usize::from(len) >= DNS_HEADER)
    {
        return Some(Layer::Dns);
    }
    match *payload {
        // Handshake record, version 3.x, with a hello in it.
        [22, 3, minor, _, _, 1 | 2, ..] if minor <= 4 => Some(Layer::Tls),
        _ => None,
    }
}

fn dns_probe(payload: &[u8]) -> Probe {
    match (u16_at(payload, 0), payload.get(2)) {
        (Some(id), Some(flags)) if flags & 0x80 == 0 => Probe::Request(id),
        (Some(id), Some(_)) => Probe::Reply(id),
        _ => Probe::None,
    }
}

/// A BOOTP message: request or reply, over Ethernet-sized hardware addresses. The magic cookie may
/// have been cut off.
fn is_dhcpv4(payload: &[u8]) -> bool {
    matches!(*payload, [1 | 2, _, hardware_len, ..] if hardware_len <= 16) && payload.len() >= 28
}

//! Header bytes for packets of which an agent sent fields alone, so that they take the same way as
//! all others. What no field tells (TTL, sequence numbers, checksums) is zero.

use std::net::IpAddr;

use flowtap_flow::packet::LinkType;

use super::wire::{SampledEthernet, SampledIp};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const SCTP: u8 = 132;
const FCS: u32 = 4;

/// What was rebuilt: the rest is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rebuilt {
    pub(super) link_type: LinkType,
    /// Length of the packet on the wire in bytes.
    pub(super) len: u32,
}

/// Appends the headers that `ethernet` and `ip` describe to `out`; `None` if neither is there.
///
/// The Ethernet header holds no VLAN tag: of an untagged record an agent may mean the frame before
/// or after the switch's own tagging, and it does not say which.
pub(super) fn rebuild(
    ethernet: Option<&SampledEthernet>,
    ip: Option<&SampledIp>,
    out: &mut Vec<u8>,
) -> Option<Rebuilt> {
    let rebuilt = match (ethernet, ip) {
        (Some(ethernet), _) => {
            out.extend_from_slice(&ethernet.destination);
            out.extend_from_slice(&ethernet.source);
            out.extend_from_slice(&low_u16(ethernet.ethertype).to_be_bytes());
            Rebuilt {
                link_type: LinkType::ETHERNET,
                len: ethernet.length.saturating_sub(FCS),
            }
        }
        (None, Some(ip)) if ip.source.is_ipv4() => Rebuilt {
            link_type: LinkType::IPV4,
            len: ip.length,
        },
        (None, Some(ip)) => Rebuilt {
            link_type: LinkType::IPV6,
            len: ip.length,
        },
        (None, None) => return None,
    };
    if let Some(ip) = ip {
        ip_header(ip, out);
        transport_header(ip, out);
    }
    Some(rebuilt)
}

fn ip_header(ip: &SampledIp, out: &mut Vec<u8>) {
    let [.., protocol] = ip.protocol.to_be_bytes();
    let [.., class] = ip.traffic_class.to_be_bytes();
    match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x45, class]);
            out.extend_from_slice(&length_u16(ip.length).to_be_bytes());
            out.extend_from_slice(&[0, 0, 0, 0, 0, protocol, 0, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            out.extend_from_slice(&(0x6000_0000 | u32::from(class) << 20).to_be_bytes());
            out.extend_from_slice(&length_u16(ip.length.saturating_sub(40)).to_be_bytes());
            out.extend_from_slice(&[protocol, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        _ => debug_assert!(false, "both addresses of a record are of one family"),
    }
}

fn transport_header(ip: &SampledIp, out: &mut Vec<u8>) {
    let [.., protocol] = ip.protocol.to_be_bytes();
    let (source, destination) = (low_u16(ip.source_port), low_u16(ip.destination_port));
    let ports = |out: &mut Vec<u8>| {
        out.extend_from_slice(&source.to_be_bytes());
        out.extend_from_slice(&destination.to_be_bytes());
    };
    match protocol {
        TCP => {
            let [.., flags] = ip.tcp_flags.to_be_bytes();
            ports(out);
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&[0x50, flags, 0, 0, 0, 0, 0, 0]);
        }
        UDP => {
            let before = if ip.source.is_ipv4() { 20 } else { 40 };
            ports(out);
            out.extend_from_slice(&length_u16(ip.length.saturating_sub(before)).to_be_bytes());
            out.extend_from_slice(&[0; 2]);
        }
        SCTP => {
            ports(out);
            out.extend_from_slice(&[0; 8]);
        }
        // The "equivalents" of ports that agents send for ICMP are its type and code.
        ICMP | ICMP_V6 => {
            let ([_, kind], [_, code]) = (source.to_be_bytes(), destination.to_be_bytes());
            out.extend_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
        }
        _ => {}
    }
}

fn low_u16(word: u32) -> u16 {
    let [_, _, high, low] = word.to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn length_u16(length: u32) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(source: &str, destination: &str) -> SampledIp {
        SampledIp {
            length: 1500,
            protocol: 6,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            source_port: 443,
            destination_port: 50_000,
            tcp_flags: 0x12,
            traffic_class: 0xb8,
        }
    }

    #[test]
    fn ipv4_and_tcp() {
        let mut out = Vec::new();
        let rebuilt = rebuild(None, Some(&tcp("10.0.0.1", "10.0.0.2")), &mut out);
        assert_eq!(
            rebuilt,
            Some(Rebuilt {
                link_type: LinkType::IPV4,
                len: 1500
            })
        );
        assert_eq!(out[..12], [0x45, 0xb8, 5, 220, 0, 0, 0, 0, 0, 6, 0, 0]);
        assert_eq!(out[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(out[20..24], [1, 187, 0xc3, 0x50]);
        assert_eq!((out[32], out[33], out.len()), (0x50, 0x12, 40));
    }

    #[test]
    fn ipv6_behind_ethernet() {
        let ethernet = SampledEthernet {
            length: 1518,
            source: [2, 0, 0, 0, 0, 1],
            destination: [2, 0, 0, 0, 0, 2],
            ethertype: 0x86dd,
        };
        let mut out = vec![0xee];
        let rebuilt = rebuild(
            Some(&ethernet),
            Some(&tcp("2001:db8::1", "2001:db8::2")),
            &mut out,
        );
        assert_eq!(
            rebuilt,
            Some(Rebuilt {
                link_type: LinkType::ETHERNET,
                len: 1514
            })
        );
        assert_eq!(out[1..7], ethernet.destination);
        assert_eq!(out[13..19], [0x86, 0xdd, 0x6b, 0x80, 0, 0]);
        assert_eq!(out[19..23], [5, 180, 6, 0]);
        assert_eq!(out.len(), 1 + 14 + 40 + 20);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(rebuild(None, None, &mut Vec::new()), None);
    }
}

//! Community ID v1 (github.com/corelight/community-id-spec): one name for a flow in many tools.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::flow::{Flow, IcmpType};

/// The Community ID of `flow`, seed 0, or `None` if it has no IP layer.
#[must_use]
pub fn of_flow(flow: &Flow) -> Option<String> {
    let network = flow.network.as_ref()?;
    match (&flow.transport, &flow.icmp) {
        (Some(t), _) => Some(compute(
            network.a,
            network.b,
            t.protocol.number(),
            Some((t.a, t.b)),
        )),
        (None, Some(icmp)) => {
            let v4 = network.a.is_ipv4();
            let protocol = if v4 { 1 } else { 58 };
            let ports = icmp_ports(icmp.kind, icmp.code, v4);
            Some(compute(network.a, network.b, protocol, ports))
        }
        (None, None) => None,
    }
}

/// The spec's stand-ins for ports: an ICMP message's type and that of its counterpart. `None` for a
/// kind whose type number our flow does not keep.
fn icmp_ports(kind: IcmpType, code: u8, v4: bool) -> Option<(u16, u16)> {
    let one_way = |kind: u16| Some((kind, u16::from(code)));
    match (kind, v4) {
        (IcmpType::Echo, true) => Some((8, 0)),
        (IcmpType::Echo, false) => Some((128, 129)),
        (IcmpType::Neighbor, _) => Some((135, 136)),
        (IcmpType::Router, true) => Some((10, 9)),
        (IcmpType::Router, false) => Some((133, 134)),
        (IcmpType::Timestamp, _) => Some((13, 14)),
        (IcmpType::Info, _) => Some((15, 16)),
        (IcmpType::AddressMask, _) => Some((17, 18)),
        (IcmpType::DestinationUnreachable, true) => one_way(3),
        (IcmpType::DestinationUnreachable, false) => one_way(1),
        (IcmpType::PacketTooBig, _) => one_way(2),
        (IcmpType::TimeExceeded, true) => one_way(11),
        (IcmpType::TimeExceeded, false) => one_way(3),
        (IcmpType::ParameterProblem, true) => one_way(12),
        (IcmpType::ParameterProblem, false) => one_way(4),
        (IcmpType::Redirect, true) => one_way(5),
        (IcmpType::Redirect, false) => one_way(137),
        (IcmpType::SourceQuench, _) => one_way(4),
        (IcmpType::Unknown, _) => None,
    }
}

/// Computes the Community ID of one pair of endpoints.
#[must_use]
pub fn compute(a: IpAddr, b: IpAddr, protocol: u8, ports: Option<(u16, u16)>) -> String {
    let one_way_icmp = matches!(protocol, 1 | 58) && ports.is_some_and(|(t, c)| !is_two_way(protocol, t, c));
    let (port_a, port_b) = ports.unwrap_or((0, 0));
    let forward = one_way_icmp || (a, port_a) <= (b, port_b);
    let ((a, port_a), (b, port_b)) = if forward {
        ((a, port_a), (b, port_b))
    } else {
        ((b, port_b), (a, port_a))
    };
    let mut hash = Sha1::new();
    hash.update(0u16.to_be_bytes());
    for address in [a, b] {
        match address {
            IpAddr::V4(v4) => hash.update(v4.octets()),
            IpAddr::V6(v6) => hash.update(v6.octets()),
        }
    }
    hash.update([protocol, 0]);
    if ports.is_some() {
        hash.update(port_a.to_be_bytes());
        hash.update(port_b.to_be_bytes());
    }
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

fn is_two_way(protocol: u8, kind: u16, counterpart: u16) -> bool {
    let pairs: &[(u16, u16)] = if protocol == 1 {
        &[
            (8, 0),
            (0, 8),
            (13, 14),
            (14, 13),
            (15, 16),
            (16, 15),
            (10, 9),
            (9, 10),
            (17, 18),
            (18, 17),
        ]
    } else {
        &[
            (128, 129),
            (129, 128),
            (133, 134),
            (134, 133),
            (135, 136),
            (136, 135),
        ]
    };
    pairs.contains(&(kind, counterpart))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specs_tcp_sample() {
        let id = compute(
            IpAddr::from([128, 232, 110, 120]),
            IpAddr::from([66, 35, 250, 204]),
            6,
            Some((34855, 80)),
        );
        assert_eq!(id, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
    }
}

//! Community ID v1 (github.com/corelight/community-id-spec): one name for a flow in many tools.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::flow::Flow;

/// The Community ID of `flow`, seed 0, or `None` if it has no IP layer.
#[must_use]
pub fn of_flow(flow: &Flow) -> Option<String> {
    let network = flow.network.as_ref()?;
    let (protocol, ports, one_way) = match (&flow.transport, &flow.icmp) {
        (Some(t), _) => (t.protocol.number(), (t.a, t.b), false),
        (None, Some(icmp)) => {
            let v4 = network.a.is_ipv4();
            let (ports, one_way) = icmp_ports(icmp.number, icmp.code, v4);
            (if v4 { 1 } else { 58 }, ports, one_way)
        }
        (None, None) => return None,
    };
    Some(compute(network.a, network.b, protocol, ports, one_way))
}

/// ICMP's messages that have an answer, and the answers (RFC 792, RFC 950, RFC 1256).
const ICMP_PAIRS: &[(u8, u8)] = &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)];
/// The same of ICMPv6 (RFC 4443, RFC 2710, RFC 4861, RFC 4620, RFC 6275).
const ICMPV6_PAIRS: &[(u8, u8)] = &[
    (128, 129),
    (130, 131),
    (133, 134),
    (135, 136),
    (139, 140),
    (144, 145),
];

/// The spec's stand-ins for ports: an ICMP message's type and that of its counterpart, or the code of one that has
/// none; and whether it is such a one.
fn icmp_ports(number: u8, code: u8, v4: bool) -> ((u16, u16), bool) {
    let pairs = if v4 { ICMP_PAIRS } else { ICMPV6_PAIRS };
    let counterpart = pairs.iter().find_map(|(request, answer)| {
        if number == *request {
            Some(*answer)
        } else {
            (number == *answer).then_some(*request)
        }
    });
    let ports = (number.into(), counterpart.unwrap_or(code).into());
    (ports, counterpart.is_none())
}

/// Computes the Community ID of a pair of endpoints, which stay in this order if nothing comes back (`one_way`).
fn compute(a: IpAddr, b: IpAddr, protocol: u8, (port_a, port_b): (u16, u16), one_way: bool) -> String {
    let forward = one_way || (a, port_a) <= (b, port_b);
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
    hash.update(port_a.to_be_bytes());
    hash.update(port_b.to_be_bytes());
    format!("1:{}", STANDARD.encode(hash.finalize()))
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
            (34855, 80),
            false,
        );
        assert_eq!(id, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
    }

    /// As Wireshark 4.0 has them: a message of each type, from either end.
    #[test]
    fn icmp_from_either_end() {
        for line in ICMP_OF_WIRESHARK.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let &[a, b, number, code, id] = fields.as_slice() else {
                panic!("{line}")
            };
            let ends: [IpAddr; 2] = [a, b].map(|text| text.parse().unwrap());
            let [number, code]: [u8; 2] = [number, code].map(|text| text.parse().unwrap());
            let v4 = ends[0].is_ipv4();
            let (ports, one_way) = icmp_ports(number, code, v4);
            let found = compute(ends[0], ends[1], if v4 { 1 } else { 58 }, ports, one_way);
            assert_eq!(found, id, "{line}");
        }
    }

    /// Source, destination, type, code, Community ID.
    const ICMP_OF_WIRESHARK: &str = "\
10.8.1.1 10.8.1.2 0 0 1:IwDZsY+XNVM8om0wGhVW6jUSUHY=
10.8.2.2 10.8.2.1 0 0 1:Ff3TcgJUTRZJ5OlC5Y1G1/3EL/U=
10.8.3.1 10.8.3.2 3 1 1:m/YSfHuWdL5xsGShDJcSoa+CaXA=
10.8.4.2 10.8.4.1 3 1 1:lRNcehsL89s4tIWoqKsqyaf8rCk=
10.8.5.1 10.8.5.2 4 0 1:K93nqckTKuYpVTieJeaEsjBFQVU=
10.8.7.1 10.8.7.2 5 1 1:BlsBbLbSv3eV6tOVjJP3PojAwBs=
10.8.9.1 10.8.9.2 8 0 1:Mi22FKbNSSNVerMdz8dXg48JjXU=
10.8.10.2 10.8.10.1 8 0 1:m9T3BFbn02t3b/30tLXav+tjBBc=
10.8.11.1 10.8.11.2 9 0 1:9sQ667T2+3GqFPVrdYohBiTLrC8=
10.8.13.1 10.8.13.2 10 0 1:llC2mYp4TX4uKVEiaoIidq6yVtM=
10.8.15.1 10.8.15.2 11 1 1:J2Mf2kHHy3Y+2BbbhwP5JvUQsns=
10.8.17.1 10.8.17.2 12 0 1:uOSXhzKNceCM54RuvmfoWTMBvNk=
10.8.19.1 10.8.19.2 13 0 1:Owge/ThL6p0szA8MLI73j782sTQ=
10.8.21.1 10.8.21.2 14 0 1:QncxSuobCHCGUQTQKFVU/PuWMrY=
10.8.23.1 10.8.23.2 15 0 1:FAl+gv+x452aQ0XkpdG6j/Odgn0=
10.8.25.1 10.8.25.2 16 0 1:BQthvLoSeVLqTtHeCOtAirIJATk=
10.8.27.1 10.8.27.2 17 0 1:/h2pORz9P0x06fr3g1czyRP91B0=
10.8.29.1 10.8.29.2 18 0 1:VwALnnhkVQlDmPEq0ER9K2fOzfM=
10.8.31.1 10.8.31.2 40 0 1:jZs2/VDh63GiIL1qxuC9DE0HiVw=
2001:db8:21::1 2001:db8:21::2 1 1 1:7fpd54L6+fH1oxkuSjVFpmkQrMk=
2001:db8:23::1 2001:db8:23::2 2 0 1:HMSWV4Dxd8PFR580d5j4obyfa30=
2001:db8:25::1 2001:db8:25::2 3 1 1:VEsVnNkxCSlWIENmVJ0wlftqt/0=
2001:db8:27::1 2001:db8:27::2 4 1 1:Ek/6T1JRcEXFOi/oLCOVXL2To4I=
2001:db8:29::1 2001:db8:29::2 128 0 1:YjWT2v0ETfJMeJVM8Cq76hmp3wI=
2001:db8:2a::2 2001:db8:2a::1 128 0 1:T59VrpNcUUrbn4THJXUc1dVq3d8=
2001:db8:2b::1 2001:db8:2b::2 129 0 1:fh7FJ236fGkmW4kirDuFyUjWDCw=
2001:db8:2c::2 2001:db8:2c::1 129 0 1:x6JRl1zel/h0rsuHujNrk+GBSpw=
2001:db8:2d::1 2001:db8:2d::2 130 0 1:IOv8F7e5TITAfS+dK84cKE837W4=
2001:db8:2f::1 2001:db8:2f::2 131 0 1:n0C/myqiyba716ugemIdgQQhaPg=
2001:db8:31::1 2001:db8:31::2 132 0 1:7Pk9CPsYLLcgeZMP92IDrrh6xtM=
2001:db8:37::1 2001:db8:37::2 135 0 1:WTK/6zbRP5Ciwjl7IjpQZXAvra4=
2001:db8:38::2 2001:db8:38::1 135 0 1:BIDzxmycaZA4UwqT7zqDldhDteI=
2001:db8:39::1 2001:db8:39::2 136 0 1:dWBFe/zfIZaR+Lhz/YR0jYvmKIs=
2001:db8:3f::1 2001:db8:3f::2 140 0 1:RK3FQTjljNlrmPhVj0+QsSGAWGE=
2001:db8:45::1 2001:db8:45::2 144 0 1:onKPuXZG5JVz0uvv/QS1e3FKvzI=
2001:db8:47::1 2001:db8:47::2 145 0 1:5FPZ46sFvEQ1JWhxXB9sN71AAmw=
2001:db8:49::1 2001:db8:49::2 200 0 1:aCqJuq/S+WCEQpilRgwdnz8WfWI=";
}

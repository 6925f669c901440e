//! The packets that nearly all are: TCP or UDP in IPv4 or IPv6 in Ethernet, with one VLAN tag at most, no
//! option, no extension, no fragment and no tunnel, and nothing cut off before the payload.
//!
//! [`Walk`](super::Walk) reads these as it reads everything, layer by layer, at three times the cost.
//! What stands here must give the same part; a property test holds the two equal. Whatever it does
//! not recognise at once it leaves to the walk.

use super::link::{IPV4, IPV6, is_vlan};
use super::part::{Part, Probe, TcpSegment};
use super::transport::number;
use super::{DecodeOptions, application, tunnel};
use crate::flow::MacAddr;
use crate::key::FlowKey;
use crate::layers::{Layer, LayersPath};
use crate::packet::{LinkType, Packet};
use crate::point::LayerKeyMode;

/// Where the network layer begins, if there is no tag.
const NETWORK: usize = 14;
const TAG: usize = 4;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;

const UNTAGGED: LayersPath = LayersPath::of(&[Layer::Ethernet]);
const TAGGED: LayersPath = LayersPath::of(&[Layer::Ethernet, Layer::Dot1Q]);

fn u16_of(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_of(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The eight bytes from there.
fn u64_of(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(word)
}

fn u128_of(bytes: &[u8], at: usize) -> u128 {
    let mut word = [0; 16];
    word.copy_from_slice(&bytes[at..at + 16]);
    u128::from_be_bytes(word)
}

fn mac_of(bytes: &[u8], at: usize) -> MacAddr {
    let mut mac = [0; 6];
    mac.copy_from_slice(&bytes[at..at + 6]);
    MacAddr(mac)
}

/// What an IP header says.
struct Network {
    /// Bytes of the header itself, and how many it says stand behind it.
    header_len: usize,
    payload_len: usize,
    /// Source and destination.
    addresses: Addresses,
    protocol: u8,
    ttl: u8,
    layer: Layer,
}

enum Addresses {
    V4(u32, u32),
    V6(u128, u128),
}

/// What stands behind the ports.
struct Transport {
    application: Option<Layer>,
    /// Where the payload begins.
    payload: usize,
    probe: Probe,
    tcp: TcpSegment,
}

/// Appends the part of a packet over IPv4 without a tag; false if it is none, and nothing was done.
#[inline(always)]
pub(super) fn decode(
    packet: &Packet<'_>,
    index: u16,
    options: &DecodeOptions,
    parts: &mut Vec<Part>,
) -> bool {
    let Some(head) = packet
        .data
        .first_chunk::<{ NETWORK + IPV4_HEADER + UDP_HEADER }>()
    else {
        return false;
    };
    if packet.link_type != LinkType::ETHERNET || u16_of(head, 12) != IPV4 {
        return false;
    }
    let (_, ip) = head.split_at(NETWORK);
    over_ipv4(packet, index, options, ip, None, parts)
}

/// The same with a tag, over IPv6, or both.
#[inline(never)]
pub(super) fn decode_rarer(
    packet: &Packet<'_>,
    index: u16,
    options: &DecodeOptions,
    parts: &mut Vec<Part>,
) -> bool {
    let data = packet.data;
    let Some(head) = data.first_chunk::<{ NETWORK + TAG }>() else {
        return false;
    };
    if packet.link_type != LinkType::ETHERNET {
        return false;
    }
    let ether_type = u16_of(head, 12);
    let (ether_type, vlan) = if is_vlan(ether_type) {
        (u16_of(head, 16), Some(u16_of(head, 14) & 0xfff))
    } else {
        (ether_type, None)
    };
    let ip = &data[begin_of_network(vlan)..];
    match ether_type {
        IPV4 if ip.len() >= IPV4_HEADER + UDP_HEADER => over_ipv4(packet, index, options, ip, vlan, parts),
        IPV6 if ip.len() >= IPV6_HEADER + UDP_HEADER => over_ipv6(packet, index, options, ip, vlan, parts),
        _ => false,
    }
}

/// Where the network layer begins.
#[inline(always)]
fn begin_of_network(vlan: Option<u16>) -> usize {
    if vlan.is_some() { NETWORK + TAG } else { NETWORK }
}

/// `ip` is what the network layer begins with, at least as far as UDP's header goes.
#[inline(always)]
fn over_ipv4(
    packet: &Packet<'_>,
    index: u16,
    options: &DecodeOptions,
    ip: &[u8],
    vlan: Option<u16>,
    parts: &mut Vec<Part>,
) -> bool {
    let total_len = usize::from(u16_of(ip, 2));
    // More fragments, or an offset.
    let is_fragment = u16_of(ip, 6) & 0x3fff != 0;
    if ip[0] != 0x45 || is_fragment || total_len < IPV4_HEADER + UDP_HEADER {
        return false;
    }
    let network = Network {
        header_len: IPV4_HEADER,
        payload_len: total_len - IPV4_HEADER,
        addresses: Addresses::V4(u32_of(ip, 12), u32_of(ip, 16)),
        protocol: ip[9],
        ttl: ip[8],
        layer: Layer::Ipv4,
    };
    over_ip(packet, index, options, ip, vlan, &network, parts)
}

/// As [`over_ipv4`].
fn over_ipv6(
    packet: &Packet<'_>,
    index: u16,
    options: &DecodeOptions,
    ip: &[u8],
    vlan: Option<u16>,
    parts: &mut Vec<Part>,
) -> bool {
    let payload_len = usize::from(u16_of(ip, 4));
    if ip[0] >> 4 != 6 || payload_len < UDP_HEADER {
        return false;
    }
    let network = Network {
        header_len: IPV6_HEADER,
        payload_len,
        addresses: Addresses::V6(u128_of(ip, 8), u128_of(ip, 24)),
        protocol: ip[6],
        ttl: ip[7],
        layer: Layer::Ipv6,
    };
    over_ip(packet, index, options, ip, vlan, &network, parts)
}

fn macs_in_key(options: &DecodeOptions) -> bool {
    options.layer_key_mode == LayerKeyMode::L2
}

/// What both versions of IP have in common.
#[inline(always)]
fn over_ip(
    packet: &Packet<'_>,
    index: u16,
    options: &DecodeOptions,
    ip: &[u8],
    vlan: Option<u16>,
    network: &Network,
    parts: &mut Vec<Part>,
) -> bool {
    let at = begin_of_network(vlan) + network.header_len;
    // Padding behind the IP packet is no payload.
    let end = packet.data.len().min(at + network.payload_len);
    let ports = (u16_of(ip, network.header_len), u16_of(ip, network.header_len + 2));
    let Some((layer, transport)) = transport(packet, network.protocol, at, end, ports, options) else {
        return false;
    };
    let mut path = if vlan.is_some() { TAGGED } else { UNTAGGED };
    path.push(network.layer);
    path.push(layer);
    if let Some(layer) = transport.application {
        path.push(layer);
    }
    let (key, swapped) = key(packet.data, options, network, ports);
    // As a whole, where it stays: a part is too long to be moved. What nearly none has is set afterwards.
    parts.push(Part {
        key,
        packet: index,
        level: 0,
        swapped,
        reassembled: false,
        path,
        macs: None,
        vlan: vlan.unwrap_or_default().into(),
        tunnel_id: 0,
        tunnel_source_port: 0,
        len: packet.len,
        offset: 0,
        link_type: LinkType::ETHERNET,
        ttl: network.ttl,
        icmp_type: 0,
        probe: transport.probe,
        tcp: transport.tcp,
        payload: (low_32(transport.payload), low_32(end)),
        fragment: None,
    });
    if !macs_in_key(options)
        && let Some(part) = parts.last_mut()
    {
        part.macs = Some((mac_of(packet.data, 6), mac_of(packet.data, 0)));
    }
    true
}

/// The key, and whether it has the packet's ends the other way round; `macs` is what the packet begins with.
#[inline(always)]
fn key(macs: &[u8], options: &DecodeOptions, network: &Network, ports: (u16, u16)) -> (FlowKey, bool) {
    let (source, destination) = match network.addresses {
        // In registers, for most packets come here.
        Addresses::V4(source, destination) => {
            let macs = macs_in_key(options).then(|| (u64_of(macs, 6), u64_of(macs, 0)));
            let addresses = (source, destination);
            return FlowKey::of_ports_over_ipv4(options.point, macs, addresses, network.protocol, ports);
        }
        Addresses::V6(source, destination) => (source, destination),
    };
    let mut key = FlowKey::new(options.point);
    key.set_ipv6(source, destination);
    key.set_ports(network.protocol, ports.0, ports.1);
    if macs_in_key(options) {
        key.set_macs(mac_of(macs, 6), mac_of(macs, 0));
    }
    let swapped = key.canonicalize(false);
    (key, swapped)
}

/// What begins at `at`, with the layer's name; `None` if it is neither TCP nor UDP, or out of the ordinary.
#[inline(always)]
fn transport(
    packet: &Packet<'_>,
    protocol: u8,
    at: usize,
    end: usize,
    ports: (u16, u16),
    options: &DecodeOptions,
) -> Option<(Layer, Transport)> {
    match protocol {
        number::TCP => Some((Layer::Tcp, tcp(packet, at, end, ports)?)),
        number::UDP => Some((Layer::Udp, udp(packet.data, at, end, ports, options)?)),
        _ => None,
    }
}

#[inline(always)]
fn tcp(packet: &Packet<'_>, at: usize, end: usize, ports: (u16, u16)) -> Option<Transport> {
    let segment = packet.data.get(at..end)?;
    let header = segment.first_chunk::<TCP_HEADER>()?;
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < TCP_HEADER || segment.len() < header_len {
        return None;
    }
    let payload = at + header_len;
    // Where the capture was cut, the length on the wire tells of the payload.
    let captured_all = end < packet.data.len() || packet.len as usize <= packet.data.len();
    let wire_end = if captured_all { end } else { packet.len as usize };
    Some(Transport {
        application: application::of_tcp(ports, &segment[header_len..]),
        payload,
        probe: Probe::None,
        tcp: TcpSegment {
            present: true,
            flags: header[13],
            sequence: u32_of(header, 4),
            payload_len: low_32(wire_end.saturating_sub(payload)),
        },
    })
}

#[inline(always)]
fn udp(data: &[u8], at: usize, end: usize, ports: (u16, u16), options: &DecodeOptions) -> Option<Transport> {
    if tunnel::is_tunnel_port(ports, options) {
        return None;
    }
    let payload = at + UDP_HEADER;
    let (application, probe) = application::of_udp(ports, data.get(payload..end)?);
    Some(Transport {
        application,
        payload,
        probe,
        tcp: TcpSegment::default(),
    })
}

fn low_32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{DecodeOptions, walk};
    use super::*;
    use crate::timestamp::Timestamp;

    /// Ports that mean something, and one that does not.
    const PORTS: [u16; 12] = [53, 67, 68, 123, 546, 4789, 6081, 6343, 6635, 8472, 51234, 40000];
    /// First bytes of payloads that are borne out, and none.
    const PAYLOADS: [&[u8]; 6] = [
        b"",
        &[0, 30, 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'w', b'w'],
        &[
            1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
        &[22, 3, 1, 0, 200, 1, 0, 0],
        &[8, 0, 0, 0, 0, 0, 7, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0],
        &[0, 0, 0, 5, 0, 0, 0, 1],
    ];

    prop_compose! {
        fn frame()(
            macs in prop::array::uniform12(0u8..3),
            addresses in prop::array::uniform8(0u8..3),
            ports in (prop::sample::select(PORTS.to_vec()), prop::sample::select(PORTS.to_vec())),
            tags in prop::sample::select(vec![&[][..], &[], &[0x8100], &[0x88a8], &[0x8100, 0x8100]]),
            is_ipv6: bool,
            is_tcp: bool,
            offset in 4u8..8,
            flags: u8,
            fragment in prop::sample::select(vec![0u16, 0, 0, 0x4000, 0x2000, 3]),
            payload in prop::sample::select(PAYLOADS.to_vec()),
            more_len in prop::sample::select(vec![0i32, 0, 0, -1, -12, -40, 5, 2000]),
            padding in 0usize..8,
        ) -> Vec<u8> {
            let mut frame = macs.to_vec();
            for tag in tags {
                frame.extend(u16::to_be_bytes(*tag));
                frame.extend([0x20, 100]);
            }
            frame.extend(if is_ipv6 { IPV6 } else { IPV4 }.to_be_bytes());
            let transport = if is_tcp { usize::from(offset) * 4 } else { 8 };
            let behind = i32::try_from(transport + payload.len()).unwrap() + more_len;
            let length = |len: i32| u16::try_from(len.max(0)).unwrap().to_be_bytes();
            let protocol = if is_tcp { 6 } else { 17 };
            if is_ipv6 {
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(length(behind));
                // A fragment's header comes first, or none.
                frame.extend([if fragment == 3 { 44 } else { protocol }, 64]);
                frame.extend([[0xfd; 12], [0; 12]].iter().zip(addresses.chunks(4)).flat_map(|(a, b)| [a, b].concat()));
            } else {
                frame.extend([0x45, 0]);
                frame.extend(length(20 + behind));
                frame.extend([0, 1]);
                frame.extend(fragment.to_be_bytes());
                frame.extend([64, protocol, 0, 0]);
                frame.extend(addresses);
            }
            frame.extend(ports.0.to_be_bytes());
            frame.extend(ports.1.to_be_bytes());
            let mut rest = vec![0; transport.saturating_sub(4)];
            if is_tcp {
                rest[8] = offset << 4;
                rest[9] = flags;
            }
            frame.extend(rest);
            frame.extend(payload);
            frame.extend(vec![0; padding]);
            frame
        }
    }

    fn options(mode: LayerKeyMode) -> DecodeOptions {
        DecodeOptions::new(7, mode)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn gives_what_the_walk_gives(
            frame in frame(),
            cut in prop::sample::select(vec![0usize, 0, 0, 1, 5, 20, 60]),
            more_on_wire in prop::sample::select(vec![0u32, 0, 9, 1400]),
            changed in prop::option::of((0usize..60, any::<u8>())),
            l2: bool,
        ) {
            let mut frame = frame;
            if let Some((at, byte)) = changed
                && let Some(place) = frame.get_mut(at)
            {
                *place = byte;
            }
            let data = &frame[..frame.len().saturating_sub(cut)];
            let len = u32::try_from(data.len()).unwrap() + more_on_wire;
            let packet = Packet::new(Timestamp::ZERO, len, LinkType::ETHERNET, data);
            let options = options(if l2 { LayerKeyMode::L2 } else { LayerKeyMode::L3 });
            let (mut plain, mut walked) = (Vec::new(), Vec::new());
            if decode(&packet, 3, &options, &mut plain) || decode_rarer(&packet, 3, &options, &mut plain) {
                walk(&packet, 3, &options, &mut walked);
                prop_assert_eq!(format!("{plain:?}"), format!("{walked:?}"));
            } else {
                prop_assert!(plain.is_empty());
            }
        }
    }

    #[test]
    fn takes_ordinary_packets() {
        let ipv4: &[u8] = &[0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let mut ipv6 = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        ipv6.extend([1; 32]);
        for (between, ip, path) in [
            (&[8, 0][..], ipv4, "Ethernet/IPv4/UDP"),
            (&[0x81, 0, 0x20, 100, 8, 0], ipv4, "Ethernet/Dot1Q/IPv4/UDP"),
            (&[0x86, 0xdd], &ipv6, "Ethernet/IPv6/UDP"),
            (
                &[0x81, 0, 0x20, 100, 0x86, 0xdd],
                &ipv6,
                "Ethernet/Dot1Q/IPv6/UDP",
            ),
        ] {
            let udp = [0x9c, 0x40, 0x9c, 0x41, 0, 8, 0, 0];
            let frame = [&[2; 12][..], between, ip, &udp].concat();
            let len = u32::try_from(frame.len()).unwrap();
            let packet = Packet::new(Timestamp::ZERO, len, LinkType::ETHERNET, &frame);
            let (mut parts, options) = (Vec::new(), options(LayerKeyMode::L2));
            assert!(
                decode(&packet, 0, &options, &mut parts) || decode_rarer(&packet, 0, &options, &mut parts)
            );
            assert_eq!(parts[0].path.text(), path);
            assert_eq!(parts[0].ports(), Some((40000, 40001)));
        }
    }
}

//! The packets that nearly all are: TCP or UDP in IPv4 in Ethernet, with no tag, no option, no fragment
//! and no tunnel, and nothing cut off before the payload.
//!
//! [`Walk`](super::Walk) reads these as it reads everything, layer by layer, at three times the cost.
//! What stands here must give the same part; a property test holds the two equal. Whatever it does
//! not recognise at once it leaves to the walk.

use super::link::IPV4;
use super::part::{Part, Probe, TcpSegment};
use super::transport::number;
use super::{DecodeOptions, application, tunnel};
use crate::flow::MacAddr;
use crate::key::FlowKey;
use crate::layers::{Layer, LayersPath};
use crate::packet::{LinkType, Packet};
use crate::point::LayerKeyMode;

/// Where the IPv4 header begins.
const NETWORK: usize = 14;
/// Where TCP or UDP begins: behind an IPv4 header of twenty bytes.
const TRANSPORT: usize = NETWORK + 20;
/// The headers up to the end of UDP's, the shortest.
const HEADERS: usize = TRANSPORT + 8;
const TCP_HEADER: usize = 20;

const TCP: LayersPath = LayersPath::of(&[Layer::Ethernet, Layer::Ipv4, Layer::Tcp]);
const UDP: LayersPath = LayersPath::of(&[Layer::Ethernet, Layer::Ipv4, Layer::Udp]);

fn u16_of(head: &[u8; HEADERS], at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}

fn u32_of(head: &[u8; HEADERS], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// The eight bytes from there.
fn u64_of(head: &[u8; HEADERS], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_be_bytes(word)
}

fn mac_of(head: &[u8; HEADERS], at: usize) -> MacAddr {
    let mut mac = [0; 6];
    mac.copy_from_slice(&head[at..at + 6]);
    MacAddr(mac)
}

/// What stands behind the ports.
struct Transport {
    application: Option<Layer>,
    /// Where the payload begins.
    payload: usize,
    probe: Probe,
    tcp: TcpSegment,
}

/// Appends the part of such a packet; false if it is none, and nothing was done.
#[inline(always)]
pub(super) fn decode(
    packet: &Packet<'_>,
    index: u16,
    options: &DecodeOptions,
    parts: &mut Vec<Part>,
) -> bool {
    let data = packet.data;
    let Some(head) = data.first_chunk::<HEADERS>() else {
        return false;
    };
    let total_len = usize::from(u16_of(head, NETWORK + 2));
    let is_plain = packet.link_type == LinkType::ETHERNET
        && u16_of(head, 12) == IPV4
        && head[NETWORK] == 0x45
        // More fragments, or an offset.
        && u16_of(head, NETWORK + 6) & 0x3fff == 0
        && total_len >= HEADERS - NETWORK;
    if !is_plain {
        return false;
    }
    // Padding behind the IP packet is no payload.
    let end = data.len().min(NETWORK + total_len);
    let ports = (u16_of(head, TRANSPORT), u16_of(head, TRANSPORT + 2));
    let protocol = head[NETWORK + 9];
    let (path, transport) = match protocol {
        number::TCP => (TCP, tcp(packet, head, end, ports)),
        number::UDP => (UDP, udp(data, end, ports, options)),
        _ => return false,
    };
    let Some(transport) = transport else {
        return false;
    };

    let macs_in_key = options.layer_key_mode == LayerKeyMode::L2;
    let (key, swapped) = FlowKey::of_ports_over_ipv4(
        options.point,
        macs_in_key.then(|| (u64_of(head, 6), u64_of(head, 0))),
        (u32_of(head, NETWORK + 12), u32_of(head, NETWORK + 16)),
        protocol,
        ports,
    );
    // As a whole, where it stays: a part is too long to be moved. What nearly none has is set afterwards.
    parts.push(Part {
        key,
        packet: index,
        level: 0,
        swapped,
        reassembled: false,
        path: extended(path, transport.application),
        macs: None,
        vlan: 0,
        tunnel_id: 0,
        tunnel_source_port: 0,
        len: packet.len,
        offset: 0,
        link_type: LinkType::ETHERNET,
        ttl: head[NETWORK + 8],
        probe: transport.probe,
        tcp: transport.tcp,
        payload: (low_32(transport.payload), low_32(end)),
        fragment: None,
    });
    if !macs_in_key && let Some(part) = parts.last_mut() {
        part.macs = Some((mac_of(head, 6), mac_of(head, 0)));
    }
    true
}

#[inline(always)]
fn tcp(packet: &Packet<'_>, head: &[u8; HEADERS], end: usize, ports: (u16, u16)) -> Option<Transport> {
    let segment = packet.data.get(TRANSPORT..end)?;
    let (offset, flags) = (segment.get(12)?, segment.get(13)?);
    let header_len = usize::from(offset >> 4) * 4;
    if header_len < TCP_HEADER || segment.len() < header_len {
        return None;
    }
    let payload = TRANSPORT + header_len;
    // Where the capture was cut, the length on the wire tells of the payload.
    let captured_all = end < packet.data.len() || packet.len as usize <= packet.data.len();
    let wire_end = if captured_all { end } else { packet.len as usize };
    Some(Transport {
        application: application::of_tcp(ports, &segment[header_len..]),
        payload,
        probe: Probe::None,
        tcp: TcpSegment {
            present: true,
            flags: *flags,
            sequence: u32_of(head, TRANSPORT + 4),
            payload_len: low_32(wire_end.saturating_sub(payload)),
        },
    })
}

#[inline(always)]
fn udp(data: &[u8], end: usize, ports: (u16, u16), options: &DecodeOptions) -> Option<Transport> {
    if tunnel::is_tunnel_port(ports, options) {
        return None;
    }
    let (application, probe) = application::of_udp(ports, data.get(HEADERS..end)?);
    Some(Transport {
        application,
        payload: HEADERS,
        probe,
        tcp: TcpSegment::default(),
    })
}

#[inline(always)]
fn extended(mut path: LayersPath, application: Option<Layer>) -> LayersPath {
    if let Some(layer) = application {
        path.push(layer);
    }
    path
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
            is_tcp: bool,
            offset in 4u8..8,
            flags: u8,
            fragment in prop::sample::select(vec![0u16, 0, 0, 0x4000, 0x2000, 3]),
            payload in prop::sample::select(PAYLOADS.to_vec()),
            more_len in prop::sample::select(vec![0i32, 0, 0, -1, -12, -40, 5, 2000]),
            padding in 0usize..8,
        ) -> Vec<u8> {
            let mut frame = macs.to_vec();
            frame.extend(IPV4.to_be_bytes());
            let transport = if is_tcp { usize::from(offset) * 4 } else { 8 };
            let total = i32::try_from(20 + transport + payload.len()).unwrap() + more_len;
            frame.extend([0x45, 0]);
            frame.extend(u16::try_from(total.max(0)).unwrap().to_be_bytes());
            frame.extend([0, 1]);
            frame.extend(fragment.to_be_bytes());
            frame.extend([64, if is_tcp { 6 } else { 17 }, 0, 0]);
            frame.extend(addresses);
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
            if decode(&packet, 3, &options, &mut plain) {
                walk(&packet, 3, &options, &mut walked);
                prop_assert_eq!(format!("{plain:?}"), format!("{walked:?}"));
            } else {
                prop_assert!(plain.is_empty());
            }
        }
    }

    #[test]
    fn takes_an_ordinary_packet() {
        let mut frame = vec![2; 12];
        frame.extend([
            8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        frame.extend([0x9c, 0x40, 0x9c, 0x41, 0, 8, 0, 0]);
        let packet = Packet::new(Timestamp::ZERO, 42, LinkType::ETHERNET, &frame);
        let mut parts = Vec::new();
        assert!(decode(&packet, 0, &options(LayerKeyMode::L2), &mut parts));
        assert_eq!(parts[0].path.text(), "Ethernet/IPv4/UDP");
        assert_eq!(parts[0].ports(), Some((40000, 40001)));
    }
}

//! What must hold for any packet.

mod support;

use etherparse::{LaxSlicedPacket, NetSlice, TransportSlice};
use proptest::prelude::*;

use flowtap_flow::decode::{DecodeOptions, Part, decode};
use flowtap_flow::packet::{LinkType, Packet};
use flowtap_flow::point::{LayerKeyMode, PointOptions};
use flowtap_flow::table::TableOptions;
use flowtap_flow::timestamp::Timestamp;
use support::{Bench, ethernet, icmp_echo, ipv4, ipv6, tcp, udp, udp_frame};

fn parts(link_type: LinkType, data: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let len = u32::try_from(data.len()).expect("fits");
    let packet = Packet::new(Timestamp::ZERO, len, link_type, data);
    decode(&packet, 0, &DecodeOptions::new(0, LayerKeyMode::L2), &mut parts);
    parts
}

fn any_link_type() -> impl Strategy<Value = LinkType> {
    prop::sample::select(vec![0, 1, 101, 108, 113, 228, 229, 276, 147]).prop_map(LinkType)
}

/// Two ends of a conversation: MAC, IPv4 or IPv6 address, port.
#[derive(Clone, Debug)]
struct End {
    mac: [u8; 6],
    v4: [u8; 4],
    v6: [u8; 16],
    port: u16,
}

prop_compose! {
    // Few values, so that ends are equal in part or as a whole often enough.
    fn end()(mac in 0u8..3, v4 in 0u8..3, v6 in 0u8..3, port in 1u16..4) -> End {
        End { mac: [2, 0, 0, 0, 0, mac], v4: [10, 0, 0, v4], v6: [v6; 16], port: port * 1000 }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Udp4,
    Tcp6,
    Echo,
    Other,
}

fn frame(from: &End, to: &End, kind: Kind, request: bool) -> Vec<u8> {
    let mac = |mac: [u8; 6]| flowtap_flow::flow::MacAddr(mac).to_string();
    let v4 = |end: &End| std::net::Ipv4Addr::from(end.v4).to_string();
    let v6 = |end: &End| std::net::Ipv6Addr::from(end.v6).to_string();
    let (ether_type, payload) = match kind {
        Kind::Udp4 => (
            0x0800,
            ipv4(&v4(from), &v4(to), 17, &udp(from.port, to.port, b"x")),
        ),
        Kind::Tcp6 => (
            0x86dd,
            ipv6(&v6(from), &v6(to), 6, &tcp(from.port, to.port, 16, 1, b"x")),
        ),
        Kind::Echo => (
            0x0800,
            ipv4(&v4(from), &v4(to), 1, &icmp_echo(request, 7, 1, b"x")),
        ),
        Kind::Other => (0x88cc, vec![2, 7, 4, 0]),
    };
    ethernet(&mac(from.mac), &mac(to.mac), ether_type, &payload)
}

proptest! {
    #[test]
    fn a_to_b_and_b_to_a_give_one_key(
        a in end(), b in end(),
        kind in prop::sample::select(vec![Kind::Udp4, Kind::Tcp6, Kind::Echo, Kind::Other]),
    ) {
        let there = parts(LinkType::ETHERNET, &frame(&a, &b, kind, true));
        let back = parts(LinkType::ETHERNET, &frame(&b, &a, kind, false));
        prop_assert_eq!(there.len(), 1);
        prop_assert_eq!(there[0].key, back[0].key);
        let distinct = match kind {
            Kind::Udp4 => (a.mac, a.v4, a.port) != (b.mac, b.v4, b.port),
            Kind::Tcp6 => (a.mac, a.v6, a.port) != (b.mac, b.v6, b.port),
            Kind::Echo => true,
            Kind::Other => a.mac != b.mac,
        };
        prop_assert_eq!(there[0].swapped != back[0].swapped, distinct);
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(link_type in any_link_type(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        for part in parts(link_type, &data) {
            prop_assert!(part.offset as usize <= data.len());
            prop_assert!(part.payload.0 <= part.payload.1 && part.payload.1 as usize <= data.len());
        }
    }

    #[test]
    fn any_prefix_of_a_packet_gives_a_prefix_of_its_layers(
        a in end(), b in end(),
        kind in prop::sample::select(vec![Kind::Udp4, Kind::Tcp6, Kind::Echo]),
    ) {
        let whole = frame(&a, &b, kind, true);
        let path = parts(LinkType::ETHERNET, &whole)[0].path.text();
        for len in 14..=whole.len() {
            let cut = parts(LinkType::ETHERNET, &whole[..len]);
            prop_assert_eq!(cut.len(), 1);
            prop_assert!(path.starts_with(&cut[0].path.text()), "{} of {}", cut[0].path.text(), path);
        }
    }

    #[test]
    fn header_by_header_agrees_with_etherparses_whole_packet(data in mutated()) {
        let Some(part) = parts(LinkType::ETHERNET, &data).into_iter().next() else { return Ok(()) };
        let Ok(sliced) = LaxSlicedPacket::from_ethernet(&data) else { return Ok(()) };
        let ports = match &sliced.transport {
            Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
            Some(TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
            _ => None,
        };
        if ports.is_some() {
            prop_assert_eq!(part.ports(), ports);
        }
        let addresses = match sliced.net.clone() {
            Some(etherparse::LaxNetSlice::Ipv4(ip)) => {
                Some((ip.header().source().to_vec(), ip.header().destination().to_vec()))
            }
            Some(etherparse::LaxNetSlice::Ipv6(ip)) => {
                Some((ip.header().source().to_vec(), ip.header().destination().to_vec()))
            }
            _ => None,
        };
        if let Some((source, destination)) = addresses {
            let (first, second) = part.key.addresses();
            let (from, to) = if part.swapped { (second, first) } else { (first, second) };
            prop_assert_eq!(&from[..source.len()], &source[..]);
            prop_assert_eq!(&to[..destination.len()], &destination[..]);
        }
    }

    #[test]
    fn sums_survive_any_split_into_batches(
        ports in prop::collection::vec(0u16..6, 1..200), split in 1usize..33,
    ) {
        let frames: Vec<Vec<u8>> = ports
            .iter()
            .map(|port| {
                let payload = ipv4("10.0.0.1", "10.0.0.2", 17, &udp(1000 + port, 9, b"x"));
                ethernet("02:00:00:00:00:01", "02:00:00:00:00:02", 0x0800, &payload)
            })
            .collect();
        let mut bench = Bench::new();
        for batch in frames.chunks(split) {
            let packets: Vec<Packet<'_>> = batch
                .iter()
                .map(|frame| Packet::new(Timestamp::from_millis(1), 43, LinkType::ETHERNET, frame))
                .collect();
            bench.ledger.receive(packets.len() as u64, 0);
            bench.sink.packets(&packets);
        }
        for flow in bench.live() {
            let port = flow.transport.expect("UDP").a - 1000;
            let count = ports.iter().filter(|p| **p == port).count() as u64;
            prop_assert_eq!(flow.metric.ab_packets, count);
        }
        bench.balance();
    }

    #[test]
    fn raw_sums_of_samples_are_exact_whatever_the_rates(
        samples in prop::collection::vec(
            (
                any::<bool>(),
                prop::sample::select(vec![64u32, 64, 64, 64, 128, 1, 0, u32::MAX]),
                prop::sample::select(vec![60u32, 100, 1500, u32::MAX]),
            ),
            1..12,
        ),
        exact_times: bool,
    ) {
        let point = PointOptions { exact_times, ..PointOptions::default() };
        let mut bench = Bench::with(TableOptions::default(), point);
        let (mut packets, mut bytes, mut rate) = ([0u64; 2], [0u64; 2], None);
        let mut estimate = [0u64; 2];
        for (i, (ab, n, len)) in samples.iter().enumerate() {
            // The first packet says which end is A.
            let ab = *ab || i == 0;
            let frame = udp_frame(ab, 1000, 2000, b"x");
            let mut packet = Packet::new(Timestamp::from_millis(1), *len, LinkType::ETHERNET, &frame);
            packet.sampling_rate = *n;
            bench.see_packet(packet);
            let side = usize::from(!ab);
            estimate[side] = estimate[side].saturating_add(u64::from(*len).saturating_mul(u64::from(*n).max(1)));
            if *n != 1 {
                rate = Some(*n);
                packets[side] += 1;
                bytes[side] += u64::from(*len);
            }
        }
        let flow = bench.live().remove(0);
        prop_assert_eq!([flow.metric.ab_bytes, flow.metric.ba_bytes], estimate);
        let sampling = flow.sampling;
        prop_assert_eq!(sampling.map(|s| s.rate), rate);
        if let Some(sampling) = sampling {
            prop_assert_eq!([sampling.ab_packets, sampling.ba_packets], packets);
            prop_assert_eq!([sampling.ab_bytes, sampling.ba_bytes], bytes);
        }
    }
}

/// A sound frame with a few of its bytes changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![Kind::Udp4, Kind::Tcp6, Kind::Echo]);
    (
        end(),
        end(),
        kind,
        prop::collection::vec((0usize..80, any::<u8>()), 0..4),
    )
        .prop_map(|(a, b, kind, changes)| {
            let mut data = frame(&a, &b, kind, true);
            for (at, byte) in changes {
                if let Some(old) = data.get_mut(at) {
                    *old = byte;
                }
            }
            data
        })
}

#[test]
fn strict_slices_are_not_needed_for_this() {
    // The differential test above compares with the lax slices; this pins that a sound packet gives
    // the strict ones too, so that the comparison is not empty.
    let payload = ipv4("10.0.0.1", "10.0.0.2", 17, &udp(1, 2, b"x"));
    let data = ethernet("02:00:00:00:00:01", "02:00:00:00:00:02", 0x0800, &payload);
    let sliced = etherparse::SlicedPacket::from_ethernet(&data).expect("a sound packet");
    assert!(matches!(sliced.net, Some(NetSlice::Ipv4(_))));
    assert!(matches!(sliced.transport, Some(TransportSlice::Udp(_))));
}

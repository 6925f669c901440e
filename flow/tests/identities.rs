//! Identifiers, layers, tunnels and counters equal those that Skydive's own flow code gives.
//!
//! Each case rebuilds the first packet of a conversation from its endpoints; the expected values are
//! what Skydive prints for the same endpoints, start and length.

mod support;

use flowtap_flow::decode::MAX_PARTS;
use flowtap_flow::packet::{BATCH, LinkType, Packet};
use flowtap_flow::point::{LayerKeyMode, PointOptions};
use flowtap_flow::table::TableOptions;
use flowtap_flow::timestamp::Timestamp;
use support::{Bench, SYN, arp, dns, dot1q, ethernet, fragment, icmp_echo, ipv4, tcp, udp};

/// What one flow must show.
struct Expected {
    layers: &'static str,
    tracking: &'static str,
    l3_tracking: &'static str,
    uuid: &'static str,
    bytes: u64,
}

fn expected(
    layers: &'static str,
    tracking: &'static str,
    l3_tracking: &'static str,
    uuid: &'static str,
    bytes: u64,
) -> Expected {
    Expected {
        layers,
        tracking,
        l3_tracking,
        uuid,
        bytes,
    }
}

/// Sees `frame`, padded on the wire to `len`, at `start` and compares all its flows, outer first.
fn check(mode: LayerKeyMode, start: i64, len: u32, frame: &[u8], flows: &[Expected]) {
    let mut bench = Bench::with(
        TableOptions::default(),
        PointOptions {
            layer_key_mode: mode,
            ..PointOptions::default()
        },
    );
    let packet = Packet::new(Timestamp::from_millis(start), len, LinkType::ETHERNET, frame);
    bench.see_packet(packet);
    let live = bench.live();
    assert_eq!(live.len(), flows.len(), "flows of {}", flows[0].layers);
    for (flow, expected) in live.iter().zip(flows) {
        assert_eq!(&*flow.layers_path, expected.layers);
        assert_eq!(
            flow.tracking_id.to_string(),
            expected.tracking,
            "TrackingID of {}",
            expected.layers
        );
        assert_eq!(
            flow.l3_tracking_id.to_string(),
            expected.l3_tracking,
            "L3TrackingID of {}",
            expected.layers
        );
        assert_eq!(
            flow.uuid.to_string(),
            expected.uuid,
            "UUID of {}",
            expected.layers
        );
        assert_eq!(
            flow.metric.ab_bytes, expected.bytes,
            "bytes of {}",
            expected.layers
        );
        assert_eq!(flow.metric.ab_packets, 1);
        assert_eq!(Some(&*flow.application), expected.layers.split('/').next_back());
    }
    for (parent, child) in live.iter().zip(&live[1..]) {
        assert_eq!(child.parent_uuid, parent.uuid);
    }
    bench.balance();
}

const L2: LayerKeyMode = LayerKeyMode::L2;

#[test]
fn arp_has_no_network_layer() {
    let frame = ethernet("fa:16:3e:29:e0:82", "ff:ff:ff:ff:ff:ff", 0x0806, &arp());
    let flow = expected(
        "Ethernet/ARP",
        "2962ef01fc3f5ef0",
        "ef46db3751d8e999",
        "3e2b8f8614cfbde9",
        42,
    );
    check(L2, 1_454_659_513_465, 42, &frame, &[flow]);
}

#[test]
fn dns_over_udp() {
    let query = ipv4("192.168.0.5", "8.8.8.8", 17, &udp(37686, 53, &dns(1, false)));
    let frame = ethernet("fa:16:3e:29:e0:82", "fa:16:3e:96:06:e8", 0x0800, &query);
    let flow = expected(
        "Ethernet/IPv4/UDP/DNS",
        "7313dbb9e94d6401",
        "97899f0ffdb1546b",
        "9670aa64c7404f52",
        74,
    );
    check(L2, 1_454_659_513_466, 74, &frame, &[flow]);
    // An identifier whose printed form is shorter than sixteen digits.
    let query = ipv4("192.168.0.5", "8.8.8.8", 17, &udp(33553, 53, &dns(1, false)));
    let frame = ethernet("fa:16:3e:29:e0:82", "fa:16:3e:96:06:e8", 0x0800, &query);
    let flow = expected(
        "Ethernet/IPv4/UDP/DNS",
        "d7194787f91341b9",
        "f9b2a8836e0a46",
        "675d1a2dc7595103",
        73,
    );
    check(L2, 1_454_659_513_481, 73, &frame, &[flow]);
}

#[test]
fn tcp_connections() {
    for (start, destination, source_port, tracking, l3_tracking, uuid) in [
        (
            1_454_659_513_476,
            "173.194.40.147",
            47838,
            "ebff6d7dcd834d9d",
            "63ac39b0980df986",
            "81d910104702c245",
        ),
        (
            1_454_659_513_491,
            "216.58.211.67",
            54785,
            "a1d31b71f61f2570",
            "eb5bee1d5c9f4284",
            "ca0c93e7f3668d41",
        ),
    ] {
        let syn = ipv4("192.168.0.5", destination, 6, &tcp(source_port, 80, SYN, 1, &[]));
        let frame = ethernet("fa:16:3e:29:e0:82", "fa:16:3e:96:06:e8", 0x0800, &syn);
        check(
            L2,
            start,
            74,
            &frame,
            &[expected("Ethernet/IPv4/TCP", tracking, l3_tracking, uuid, 74)],
        );
    }
}

#[test]
fn an_echo_in_a_vlan_and_one_seen_without_mac_addresses() {
    let echo = ipv4(
        "192.168.21.2",
        "192.168.21.11",
        1,
        &icmp_echo(true, 30122, 1, &[]),
    );
    let frame = ethernet(
        "fa:16:3e:ef:a8:2a",
        "fa:16:3e:56:f2:e9",
        0x8100,
        &dot1q(5, 0x0800, &echo),
    );
    let flow = expected(
        "Ethernet/Dot1Q/IPv4/ICMPv4",
        "793e092344fd681e",
        "4f60207370eee2e",
        "cf28d3e6fdefc5c3",
        102,
    );
    check(L2, 1_561_548_593_974, 102, &frame, &[flow]);

    let echo = ipv4("192.168.0.2", "192.168.0.1", 1, &icmp_echo(true, 23604, 1, &[]));
    let frame = ethernet("f2:45:25:5b:3a:bc", "2e:b9:2d:76:24:07", 0x0800, &echo);
    let l2 = expected(
        "Ethernet/IPv4/ICMPv4",
        "a25d427a9f9dcdb8",
        "9e42a86914a043b8",
        "3018d39e38bf4649",
        98,
    );
    let l3 = expected(
        "Ethernet/IPv4/ICMPv4",
        "9e42a86914a043b8",
        "9e42a86914a043b8",
        "b19e0a54df6a2006",
        98,
    );
    check(L2, 1_526_468_153_643, 98, &frame, &[l2]);
    check(LayerKeyMode::L3, 1_526_468_153_643, 98, &frame, &[l3]);
}

#[test]
fn a_fragment_has_no_ports() {
    let piece = fragment("2.1.1.2", "2.1.1.1", 1, 7, 0, true, &[0; 976]);
    let frame = ethernet("08:00:27:fc:6a:c9", "08:00:27:e2:9f:a6", 0x0800, &piece);
    let flow = expected(
        "Ethernet/IPv4/Fragment",
        "59934eed94fd8ef1",
        "e686cd9f98d7e19f",
        "fb5aeb5643356102",
        1010,
    );
    check(L2, 1_506_945_812_535, 1010, &frame, &[flow]);
}

#[test]
fn mpls_over_udp_carries_ip_or_ethernet() {
    let label = [0, 1, 0x01, 64];
    let inner = ipv4(
        "10.65.65.5",
        "10.35.35.3",
        1,
        &icmp_echo(true, 59842, 1, &[0; 76]),
    );
    let outer = ipv4(
        "10.11.0.55",
        "10.11.0.56",
        17,
        &udp(51822, 51234, &[&label[..], &inner].concat()),
    );
    let frame = ethernet("90:b1:1c:0f:bb:b8", "d4:ae:52:9e:5d:2f", 0x0800, &outer);
    let flows = [
        expected(
            "Ethernet/IPv4/UDP/MPLS",
            "24dcf99ff376334f",
            "6d17ba07e2cfdbc1",
            "f650e03f1b3d7da2",
            150,
        ),
        expected(
            "IPv4/ICMPv4",
            "cea52f669fbf89d5",
            "cea52f669fbf89d5",
            "7bc169b37a95ea59",
            104,
        ),
    ];
    check(L2, 1_482_255_172_372, 150, &frame, &flows);

    let inner = ipv4("10.65.65.4", "10.65.65.5", 6, &tcp(52477, 80, SYN, 1, &[0; 20]));
    let inner = ethernet("02:47:10:72:2d:5b", "02:70:7f:82:12:ab", 0x0800, &inner);
    let outer = ipv4(
        "10.11.0.56",
        "10.11.0.55",
        17,
        &udp(53580, 51234, &[&label[..], &inner].concat()),
    );
    let frame = ethernet("d4:ae:52:9e:5d:2f", "90:b1:1c:0f:bb:b8", 0x0800, &outer);
    let flows = [
        expected(
            "Ethernet/IPv4/UDP/MPLS",
            "1bd3819280bc619e",
            "c330081b5b409568",
            "2532c5001351e435",
            120,
        ),
        expected(
            "Ethernet/IPv4/TCP",
            "fdbdd8a9e7cf917c",
            "95757595272957b3",
            "235facc154905c15",
            74,
        ),
    ];
    check(L2, 1_482_255_172_538, 120, &frame, &flows);
}

#[test]
fn gre_with_mpls_and_erspan() {
    let inner = ipv4(
        "172.16.0.1",
        "192.168.0.2",
        1,
        &icmp_echo(true, 4214, 1, &[0; 56]),
    );
    let payload = [&[0, 0, 0x88, 0x47, 0, 1, 0x01, 64][..], &inner].concat();
    let outer = ipv4("172.16.0.1", "172.16.0.2", 47, &payload);
    let frame = ethernet("1e:1a:51:f4:45:46", "ce:6e:35:76:f0:ab", 0x0800, &outer);
    let flows = [
        expected(
            "Ethernet/IPv4/GRE/MPLS",
            "5adc8b888aedf329",
            "3d82fb8c62d5984f",
            "434584458a2a1a6d",
            126,
        ),
        expected(
            "IPv4/ICMPv4",
            "29475c127521c4b7",
            "29475c127521c4b7",
            "420e7a687cb7b335",
            84,
        ),
    ];
    check(L2, 1_490_107_141_731, 126, &frame, &flows);

    let inner = ipv4("23.0.0.2", "23.0.0.3", 1, &icmp_echo(true, 22, 1, &[0; 72]));
    let inner = ethernet("64:00:f1:e1:02:02", "64:00:f1:e1:03:03", 0x0800, &inner);
    let gre = [&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1][..], &[0; 8], &inner].concat();
    let outer = ipv4("2.2.2.2", "1.1.1.1", 47, &gre);
    let frame = ethernet("64:00:f1:e2:01:01", "64:00:f1:e2:01:12", 0x0800, &outer);
    let flows = [
        expected(
            "Ethernet/IPv4/GRE",
            "5d89cd4a2347a163",
            "5a9cbeea8cedf17c",
            "56b0e082d5cbc468",
            164,
        ),
        expected(
            "Ethernet/IPv4/ICMPv4",
            "4b4a5bac00bdaaf7",
            "d09d44ad68c1d120",
            "3d09ddba58e64b50",
            122,
        ),
    ];
    check(L2, 1_402_723_255_667, 164, &frame, &flows);
}

#[test]
fn vxlan_names_its_vni_and_counts_the_length_on_the_wire() {
    let inner = ipv4("192.168.0.1", "192.168.0.2", 1, &icmp_echo(true, 31133, 1, &[]));
    let inner = ethernet("f2:98:72:99:56:08", "26:09:b6:98:f9:64", 0x0800, &inner);
    let payload = [&[8, 0, 0, 0, 0, 0, 10, 0][..], &inner].concat();
    let outer = ipv4("172.16.0.1", "172.16.0.2", 17, &udp(55091, 4789, &payload));
    let frame = ethernet("fa:36:71:46:76:19", "3a:07:fe:34:45:8e", 0x0800, &outer);
    let mut bench = Bench::new();
    // Captured to its headers only; on the wire it was 1,116 bytes.
    let start = Timestamp::from_millis(1);
    bench.see_packet(Packet::new(start, 1116, LinkType::ETHERNET, &frame));
    let live = bench.live();
    assert_eq!(&*live[0].layers_path, "Ethernet/IPv4/UDP/VXLAN");
    assert_eq!(live[0].network.map(|network| network.id), Some(10));
    assert_eq!(live[0].transport.map(|t| (t.a, t.b)), Some((55091, 4789)));
    assert_eq!(live[0].tracking_id.to_string(), "41c208dd8e419276");
    assert_eq!(live[0].l3_tracking_id.to_string(), "966aa2a8220b5690");
    assert_eq!(live[1].tracking_id.to_string(), "f5b160cc9d7bc648");
    assert_eq!(live[1].l3_tracking_id.to_string(), "511adda80166f439");
    assert_eq!((live[0].metric.ab_bytes, live[1].metric.ab_bytes), (1116, 1066));
}

/// What one packet may hold is bounded, and no other packet of its batch counts against that.
#[test]
fn each_packet_of_a_batch_may_carry_others() {
    let inner = ethernet("f2:98:72:99:56:08", "26:09:b6:98:f9:64", 0x0806, &arp());
    let tunnelled = |inner: &[u8]| {
        let payload = [&[8, 0, 0, 0, 0, 0, 10, 0][..], inner].concat();
        let outer = ipv4("172.16.0.1", "172.16.0.2", 17, &udp(55091, 4789, &payload));
        ethernet("fa:36:71:46:76:19", "3a:07:fe:34:45:8e", 0x0800, &outer)
    };
    let frame = tunnelled(&inner);
    let batch = [Packet::new(
        Timestamp::from_millis(1),
        frame.len() as u32,
        LinkType::ETHERNET,
        &frame,
    ); BATCH];
    let mut bench = Bench::new();
    bench.see_batch(&batch);
    let live = bench.live();
    assert_eq!(live.len(), 2);
    assert!(
        live.iter().all(|flow| flow.metric.ab_packets == BATCH as u64),
        "{live:?}"
    );

    let deep = (0..2 * MAX_PARTS).fold(inner, |inner, _| tunnelled(&inner));
    let mut bench = Bench::new();
    bench.see(1, &deep);
    assert_eq!(bench.live().len(), MAX_PARTS);
}

//! Interfaces whose packets begin with their IP header.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use flowtap_collectors::afpacket::AfPacket;
use flowtap_collectors::pcap::Pcap;
use flowtap_collectors::{CaptureRequest, Collector, EarlySocket};
use flowtap_flow::packet::LinkType;

use super::frames::udp;
use super::lab::{Namespace, narrowed};
use super::record::Running;

/// A TUN device; what is written to it comes in at it.
#[expect(unsafe_code, reason = "an ioctl that no crate knows")]
fn tun(namespace: &Namespace, name: &str) -> File {
    namespace.inside(|| {
        let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
        let device = device.expect("TUN devices can be made: modprobe tun");
        // SAFETY: a plain C structure, for which all-zero bytes are valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: TUNSETIFF takes a whole ifreq, which is lent for the call; the descriptor is open.
        let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        device
    })
}

#[test]
fn raw_ip_is_what_it_is() {
    let namespace = Namespace::new();
    let mut device = tun(&namespace, "t0");
    namespace.ip("link set t0 up");
    let packets: Vec<Vec<u8>> = (0..20)
        .map(|round| udp(&[], if round % 2 == 0 { 53 } else { 80 }, round, 100)[14..].to_vec())
        .collect();
    for collector in [&AfPacket::default() as &dyn Collector, &Pcap::default()] {
        for (filter, expected) in [("", 20), ("udp port 53", 10), ("ether host 2:0:0:0:0:1 or ip", 0)] {
            let mut request = narrowed(namespace.request("t0"), filter, 60, &[]);
            request.interface.node_type = "tun".to_owned();
            if filter.contains("ether") {
                let refused = collector
                    .open(request)
                    .err()
                    .expect("no Ethernet here")
                    .to_string();
                assert!(refused.starts_with("not a valid BPF expression: "), "{refused}");
                continue;
            }
            let running = Running::start(collector, request);
            for packet in &packets {
                device.write_all(packet).expect("taken");
            }
            let finished = running.stop();
            let what = format!("{} {filter:?}", collector.capture_type());
            let expected: Vec<_> = packets.iter().step_by(packets.len() / expected).collect();
            assert_eq!(finished.seen.len(), expected.len(), "{what}");
            for (seen, packet) in finished.seen.iter().zip(expected) {
                assert_eq!((seen.link_type, seen.len), (LinkType::RAW, 86), "{what}");
                assert!(seen.data == packet[..60], "{what}");
            }
            assert_eq!(finished.ledger.received, 20, "{what}");
        }
    }
    // The same, held from before.
    let early = EarlySocket::open(&namespace.interface("t0")).expect("opened");
    for packet in &packets {
        device.write_all(packet).expect("taken");
    }
    let request = CaptureRequest {
        early: Some(early.packets()),
        ..narrowed(namespace.request("t0"), "udp port 53", 0, &[])
    };
    let finished = Running::start(&AfPacket::default(), request).stop();
    let seen: Vec<_> = finished.seen.iter().map(|seen| &seen.data).collect();
    assert!(seen == packets.iter().step_by(2).collect::<Vec<_>>());
}

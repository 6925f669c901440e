//! Files written by us, read by us.

use super::make;
use super::{read, resized};
use crate::packet::{LinkType, RawPacket};
use crate::pcap::{MAX_SNAPLEN, Resolution, file_link_type, to_pcap, to_pcapng};
use crate::timestamp::Timestamp;

fn sample_in_nanos() -> Vec<RawPacket> {
    let mut packets = make::sample();
    for packet in &mut packets {
        packet.timestamp = Timestamp::from_nanos(packet.timestamp.nanos() + 789);
        packet.len += 1_000;
    }
    packets
}

#[test]
fn what_is_written_is_read() {
    let packets = sample_in_nanos();
    assert_eq!(
        read(&to_pcap(&packets, Resolution::Nanos).unwrap()).complete(),
        packets
    );
    assert_eq!(read(&to_pcapng(&packets).unwrap()).complete(), packets);
    let mut micros = packets;
    let file = to_pcap(&micros, Resolution::Micros).unwrap();
    for packet in &mut micros {
        packet.timestamp = Timestamp::from_nanos(packet.timestamp.nanos() - 789);
    }
    assert_eq!(read(&file).complete(), micros);
}

#[test]
fn a_file_without_packets_is_a_header() {
    for resolution in [Resolution::Micros, Resolution::Nanos] {
        let file = to_pcap(&[], resolution).unwrap();
        assert_eq!(file.len(), 24);
        assert_eq!(read(&file).complete(), []);
    }
    assert_eq!(read(&to_pcapng(&[]).unwrap()).complete(), []);
}

#[test]
fn link_types_that_share_a_file_and_those_that_do_not() {
    use LinkType as L;
    let together = |link_types: &[LinkType]| file_link_type(link_types.iter().copied());
    assert_eq!(together(&[]).unwrap(), L::ETHERNET);
    assert_eq!(together(&[L::LINUX_SLL, L::LINUX_SLL]).unwrap(), L::LINUX_SLL);
    assert_eq!(together(&[L::IPV4, L::IPV4]).unwrap(), L::IPV4);
    assert_eq!(together(&[L::IPV4, L::IPV6, L::RAW]).unwrap(), L::RAW);
    assert_eq!(
        together(&[L::ETHERNET, L::ETHERNET, L::RAW])
            .unwrap_err()
            .to_string(),
        "packets of link types EN10MB and RAW cannot share one pcap file; \
         ask for one of them with a filter, or for pcapng"
    );

    let mut packets = make::sample();
    packets.truncate(3);
    packets[1].link_type = L::IPV6;
    assert!(to_pcap(&packets, Resolution::Micros).is_err());
    assert_eq!(read(&to_pcapng(&packets).unwrap()).complete(), packets);
    packets[0].link_type = L::IPV4;
    packets[2].link_type = L::IPV4;
    let got = read(&to_pcap(&packets, Resolution::Micros).unwrap()).complete();
    assert!(got.iter().all(|packet| packet.link_type == L::RAW));
    assert_eq!(got[1].data, packets[1].data);
}

#[test]
fn what_the_format_cannot_hold_is_bent_to_the_nearest() {
    let mut packet = make::sample()[0].clone();
    packet.data = resized(&packet.data, 300_000);
    packet.len = 300_000;
    packet.timestamp = Timestamp::from_nanos(-5);
    let mut late = packet.clone();
    late.timestamp = Timestamp::MAX;
    late.len = 7;
    let got = read(&to_pcap(&[packet, late], Resolution::Nanos).unwrap()).complete();
    assert_eq!(got[0].data.len(), MAX_SNAPLEN as usize);
    assert_eq!(got[0].timestamp, Timestamp::ZERO);
    assert_eq!(
        got[1].timestamp.nanos(),
        i64::from(u32::MAX) * 1_000_000_000 + 999_999_999
    );
    assert_eq!(got[1].len, MAX_SNAPLEN);
}

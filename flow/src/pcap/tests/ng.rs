//! pcapng in its variety.

use super::make::{self, Bytes, block, enhanced, interface, option, packet_body, section};
use super::{UNTIMED, read, read_pieces};
use crate::packet::LinkType;
use crate::pcap::format::Endian;

const BOTH: [Endian; 2] = [Endian::Little, Endian::Big];

#[test]
fn interfaces_with_their_own_link_types_and_units_of_time() {
    let packets = &make::sample()[..4];
    for endian in BOTH {
        let offset = 1_000_000_000i64;
        let offset_bytes = Bytes::new(endian).u64(offset.cast_unsigned()).out.clone();
        let mut file = section(endian);
        file.extend(interface(endian, LinkType::ETHERNET, 0, &[]));
        file.extend(interface(endian, LinkType::RAW, 0, &option(endian, 9, &[9])));
        file.extend(interface(
            endian,
            LinkType::LINUX_SLL2,
            0,
            &option(endian, 9, &[0x80 | 20]),
        ));
        file.extend(interface(
            endian,
            LinkType::NULL,
            0,
            &option(endian, 14, &offset_bytes),
        ));
        let nanos: Vec<i64> = packets.iter().map(|packet| packet.timestamp.nanos()).collect();
        file.extend(enhanced(
            endian,
            3,
            nanos[0] / 1_000 - offset * 1_000_000,
            &packets[0],
        ));
        file.extend(enhanced(endian, 1, nanos[1] + 7, &packets[1]));
        let ticks = (i128::from(nanos[2]) << 20) / 1_000_000_000;
        file.extend(enhanced(endian, 2, i64::try_from(ticks).unwrap(), &packets[2]));
        file.extend(enhanced(endian, 0, nanos[3] / 1_000, &packets[3]));
        let got = read(&file).complete();
        let links: Vec<LinkType> = got.iter().map(|packet| packet.link_type).collect();
        assert_eq!(
            links,
            [
                LinkType::NULL,
                LinkType::RAW,
                LinkType::LINUX_SLL2,
                LinkType::ETHERNET
            ]
        );
        assert_eq!(got[0].timestamp.nanos(), nanos[0]);
        assert_eq!(got[1].timestamp.nanos(), nanos[1] + 7);
        assert!((nanos[2] - 1_000..=nanos[2]).contains(&got[2].timestamp.nanos()));
        assert_eq!(got[3].timestamp.nanos(), nanos[3]);
    }
}

#[test]
fn sections_begin_anew_and_may_change_byte_order() {
    let packets = &make::sample()[..2];
    let mut file = Vec::new();
    for (endian, link_type) in BOTH.into_iter().zip([LinkType::ETHERNET, LinkType::RAW]) {
        file.extend(section(endian));
        file.extend(interface(endian, link_type, 0, &[]));
        for packet in packets {
            file.extend(enhanced(endian, 0, packet.timestamp.nanos() / 1_000, packet));
        }
    }
    for got in [read(&file).complete(), read_pieces(file.chunks(1)).complete()] {
        assert_eq!(&got[..2], packets);
        assert_eq!(got[3].data, packets[1].data);
        assert_eq!(got[3].link_type, LinkType::RAW);
    }
}

#[test]
fn simple_and_obsolete_packet_blocks() {
    let packets = &make::sample()[..2];
    for endian in BOTH {
        let mut file = section(endian);
        file.extend(interface(endian, LinkType::ETHERNET, 30, &[]));
        let mut simple = Bytes::new(endian);
        simple.u32(packets[0].len).raw(&packets[0].data[..30]);
        let simple = block(endian, 3, &simple.out);
        file.extend(&simple);
        let mut obsolete = Bytes::new(endian);
        obsolete.u16(0).u16(5).raw(&packet_body(
            endian,
            packets[1].timestamp.nanos() / 1_000,
            &packets[1],
        ));
        file.extend(block(endian, 2, &obsolete.out));
        file.extend(&simple);
        let got = read(&file).complete();
        assert_eq!(got[1], packets[1]);
        for (simple, time) in [(&got[0], UNTIMED), (&got[2], packets[1].timestamp)] {
            assert_eq!(simple.data, packets[0].data[..30]);
            assert_eq!(simple.len, packets[0].len);
            assert_eq!(simple.timestamp, time);
        }
    }
}

#[test]
fn other_blocks_are_passed_over_whatever_their_size() {
    let packets = &make::sample()[..2];
    for endian in BOTH {
        let mut file = section(endian);
        file.extend(block(endian, 4, &[1; 30]));
        file.extend(interface(endian, LinkType::ETHERNET, 0, &[]));
        file.extend(enhanced(
            endian,
            0,
            packets[0].timestamp.nanos() / 1_000,
            &packets[0],
        ));
        file.extend(block(endian, 0x8000_0001, &[2; 3 << 20]));
        file.extend(block(endian, 5, &[]));
        file.extend(enhanced(
            endian,
            0,
            packets[1].timestamp.nanos() / 1_000,
            &packets[1],
        ));
        assert_eq!(read(&file).complete(), packets);
        assert_eq!(read_pieces(file.chunks(1_001)).complete(), packets);
    }
}

#[test]
fn a_block_that_makes_no_sense_costs_itself_alone() {
    let packets = &make::sample()[..2];
    let endian = Endian::Little;
    let ticks = packets[0].timestamp.nanos() / 1_000;
    let mut file = section(endian);
    file.extend(enhanced(endian, 0, ticks, &packets[0]));
    file.extend(block(endian, 1, &[1, 0]));
    file.extend(interface(endian, LinkType::ETHERNET, 0, &[]));
    file.extend(enhanced(endian, 0, ticks, &packets[0]));
    file.extend(enhanced(endian, 1, ticks, &packets[0]));
    file.extend(enhanced(endian, 9, ticks, &packets[0]));
    let mut long = enhanced(endian, 1, ticks, &packets[0]);
    long[20..24].copy_from_slice(&500u32.to_le_bytes());
    file.extend(long);
    file.extend(block(endian, 6, &[0; 8]));
    file.extend(enhanced(
        endian,
        1,
        packets[1].timestamp.nanos() / 1_000,
        &packets[1],
    ));
    let got = read(&file);
    assert_eq!(got.packets, packets);
    assert_eq!(got.malformed, 5);
    assert_eq!(got.ending.unwrap().cut_bytes, 0);
}

#[test]
fn options_of_bad_taste_do_no_harm() {
    let packets = &make::sample()[..1];
    let endian = Endian::Big;
    let mut options = option(endian, 2, &[0xff, 0xfe, b'e']);
    options.extend(option(endian, 10, &[0, 0, 0, 1]));
    options.extend(option(endian, 9, &[9]));
    let mut file = section(endian);
    let mut description = interface(endian, LinkType::ETHERNET, 0, &options);
    description[10] = 1;
    file.extend(description);
    let mut body = Bytes::new(endian);
    body.u32(0)
        .raw(&packet_body(endian, packets[0].timestamp.nanos(), &packets[0]));
    let padded = body.out.len().next_multiple_of(4);
    body.out.resize(padded, 0);
    body.raw(&option(endian, 1, &[0xff; 5]));
    file.extend(block(endian, 6, &body.out));
    assert_eq!(read(&file).complete(), packets);
}

#[test]
fn lengths_that_differ_at_the_blocks_end_are_damage() {
    let packets = &make::sample()[..2];
    let mut file = make::ng_file(Endian::Little, packets);
    let at = file.len() - 4;
    file[at] ^= 4;
    let got = read(&file);
    assert_eq!(got.packets, packets[..1]);
    assert!(
        got.error()
            .contains("a pcapng block whose length is no multiple of 4, or another at its end")
    );
}

//! Whole files, alone and one after another.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::make::{self, Pcap, variants};
use super::{read, read_pieces, split};
use crate::packet::LinkType;
use crate::pcap::format::Endian;

#[test]
fn every_variant_gives_the_packets_of_the_fixture() {
    for path in make::fixtures() {
        let truth = make::truth(path.to_str().unwrap());
        for (name, file) in variants(&truth) {
            assert_eq!(read(&file).complete(), truth, "{name} of {}", path.display());
        }
    }
}

#[test]
fn nanoseconds_are_kept() {
    let mut packets = make::sample();
    for (index, packet) in packets.iter_mut().enumerate() {
        let nanos = packet.timestamp.nanos() + i64::try_from(index).unwrap() % 1_000;
        packet.timestamp = crate::timestamp::Timestamp::from_nanos(nanos);
    }
    for endian in [Endian::Little, Endian::Big] {
        let file = Pcap {
            endian,
            nanos: true,
            ..Pcap::PLAIN
        }
        .file(&packets);
        assert_eq!(read(&file).complete(), packets);
    }
}

#[test]
fn link_type_without_fcs_bits_and_as_linux_writes_raw_ip() {
    let packet = &make::sample()[..1];
    for (network, link_type) in [
        (0x5400_0001, LinkType::ETHERNET),
        (0x0400_0071, LinkType::LINUX_SLL),
        (12, LinkType::RAW),
        (14, LinkType::RAW),
        (127, LinkType(127)),
    ] {
        let file = Pcap {
            network,
            ..Pcap::PLAIN
        }
        .file(packet);
        assert_eq!(read(&file).complete()[0].link_type, link_type);
    }
}

#[test]
fn any_two_files_after_one_another() {
    let packets = &make::sample()[..5];
    let twice = [packets, packets].concat();
    let files = variants(packets);
    for (first_name, first) in &files {
        for (second_name, second) in &files {
            let both = [first.as_slice(), second].concat();
            assert_eq!(read(&both).complete(), twice, "{first_name}, then {second_name}");
            let bytewise = read_pieces(both.chunks(1));
            assert_eq!(
                bytewise.complete(),
                twice,
                "{first_name}, then {second_name}, byte by byte"
            );
        }
    }
}

#[test]
fn many_files_after_one_another() {
    let packets = &make::sample()[..3];
    let files = variants(packets);
    let stream: Vec<u8> = files
        .iter()
        .cycle()
        .take(100)
        .flat_map(|(_, file)| file.clone())
        .collect();
    assert_eq!(read(&stream).complete(), vec![packets; 100].concat());
}

#[test]
fn a_header_alone_is_a_whole_file() {
    let empty = Pcap::PLAIN.file(&[]);
    assert_eq!(read(&empty).complete(), []);
    let packets = &make::sample()[..1];
    let stream = [empty.clone(), empty.clone(), Pcap::PLAIN.file(packets), empty].concat();
    assert_eq!(read(&stream).complete(), packets);
}

#[test]
fn a_packet_whose_time_is_a_magic_number_is_a_packet() {
    for magic in [0xa1b2_c3d4u32, 0xd4c3_b2a1, 0x4d3c_b2a1, 0x0a0d_0d0a, 0x1408_8b1f] {
        let mut packets = make::sample();
        for packet in &mut packets {
            packet.timestamp = crate::timestamp::Timestamp::from_secs(i64::from(magic));
        }
        for nanos in [false, true] {
            let file = Pcap { nanos, ..Pcap::PLAIN }.file(&packets);
            assert_eq!(read(&file).complete(), packets);
            assert_eq!(read_pieces(file.chunks(1)).complete(), packets);
        }
    }
}

#[test]
fn gzip_members_may_end_anywhere() {
    let packets = make::sample();
    let file = Pcap::PLAIN.file(&packets);
    for size in [1, 10, 100, 1_000] {
        let stream: Vec<u8> = file.chunks(size).flat_map(make::gzip).collect();
        assert_eq!(read(&stream).complete(), packets);
        assert_eq!(read_pieces(stream.chunks(3)).complete(), packets);
    }
}

#[test]
fn gzip_hands_out_packets_before_its_end() {
    use flate2::write::GzEncoder;
    use std::io::Write;

    let packets = make::sample();
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&Pcap::PLAIN.file(&packets)).unwrap();
    encoder.flush().unwrap();
    assert_eq!(read(encoder.get_ref()).packets, packets);
}

#[test]
fn what_inflates_to_much_stays_small_in_memory() {
    // 20 MiB of zeros, after a header, in 20 kB: packets of no bytes.
    let mut bomb = make::gzip(&Pcap::PLAIN.file(&[]));
    let zeros = make::gzip(&vec![0; 2 << 20]);
    (0..10).for_each(|_| bomb.extend_from_slice(&zeros));
    let mut parser = super::StreamParser::new(super::UNTIMED);
    let mut packets = 0;
    parser
        .push(&bomb, &mut |batch: &[crate::packet::Packet<'_>]| {
            packets += batch.len()
        })
        .unwrap();
    assert_eq!(packets, 10 * (2 << 20) / 16);
    assert!(parser.spare().len() <= 256 << 10);
    assert!(parser.records.buffer.spare().len() <= 256 << 10);
}

/// Made once, not for each case.
static SAMPLES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| variants(&make::sample()));

proptest! {
    #[test]
    fn any_split_gives_the_same_packets(
        variant in 0..16usize,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        prop_assert_eq!(read_pieces(split(&SAMPLES[variant].1, &cuts)).complete(), make::sample());
    }
}

proptest! {
    // Megabytes a case.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn packets_of_any_length_through_buffers_of_any_fill(
        lengths in prop::collection::vec(prop_oneof![0..2_000usize, 60_000..262_145usize], 1..12),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let packets: Vec<_> = lengths
            .iter()
            .zip(make::sample())
            .map(|(len, mut packet)| {
                packet.data = (0..*len).map(|at| (at % 251) as u8).collect();
                packet.len = u32::try_from(*len).unwrap();
                packet
            })
            .collect();
        for file in [Pcap::PLAIN.file(&packets), make::ng_file(Endian::Big, &packets)] {
            prop_assert_eq!(&read_pieces(split(&file, &cuts)).complete(), &packets);
        }
    }
}

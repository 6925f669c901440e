//! Nonsense in files, and what is no capture file.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::make::{self, Pcap, variants};
use super::{read, read_pieces, resized, split};
use crate::pcap::format::Endian;
use crate::pcap::{Damage, PcapError};

#[test]
fn lengths_on_the_wire_that_cannot_be_become_the_captured_length() {
    for (original, expected) in [
        (1_500, 1_500),
        (262_144, 262_144),
        (262_145, 60),
        (u32::MAX, 60),
        (59, 60),
        (0, 60),
        (60, 60),
    ] {
        let mut packet = make::sample()[0].clone();
        packet.data = resized(&packet.data, 60);
        packet.len = original;
        for (name, file) in variants(&[packet.clone(), packet.clone()]) {
            let lens: Vec<u32> = read(&file).complete().iter().map(|packet| packet.len).collect();
            assert_eq!(lens, [expected, expected], "{original} in {name}");
        }
    }
}

#[test]
fn packets_longer_than_the_snaplen_are_taken() {
    let packets = make::sample();
    for snaplen in [0, 1, 64, u32::MAX] {
        let file = Pcap {
            snaplen,
            ..Pcap::PLAIN
        }
        .file(&packets);
        assert_eq!(read(&file).complete(), packets, "snaplen {snaplen}");
    }
}

#[test]
fn a_fraction_above_a_second_carries_over() {
    let packets = &make::sample()[..1];
    let mut file = Pcap::PLAIN.file(packets);
    file[28..32].copy_from_slice(&2_500_000u32.to_le_bytes());
    let seconds = u32::from_le_bytes(file[24..28].try_into().unwrap());
    let expected = i64::from(seconds) * 1_000_000_000 + 2_500_000_000;
    assert_eq!(read(&file).complete()[0].timestamp.nanos(), expected);
}

#[test]
fn a_captured_length_above_the_limit_ends_the_stream_there() {
    let packets = make::sample();
    for (snaplen, limit) in [(65_535, 262_144), (300_000, 300_000), (u32::MAX, 1 << 20)] {
        let variant = Pcap {
            snaplen,
            ..Pcap::PLAIN
        };
        let mut file = variant.file(&packets[..3]);
        let offset = file.len() as u64;
        file.extend(&variant.file(&packets[3..4])[24..]);
        for len in [limit + 1, u32::MAX] {
            let at = offset as usize + 8;
            file[at..at + 4].copy_from_slice(&len.to_le_bytes());
            let got = read(&file);
            assert_eq!(got.packets, packets[..3]);
            let PcapError::Damaged { offset: told, damage } = got.ending.unwrap_err() else {
                panic!()
            };
            assert_eq!((told, damage), (offset, Damage::PacketLength { len, limit }));
        }
    }
    // The bytes are there, yet too many.
    let mut long = packets[0].clone();
    long.data = resized(&long.data, 262_145);
    let got = read(&Pcap::PLAIN.file(&[packets[0].clone(), long]));
    assert_eq!(got.packets.len(), 1);
    assert!(
        got.error()
            .contains("262145 captured bytes, where at most 262144")
    );
}

#[test]
fn what_is_no_capture_is_named() {
    let text = |bytes: &[u8]| read(bytes).error();
    for (bytes, found) in [
        (
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            "found an HTTP request; accepted are pcap, pcapng, and gzip",
        ),
        (
            b"hello, world",
            "found bytes 68 65 6c 6c 6f 2c 20 77 (\"hello, w\")",
        ),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0], "zstd data (decompress it first"),
        (&[0; 40], "found bytes 00 00 00 00 00 00 00 00"),
    ] {
        assert!(text(bytes).contains(found), "{}", text(bytes));
    }
    assert!(text(&make::gzip(b"some text")).contains("73 6f 6d 65"));
    let nested = make::gzip(&make::gzip(&Pcap::PLAIN.file(&[])));
    assert!(text(&nested).contains("gzip inside gzip"));
    let mut old = Pcap::PLAIN.file(&[]);
    old[4] = 1;
    assert_eq!(
        text(&old),
        "damaged at byte 0: pcap version 1.4 is not read, only 2.x is"
    );
}

#[test]
fn damaged_gzip_is_told() {
    let packets = make::sample();
    let mut file = make::gzip(&Pcap::PLAIN.file(&packets));
    let crc = file.len() - 8;
    file[crc] ^= 1;
    assert!(read(&file).ending.unwrap().gzip_cut);
    // More after it: then it is clear that nothing is cut.
    file.extend(make::gzip(&Pcap::PLAIN.file(&packets)));
    assert!(read(&file).error().starts_with("the gzip data is damaged"));
    file[30..60].fill(0xff);
    assert!(read(&file).error().starts_with("the gzip data is damaged"));
}

#[test]
fn garbage_after_a_pcapng_block_ends_the_stream_there() {
    let packets = make::sample();
    let mut file = make::ng_file(Endian::Little, &packets);
    let end = file.len() as u64;
    file.extend([0xff; 64]);
    let got = read(&file);
    assert_eq!(got.packets, packets);
    let PcapError::Damaged {
        offset,
        damage: Damage::Block(_),
    } = got.ending.unwrap_err()
    else {
        panic!()
    };
    assert_eq!(offset, end);
}

/// Made once, not for each case.
static SAMPLES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| variants(&make::sample()[..4]));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_change_of_bytes_panics_or_depends_on_the_split(
        variant in 0..16usize,
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        let mut file = SAMPLES[variant].1.clone();
        for (at, value) in changes {
            let at = at % file.len();
            file[at] = value;
        }
        let (whole, pieces) = (read(&file), read_pieces(split(&file, &cuts)));
        if file[0] == 0x1f {
            // What the inflater has in hand when it meets damage is lost.
            let common = whole.packets.len().min(pieces.packets.len());
            prop_assert_eq!(&whole.packets[..common], &pieces.packets[..common]);
            return Ok(());
        }
        prop_assert_eq!(whole.packets, pieces.packets);
        prop_assert_eq!(whole.malformed, pieces.malformed);
        match (whole.ending, pieces.ending) {
            (Ok(a), Ok(b)) => prop_assert_eq!(a, b),
            // Quotes what has come of it.
            (Err(PcapError::NotACapture { .. }), Err(PcapError::NotACapture { .. })) => {}
            (Err(a), Err(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
            (a, b) => prop_assert!(false, "{a:?} and {b:?}"),
        }
    }

    #[test]
    fn any_bytes_after_any_magic(
        magic in 0..4usize,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let start = [
            Pcap::PLAIN.file(&[]),
            make::section(Endian::Big),
            make::ng_file(Endian::Little, &[]),
            vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
        ];
        let _ = read(&[start[magic].as_slice(), &bytes].concat());
    }
}

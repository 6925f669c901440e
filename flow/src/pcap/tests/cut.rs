//! Streams that end too early.

use super::make::{self, Pcap};
use super::{Ending, read};
use crate::packet::RawPacket;
use crate::pcap::format::Endian;

/// Cuts `file` at every byte. `ends` are the ends of its records, the last one the file's own.
fn at_every_byte(file: &[u8], ends: &[usize], packets: &[RawPacket], first_packet: usize) {
    for len in 0..file.len() {
        let whole = ends.iter().filter(|end| **end <= len).count();
        let boundary = ends[..whole].last().copied().unwrap_or(0);
        let got = read(&file[..len]);
        let want = Ending {
            cut_bytes: (len - boundary) as u64,
            gzip_cut: false,
            empty: len == 0,
        };
        assert_eq!(got.ending.unwrap(), want, "cut at {len}");
        assert_eq!(
            got.packets,
            packets[..whole.saturating_sub(first_packet)],
            "cut at {len}"
        );
    }
}

#[test]
fn pcap_cut_at_every_byte_keeps_all_before() {
    let packets = &make::sample()[..8];
    for modified in [false, true] {
        let variant = Pcap {
            modified,
            ..Pcap::PLAIN
        };
        let ends: Vec<usize> = (0..=packets.len())
            .map(|n| variant.file(&packets[..n]).len())
            .collect();
        at_every_byte(&variant.file(packets), &ends, packets, 1);
    }
}

#[test]
fn pcapng_cut_at_every_byte_keeps_all_before() {
    let packets = &make::sample()[..8];
    for endian in [Endian::Little, Endian::Big] {
        let mut ends = vec![make::section(endian).len()];
        ends.extend((0..=packets.len()).map(|n| make::ng_file(endian, &packets[..n]).len()));
        at_every_byte(&make::ng_file(endian, packets), &ends, packets, 2);
    }
}

#[test]
fn a_cut_in_a_skipped_block_is_told() {
    let mut file = make::ng_file(Endian::Little, &make::sample()[..1]);
    let whole = file.len();
    file.extend(make::block(Endian::Little, 0x0bad, &[0; 600_000]));
    assert_eq!(read(&file).complete().len(), 1);
    let got = read(&file[..whole + 500_000]);
    assert_eq!(got.ending.unwrap().cut_bytes, 500_000);
    assert_eq!(got.packets.len(), 1);
}

#[test]
fn gzip_cut_at_every_byte_keeps_what_inflates() {
    let packets = &make::sample()[..8];
    let file = make::gzip(&Pcap::PLAIN.file(packets));
    let mut last = 0;
    for len in 3..file.len() {
        let got = read(&file[..len]);
        assert!(got.ending.unwrap().gzip_cut, "cut at {len}");
        assert!(got.packets.len() >= last && got.packets[..] == packets[..got.packets.len()]);
        last = got.packets.len();
    }
    assert_eq!(last, packets.len());
}

#[test]
fn nothing_at_all_is_empty() {
    assert_eq!(
        read(&[]).ending.unwrap(),
        Ending {
            cut_bytes: 0,
            gzip_cut: false,
            empty: true
        }
    );
}

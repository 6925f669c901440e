//! Capture files made by hand from the fixtures, without the code under test.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::packet::{LinkType, RawPacket};
use crate::pcap::format::Endian;
use crate::timestamp::Timestamp;

pub(super) fn fixture_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures"))
}

pub(super) fn fixtures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(fixture_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "pcap"));
    files.sort();
    assert!(files.len() > 10);
    files
}

/// The packets of a fixture, read as the plainest of files: little endian, µs.
pub(super) fn truth(name: &str) -> Vec<RawPacket> {
    walk(&std::fs::read(fixture_dir().join(name)).unwrap())
}

fn walk(file: &[u8]) -> Vec<RawPacket> {
    assert_eq!(file[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let mut packets = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let caplen = u32_at(at + 8) as usize;
        let nanos = i64::from(u32_at(at)) * 1_000_000_000 + i64::from(u32_at(at + 4)) * 1_000;
        packets.push(RawPacket {
            timestamp: Timestamp::from_nanos(nanos),
            index: 0,
            len: u32_at(at + 12),
            link_type: LinkType::ETHERNET,
            data: file[at + 16..at + 16 + caplen].to_vec().into(),
        });
        at += 16 + caplen;
    }
    packets
}

/// A few real packets: ARP, IPv4 and IPv6, VLAN tags.
pub(super) fn sample() -> Vec<RawPacket> {
    truth("ovs-sflow-vlan-arp.truth.pcap")
}

/// Writes integers in one byte order.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    pub(super) endian: Endian,
    pub(super) out: Vec<u8>,
}

impl Bytes {
    pub(super) fn new(endian: Endian) -> Self {
        Self {
            endian,
            out: Vec::new(),
        }
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.out.extend(match self.endian {
            Endian::Big => value.to_be_bytes(),
            Endian::Little => value.to_le_bytes(),
        });
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.out.extend(match self.endian {
            Endian::Big => value.to_be_bytes(),
            Endian::Little => value.to_le_bytes(),
        });
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.out.extend(match self.endian {
            Endian::Big => value.to_be_bytes(),
            Endian::Little => value.to_le_bytes(),
        });
        self
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }
}

/// A variant of the pcap format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    pub(super) endian: Endian,
    pub(super) nanos: bool,
    pub(super) modified: bool,
    pub(super) snaplen: u32,
    pub(super) network: u32,
}

impl Pcap {
    pub(super) const PLAIN: Self = Self {
        endian: Endian::Little,
        nanos: false,
        modified: false,
        snaplen: 65_535,
        network: 1,
    };

    pub(super) fn header(self) -> Bytes {
        let mut bytes = Bytes::new(self.endian);
        bytes.u32(match (self.nanos, self.modified) {
            (false, false) => 0xa1b2_c3d4,
            (true, _) => 0xa1b2_3c4d,
            (false, true) => 0xa1b2_cd34,
        });
        bytes
            .u16(2)
            .u16(4)
            .u32(0)
            .u32(0)
            .u32(self.snaplen)
            .u32(self.network);
        bytes
    }

    pub(super) fn file(self, packets: &[RawPacket]) -> Vec<u8> {
        let mut bytes = self.header();
        for packet in packets {
            let nanos = packet.timestamp.nanos();
            let fraction = if self.nanos {
                nanos % 1_000_000_000
            } else {
                nanos % 1_000_000_000 / 1_000
            };
            let caplen = u32::try_from(packet.data.len()).unwrap();
            bytes
                .u32(u32::try_from(nanos / 1_000_000_000).unwrap())
                .u32(u32::try_from(fraction).unwrap());
            bytes.u32(caplen).u32(packet.len);
            if self.modified {
                bytes.u32(3).u16(0x0800).raw(&[0, 0]);
            }
            bytes.raw(&packet.data);
        }
        bytes.out
    }
}

/// A pcapng block around `body`, padded.
pub(super) fn block(endian: Endian, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = u32::try_from(padded + 12).unwrap();
    let mut bytes = Bytes::new(endian);
    bytes
        .u32(kind)
        .u32(len)
        .raw(body)
        .raw(&vec![0; padded - body.len()])
        .u32(len);
    bytes.out
}

pub(super) fn section(endian: Endian) -> Vec<u8> {
    let mut body = Bytes::new(endian);
    body.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
    block(endian, 0x0a0d_0d0a, &body.out)
}

/// An interface description; options as they are, without an end mark.
pub(super) fn interface(endian: Endian, link_type: LinkType, snaplen: u32, options: &[u8]) -> Vec<u8> {
    let mut body = Bytes::new(endian);
    body.u16(link_type.0).u16(0).u32(snaplen).raw(options);
    block(endian, 1, &body.out)
}

/// One option, padded.
pub(super) fn option(endian: Endian, code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Bytes::new(endian);
    bytes
        .u16(code)
        .u16(u16::try_from(value.len()).unwrap())
        .raw(value);
    let padded = bytes.out.len().next_multiple_of(4);
    bytes.out.resize(padded, 0);
    bytes.out
}

/// An enhanced packet block, its time in `ticks` of the interface.
pub(super) fn enhanced(endian: Endian, interface: u32, ticks: i64, packet: &RawPacket) -> Vec<u8> {
    let mut body = Bytes::new(endian);
    body.u32(interface).raw(&packet_body(endian, ticks, packet));
    block(endian, 6, &body.out)
}

/// What enhanced and obsolete packet blocks share: time, lengths, data.
pub(super) fn packet_body(endian: Endian, ticks: i64, packet: &RawPacket) -> Vec<u8> {
    let ticks = u64::try_from(ticks).unwrap();
    let mut body = Bytes::new(endian);
    body.u32(u32::try_from(ticks >> 32).unwrap())
        .u32(u32::try_from(ticks & 0xffff_ffff).unwrap());
    body.u32(u32::try_from(packet.data.len()).unwrap())
        .u32(packet.len)
        .raw(&packet.data);
    body.out
}

/// A whole file: one section, one interface, µs.
pub(super) fn ng_file(endian: Endian, packets: &[RawPacket]) -> Vec<u8> {
    let mut file = section(endian);
    file.extend(interface(endian, LinkType::ETHERNET, 0, &[]));
    for packet in packets {
        file.extend(enhanced(endian, 0, packet.timestamp.nanos() / 1_000, packet));
    }
    file
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Files of every format with the same `packets`, which have times of whole µs.
pub(super) fn variants(packets: &[RawPacket]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for endian in [Endian::Little, Endian::Big] {
        for (nanos, modified) in [(false, false), (true, false), (false, true)] {
            let variant = Pcap {
                endian,
                nanos,
                modified,
                ..Pcap::PLAIN
            };
            files.push((format!("{variant:?}"), variant.file(packets)));
        }
        files.push((format!("pcapng {endian:?}"), ng_file(endian, packets)));
    }
    for (name, file) in files.clone() {
        files.push((format!("gzip of {name}"), gzip(&file)));
    }
    files
}

//! Recorded traffic of real programs, repeated.

use std::fs;
use std::io;
use std::path::Path;

use flowtap_flow::packet::{LinkType, Packet};
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::timestamp::Timestamp;

use super::BEGIN;

/// After so many rounds the addresses of the first come again. With the lab's recording, whose round has
/// some hundred flows, this gives several thousand.
const ADDRESS_SETS: u32 = 32;
/// Silence between two recordings.
const PAUSE_NANOS: i64 = 1_000_000_000;

/// Recordings, held in memory.
#[derive(Default)]
pub(crate) struct Mix {
    recordings: Vec<Vec<Recorded>>,
}

struct Recorded {
    /// Nanoseconds since the recording's first packet.
    offset: i64,
    len: u32,
    link_type: LinkType,
    data: Vec<u8>,
    addresses: Option<Addresses>,
}

/// Where the last two bytes of a packet's addresses stand: those of the lower address, and of the other.
#[derive(Clone, Copy)]
struct Addresses {
    lower: usize,
    upper: usize,
}

impl Mix {
    /// Adds the recording in `path`, of any format that flowtap reads.
    pub(crate) fn add(&mut self, path: &Path) -> io::Result<()> {
        let mut packets = Vec::new();
        let mut first = None;
        StreamParser::new(Timestamp::ZERO)
            .push(&fs::read(path)?, &mut |batch: &[Packet<'_>]| {
                for packet in batch {
                    let begin = *first.get_or_insert(packet.timestamp.nanos());
                    packets.push(Recorded {
                        offset: packet.timestamp.nanos() - begin,
                        len: packet.len,
                        link_type: packet.link_type,
                        data: packet.data.to_vec(),
                        addresses: Addresses::of(packet),
                    });
                }
            })
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        self.recordings.push(packets);
        Ok(())
    }

    /// Hands `packets` packets to `emit`: all recordings one after another, again and again, each round with
    /// times and addresses of its own.
    pub(crate) fn generate(&self, packets: u32, mut emit: impl FnMut(&Packet<'_>)) {
        let mut left = packets;
        let mut begin = BEGIN.nanos();
        let mut data = Vec::new();
        for round in 0u32.. {
            for recording in &self.recordings {
                let mut newest = 0;
                for packet in recording {
                    if left == 0 {
                        return;
                    }
                    left -= 1;
                    newest = newest.max(packet.offset);
                    data.clear();
                    data.extend_from_slice(&packet.data);
                    if let Some(addresses) = packet.addresses {
                        addresses.shift(&mut data, (round % ADDRESS_SETS) as u16);
                    }
                    let at = Timestamp::from_nanos(begin + packet.offset);
                    emit(&Packet::new(at, packet.len, packet.link_type, &data));
                }
                begin += newest + PAUSE_NANOS;
            }
            if left == packets {
                // No recording, or only empty ones.
                return;
            }
        }
    }
}

impl Addresses {
    /// Those of an Ethernet frame with IPv4 or IPv6, if both ends are single hosts.
    fn of(packet: &Packet<'_>) -> Option<Self> {
        if packet.link_type != LinkType::ETHERNET {
            return None;
        }
        let mut at = 12;
        while matches!(packet.data.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) {
            at += 4;
        }
        let (source, len) = match packet.data.get(at..at + 2)? {
            [8, 0] => (at + 14, 4),
            [0x86, 0xdd] => (at + 10, 16),
            _ => return None,
        };
        let address = |from: usize| packet.data.get(from..from + len);
        let (a, b) = (address(source)?, address(source + len)?);
        let single = |address: &[u8]| match len {
            4 => (1..224).contains(&address[0]),
            _ => address[0] != 0xff && address.iter().any(|byte| *byte != 0),
        };
        if a == b || !single(a) || !single(b) {
            return None;
        }
        let (a, b) = if a < b {
            (source, source + len)
        } else {
            (source + len, source)
        };
        Some(Self {
            lower: a + len - 2,
            upper: b + len - 2,
        })
    }

    /// Moves the two addresses apart by `distance` each. The sum over both stays the same, and with it
    /// every checksum, also that of a fragment or a packet that was cut.
    fn shift(self, data: &mut [u8], distance: u16) {
        add(data, self.lower, !distance);
        add(data, self.upper, distance);
    }
}

/// Adds in ones' complement (RFC 1071), where `!n` stands for -n.
fn add(data: &mut [u8], at: usize, term: u16) {
    let (sum, carry) = u16::from_be_bytes([data[at], data[at + 1]]).overflowing_add(term);
    data[at..at + 2].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
}

//! pcap files: a header of 24 bytes, then records with headers of 16.

use pcap_file::TsResolution;
use pcap_file::pcap::PcapParser;

use super::error::Damage;
use super::format::{Endian, Format, begins_file};
use super::records::{Batch, Pause};
use super::{MAX_RECORD, MAX_SNAPLEN, wire_len};
use crate::packet::{LinkType, Packet};
use crate::timestamp::Timestamp;

/// The file header's length in bytes.
pub(super) const HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;
/// The modified format adds interface index, protocol, packet type and padding, 8 bytes in all.
const MODIFIED_RECORD_HEADER_LEN: usize = 24;

/// One pcap file, past its header.
#[derive(Debug)]
pub(super) struct Legacy {
    parser: PcapParser,
    modified: Option<Endian>,
    link_type: LinkType,
    nanos_per_tick: i64,
    ticks_per_second: u32,
    /// The most captured bytes that a record may have.
    limit: u32,
}

struct Record<'a> {
    seconds: u32,
    ticks: u32,
    original: u32,
    data: &'a [u8],
    after: &'a [u8],
}

impl Legacy {
    /// Reads the file header, of which all [`HEADER_LEN`] bytes are there.
    pub(super) fn new(header: &[u8; HEADER_LEN], format: Format) -> Result<Self, Damage> {
        let mut header = *header;
        let modified = match format {
            Format::ModifiedPcap(endian) => {
                // The file header is the same but for its magic.
                header[..4].copy_from_slice(&match endian {
                    Endian::Big => 0xa1b2_c3d4u32.to_be_bytes(),
                    Endian::Little => 0xa1b2_c3d4u32.to_le_bytes(),
                });
                Some(endian)
            }
            _ => None,
        };
        let (_, parser) = PcapParser::new(&header).map_err(|_| Damage::Version { major: 0, minor: 0 })?;
        let header = parser.header();
        if header.version_major != 2 {
            return Err(Damage::Version {
                major: header.version_major,
                minor: header.version_minor,
            });
        }
        let (nanos_per_tick, ticks_per_second) = match header.ts_resolution {
            TsResolution::MicroSecond => (1_000, 1_000_000),
            TsResolution::NanoSecond => (1, 1_000_000_000),
        };
        Ok(Self {
            parser,
            modified,
            link_type: LinkType::from_pcap_header(header.datalink.into()),
            nanos_per_tick,
            ticks_per_second,
            // Some writers set a snaplen below the packets that follow; libpcap takes these, too.
            limit: header.snaplen.clamp(MAX_SNAPLEN, MAX_RECORD),
        })
    }

    /// Fills `batch` from the front of `bytes`; gives the bytes used and why it stopped.
    #[inline]
    pub(super) fn fill<'a>(&self, bytes: &'a [u8], batch: &mut Batch<'a>) -> (usize, Pause) {
        let mut rest = bytes;
        let pause = loop {
            if batch.is_full() {
                break Pause::Full;
            }
            let Some(record) = self.next(rest) else {
                break self.examine_cut(rest);
            };
            let captured = record.data.len();
            if self.is_odd(record.ticks, captured, record.original)
                && let Some(pause) = self.examine(rest, captured)
            {
                break pause;
            }
            let nanos =
                i64::from(record.seconds) * 1_000_000_000 + i64::from(record.ticks) * self.nanos_per_tick;
            #[expect(clippy::cast_possible_truncation, reason = "came from 32 bits")]
            let len = wire_len(record.original, captured as u32);
            batch.push(Packet::new(
                Timestamp::from_nanos(nanos),
                len,
                self.link_type,
                record.data,
            ));
            rest = record.after;
        };
        (bytes.len() - rest.len(), pause)
    }

    /// The record at the front, or `None` if it is cut.
    #[inline]
    fn next<'a>(&self, bytes: &'a [u8]) -> Option<Record<'a>> {
        if let Some(endian) = self.modified {
            return modified_record(bytes, endian);
        }
        match self.parser.next_raw_packet(bytes) {
            Ok((after, raw)) => Some(Record {
                seconds: raw.ts_sec,
                ticks: raw.ts_frac,
                original: raw.orig_len,
                data: &bytes[RECORD_HEADER_LEN..bytes.len() - after.len()],
                after,
            }),
            // The raw call checks nothing but that the bytes are there.
            Err(_) => None,
        }
    }

    /// True for what is out of the ordinary: no length or an unlikely one on the wire, less than was
    /// captured, a fraction of a second above one. Also true for all that is beyond the limit.
    #[inline]
    fn is_odd(&self, ticks: u32, captured: usize, original: u32) -> bool {
        original.wrapping_sub(1) >= MAX_SNAPLEN
            || captured > original as usize
            || ticks >= self.ticks_per_second
    }

    /// Looks at an odd record with `captured` bytes: another file, damage, or just odd.
    #[cold]
    fn examine(&self, bytes: &[u8], captured: usize) -> Option<Pause> {
        if begins_file(bytes) {
            return Some(Pause::NewFile);
        }
        let len = u32::try_from(captured).unwrap_or(u32::MAX);
        (len > self.limit).then_some(Pause::Damaged(Damage::PacketLength {
            len,
            limit: self.limit,
        }))
    }

    /// Looks at a record whose end is not there: still to come, or a length that cannot be.
    #[cold]
    fn examine_cut(&self, bytes: &[u8]) -> Pause {
        let header_len = if self.modified.is_some() {
            MODIFIED_RECORD_HEADER_LEN
        } else {
            RECORD_HEADER_LEN
        };
        if bytes.len() < RECORD_HEADER_LEN {
            return Pause::NeedMore(header_len);
        }
        let endian = match self.modified {
            Some(endian) => endian,
            None if self.parser.header().endianness.is_big() => Endian::Big,
            None => Endian::Little,
        };
        let captured = endian.u32(bytes, 8) as usize;
        let more = Pause::NeedMore(header_len + captured);
        if self.is_odd(endian.u32(bytes, 4), captured, endian.u32(bytes, 12)) {
            self.examine(bytes, captured).unwrap_or(more)
        } else {
            more
        }
    }
}

fn modified_record(bytes: &[u8], endian: Endian) -> Option<Record<'_>> {
    let (header, rest) = bytes.split_at_checked(MODIFIED_RECORD_HEADER_LEN)?;
    let (data, after) = rest.split_at_checked(endian.u32(header, 8) as usize)?;
    Some(Record {
        seconds: endian.u32(header, 0),
        ticks: endian.u32(header, 4),
        original: endian.u32(header, 12),
        data,
        after,
    })
}

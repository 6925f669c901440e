//! sFlow v5 on the wire, read in place (sFlow Version 5, July 2004, §5; all integers big-endian, XDR).
//!
//! The promise: no input makes this module panic, allocate, or work for longer than a time linear in
//! the datagram's length. A length is believed only as far as there are bytes. What breaks its format
//! costs itself alone: a record its record, a sample its sample; only when a length that frames its
//! neighbours is wrong do the neighbours behind it go too.

mod datagram;
mod record;

pub use datagram::{CounterSample, Datagram, DiscardedSample, FlowSample, Sample, SourceId};
pub use record::{LagPort, RawHeader, SampledEthernet, SampledIp, extended_timestamp};

use std::fmt;

/// Longest datagram read: a jumbo frame. Agents send 1,400 to 1,500 bytes; what is longer is refused whole.
pub const MAX_DATAGRAM: usize = 9_216;
/// Most samples read of one datagram. A flow sample with a header takes at least 56 bytes, so no
/// well-meant datagram of [`MAX_DATAGRAM`] has more.
pub const MAX_SAMPLES: u32 = 256;
/// Most records read of one sample; the specification knows fewer types than that.
pub const MAX_RECORDS: u32 = 64;

/// What was wrong with a datagram, a sample or a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DecodeError {
    /// Not sFlow version 5: an older version, or NetFlow sent to the wrong port.
    Version,
    /// Shorter than a datagram's header, or an agent address of an unknown type.
    DatagramHeader,
    /// Longer than [`MAX_DATAGRAM`].
    DatagramLength,
    /// A sample reaches past the end of its datagram.
    SampleLength,
    /// More than [`MAX_SAMPLES`].
    SampleLimit,
    /// A sample is shorter than the fields that it must have.
    SampleHeader,
    /// A record reaches past the end of its sample.
    RecordLength,
    /// More than [`MAX_RECORDS`].
    RecordLimit,
    /// A record is shorter than its fields, or a length or text inside it is broken.
    RecordContent,
    /// A sampled header of a protocol that flowtap does not decode.
    HeaderProtocol,
    /// An extended timestamp too far from the clock of this machine to be true.
    Timestamp,
    /// A datagram of a sender that is not on the list.
    NotAllowed,
    /// A datagram of an agent for which there was no room.
    AgentLimit,
    /// A sample of a data source for which there was no room: it counts as its agent's own.
    SourceLimit,
}

impl DecodeError {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Version,
        Self::DatagramHeader,
        Self::DatagramLength,
        Self::SampleLength,
        Self::SampleLimit,
        Self::SampleHeader,
        Self::RecordLength,
        Self::RecordLimit,
        Self::RecordContent,
        Self::HeaderProtocol,
        Self::Timestamp,
        Self::NotAllowed,
        Self::AgentLimit,
        Self::SourceLimit,
    ];

    /// The word used in metrics and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::DatagramHeader => "datagram_header",
            Self::DatagramLength => "datagram_length",
            Self::SampleLength => "sample_length",
            Self::SampleLimit => "sample_limit",
            Self::SampleHeader => "sample_header",
            Self::RecordLength => "record_length",
            Self::RecordLimit => "record_limit",
            Self::RecordContent => "record_content",
            Self::HeaderProtocol => "header_protocol",
            Self::Timestamp => "timestamp",
            Self::NotAllowed => "not_allowed",
            Self::AgentLimit => "agent_limit",
            Self::SourceLimit => "source_limit",
        }
    }
}

/// A `data_format`: what an opaque structure holds. The upper 20 bits name an enterprise (0 is the
/// standard), the lower 12 a structure of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format(pub u32);

impl Format {
    /// `(0,number)`.
    #[must_use]
    pub const fn standard(number: u32) -> Self {
        Self(number & 0xfff)
    }
}

impl fmt::Display for Format {
    /// `enterprise:format`, as `0:1001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 12, self.0 & 0xfff)
    }
}

/// One sample of a datagram, or one record of a sample: its format, and its bytes without padding.
#[derive(Clone, Copy, Debug)]
pub struct Tlv<'a> {
    /// What the bytes are.
    pub format: Format,
    /// The bytes.
    pub body: &'a [u8],
}

/// Walks samples or records. After an error it ends, for nothing tells where the next one begins.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
    claimed: u32,
    room: u32,
    past_end: DecodeError,
    past_limit: DecodeError,
}

impl<'a> Tlvs<'a> {
    fn samples(claimed: u32, rest: &'a [u8]) -> Self {
        let (past_end, past_limit) = (DecodeError::SampleLength, DecodeError::SampleLimit);
        Self {
            rest,
            claimed,
            room: MAX_SAMPLES,
            past_end,
            past_limit,
        }
    }

    fn records(claimed: u32, rest: &'a [u8]) -> Self {
        let (past_end, past_limit) = (DecodeError::RecordLength, DecodeError::RecordLimit);
        Self {
            rest,
            claimed,
            room: MAX_RECORDS,
            past_end,
            past_limit,
        }
    }

    #[inline(always)]
    fn read(&mut self) -> Option<Tlv<'a>> {
        let mut cursor = Cursor(self.rest);
        let format = Format(cursor.u32()?);
        let body = cursor.opaque()?;
        self.rest = cursor.0;
        Some(Tlv { format, body })
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, DecodeError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.claimed = self.claimed.checked_sub(1)?;
        let item = match self.room.checked_sub(1) {
            None => Err(self.past_limit),
            Some(room) => {
                self.room = room;
                self.read().ok_or(self.past_end)
            }
        };
        if item.is_err() {
            self.claimed = 0;
        }
        Some(item)
    }
}

/// Reads XDR from the front of a slice; `None` when there are too few bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    #[inline(always)]
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A MAC address: `opaque[6]`, which XDR pads to 8 bytes.
    fn mac(&mut self) -> Option<[u8; 6]> {
        let [a, b, c, d, e, f, _, _] = self.array::<8>()?;
        Some([a, b, c, d, e, f])
    }

    #[inline(always)]
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// Variable-length bytes: a length, then so many bytes, then zeros up to a multiple of four. The
    /// zeros may be missing at the very end: some agents leave them off, and they hold nothing.
    #[inline(always)]
    pub(super) fn opaque(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let body = self.take(length)?;
        let padding = length.wrapping_neg() & 3;
        self.0 = self.0.get(padding..).unwrap_or_default();
        Some(body)
    }

    /// A string of at most `limit` bytes of UTF-8.
    pub(super) fn string(&mut self, limit: usize) -> Option<&'a str> {
        let bytes = self.opaque()?;
        std::str::from_utf8(bytes).ok().filter(|text| text.len() <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_skips_padding_and_forgives_its_absence_at_the_end() {
        let mut cursor = Cursor(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 9]);
        assert_eq!(cursor.opaque(), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(cursor.0, [9]);
        let mut cut = Cursor(&[0, 0, 0, 5, 1, 2, 3, 4, 5]);
        assert_eq!(cut.opaque(), Some(&[1, 2, 3, 4, 5][..]));
        assert!(cut.0.is_empty());
        assert_eq!(Cursor(&[0, 0, 0, 5, 1, 2, 3, 4]).opaque(), None);
        assert_eq!(Cursor(&[0xff, 0xff, 0xff, 0xff]).opaque(), None);
    }

    #[test]
    fn a_walk_ends_at_its_first_error() {
        let bytes = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 9, 7];
        let walk: Vec<_> = Tlvs::records(u32::MAX, &bytes)
            .map(|tlv| tlv.map(|t| t.format))
            .collect();
        assert_eq!(walk, [Ok(Format(1)), Err(DecodeError::RecordLength)]);
    }

    #[test]
    fn a_walk_ends_at_its_limit() {
        let empties = vec![0u8; 8 * 100];
        let walk: Vec<_> = Tlvs::records(100, &empties).collect();
        assert_eq!(walk.len(), MAX_RECORDS as usize + 1);
        assert_eq!(
            walk.last().and_then(|last| last.err()),
            Some(DecodeError::RecordLimit)
        );
    }

    #[test]
    fn formats_read_as_enterprise_and_number() {
        assert_eq!(Format(4413 << 12 | 3).to_string(), "4413:3");
        assert_eq!(Format::standard(1001).to_string(), "0:1001");
    }
}

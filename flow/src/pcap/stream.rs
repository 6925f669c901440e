//! The parser that callers use: bytes in, packets out.

use std::borrow::Cow;

use super::buffer::READ_SIZE;
use super::error::PcapError;
use super::gzip::Member;
use super::records::{Pass, Records};
use crate::packet::Packet;
use crate::timestamp::Timestamp;

const GZIP_FIRST_BYTE: u8 = 0x1f;

/// Turns a stream of bytes into packets, whatever pieces it comes in.
///
/// The stream is pcap (µs or ns, either byte order, also with the record headers of the modified
/// format), pcapng (sections of either byte order, any number of interfaces) or gzip of these (one
/// or more members), and may hold several files one after another.
///
/// Packets are lent from the parser's buffer; nothing is copied but, once a read, the beginning of
/// the record that the read cut. Memory is 128 KiB, at worst 1 MiB for a packet of that size, and
/// for gzip 192 KiB more.
///
/// Bad input never panics. After an error the stream is lost from there on: drop the parser.
#[derive(Debug)]
pub struct StreamParser {
    pub(super) records: Records,
    /// Set from the first gzip member on: then bytes are read in here, not in the records' buffer.
    compressed: Option<Vec<u8>>,
    layer: Layer,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Layer {
    /// A file as it is.
    Plain,
    /// A gzip member.
    Member(Box<Member>),
    /// Another member, or else a file as it is: a member has just ended.
    BetweenMembers,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Bytes, after decompression, of a record that the end of the stream cut; they are lost.
    pub cut_bytes: u64,
    /// True if the compressed data ended before its own end, or with a wrong checksum.
    pub gzip_cut: bool,
    /// True if there was not one byte.
    pub empty: bool,
}

impl StreamParser {
    /// A parser at the start of a stream. `untimed` is given to packets that carry no time (pcapng
    /// simple packet blocks) before any that does; after that they get the time of the one before.
    #[must_use]
    pub fn new(untimed: Timestamp) -> Self {
        Self {
            records: Records::new(untimed),
            compressed: None,
            layer: Layer::Plain,
        }
    }

    /// Room to read into, never empty; say with [`Self::commit`] how much of it was filled.
    pub fn spare(&mut self) -> &mut [u8] {
        match &mut self.compressed {
            None => self.records.buffer.spare(),
            Some(input) => input,
        }
    }

    /// Takes the first `count` bytes of [`Self::spare`] and hands every packet that is now whole to
    /// `visit`, up to [`BATCH`](crate::packet::BATCH) at a time, in the order of the stream.
    ///
    /// # Errors
    /// [`PcapError::NotACapture`], [`PcapError::Damaged`] or [`PcapError::Gzip`]; all packets before
    /// the fault have been handed out, but for the last 32 KiB before damage inside gzip.
    #[inline]
    pub fn commit(&mut self, count: usize, visit: &mut impl FnMut(&[Packet<'_>])) -> Result<(), PcapError> {
        if let Some(compressed) = &mut self.compressed {
            let input = std::mem::take(compressed);
            let inflated = self.inflate(Cow::Borrowed(&input[..count]), visit);
            self.compressed = Some(input);
            return inflated;
        }
        self.records.buffer.commit(count);
        match self.records.parse(visit)? {
            Pass::NeedMore => Ok(()),
            Pass::Gzip => {
                let unread = self.records.take_unread();
                self.compressed = Some(vec![0; READ_SIZE]);
                self.layer = Layer::BetweenMembers;
                self.inflate(Cow::Owned(unread), visit)
            }
        }
    }

    /// Takes `bytes` and hands every packet that is now whole to `visit`.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn push(&mut self, bytes: &[u8], visit: &mut impl FnMut(&[Packet<'_>])) -> Result<(), PcapError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let spare = self.spare();
            let count = spare.len().min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            self.commit(count, visit)?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Ends the stream and says what was cut off.
    #[must_use]
    pub fn finish(mut self) -> Ending {
        let cut_bytes = self.records.cut_bytes();
        let gzip_cut = match &mut self.layer {
            Layer::Member(member) => !member.is_whole(),
            Layer::Plain | Layer::BetweenMembers => false,
        };
        Ending {
            cut_bytes,
            gzip_cut,
            empty: self.records.offset() + cut_bytes == 0 && self.compressed.is_none(),
        }
    }

    /// Packets whose record was whole but made no sense (a pcapng block that names an unknown
    /// interface), so far. They were passed over.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.records.malformed()
    }

    /// Takes bytes of a stream that has had a gzip member: more members, or plain files after them.
    fn inflate(
        &mut self,
        mut input: Cow<'_, [u8]>,
        visit: &mut impl FnMut(&[Packet<'_>]),
    ) -> Result<(), PcapError> {
        let mut at = 0;
        while let Some(&first) = input.get(at) {
            match &mut self.layer {
                Layer::Member(member) => {
                    let written = member.write(&input[at..]);
                    // What came out before a fault is good, above all where only the checksum is wrong.
                    parse_inflated(member, &mut self.records, visit)?;
                    let taken = written?;
                    if taken == 0 {
                        self.layer = Layer::BetweenMembers;
                    }
                    at += taken;
                }
                Layer::BetweenMembers if first == GZIP_FIRST_BYTE => {
                    self.layer = Layer::Member(Box::default());
                }
                Layer::BetweenMembers => self.layer = Layer::Plain,
                Layer::Plain => {
                    let (taken, pass) = self.records.push(&input[at..], visit)?;
                    at += taken;
                    if pass == Pass::Gzip {
                        let mut rest = self.records.take_unread();
                        rest.extend_from_slice(&input[at..]);
                        (input, at) = (Cow::Owned(rest), 0);
                        self.layer = Layer::BetweenMembers;
                    }
                }
            }
        }
        // What can be inflated now is handed out now: the sender may pause here.
        if let Layer::Member(member) = &mut self.layer {
            let flushed = member.flush();
            parse_inflated(member, &mut self.records, visit)?;
            flushed?;
        }
        Ok(())
    }
}

fn parse_inflated(
    member: &mut Member,
    records: &mut Records,
    visit: &mut impl FnMut(&[Packet<'_>]),
) -> Result<(), PcapError> {
    let (_, pass) = records.push(member.output(), visit)?;
    member.output().clear();
    match pass {
        Pass::NeedMore => Ok(()),
        Pass::Gzip => Err(PcapError::NotACapture {
            found: "gzip inside gzip".to_owned(),
        }),
    }
}

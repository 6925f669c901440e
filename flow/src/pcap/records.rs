//! Packets out of uncompressed bytes: files of any format, one after another.

use arrayvec::ArrayVec;

use super::buffer::Buffer;
use super::error::{Damage, PcapError};
use super::format::{Format, Sniffed, describe, sniff};
use super::legacy::{HEADER_LEN, Legacy};
use super::ng::PcapNg;
use crate::packet::{BATCH, Packet};
use crate::timestamp::Timestamp;

/// Packets on their way to the caller.
pub(super) type Batch<'a> = ArrayVec<Packet<'a>, BATCH>;

/// Why a parser stopped.
#[derive(Debug)]
pub(super) enum Pause {
    /// The batch is full.
    Full,
    /// The record at the front is cut; whole, it has at least so many bytes.
    NeedMore(usize),
    /// Another file begins here.
    NewFile,
    /// The stream cannot be read on from here.
    Damaged(Damage),
}

/// What ended a pass over the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// All whole records are handed out.
    NeedMore,
    /// Where a file should begin, a gzip member does.
    Gzip,
}

#[derive(Debug)]
enum State {
    /// Where a file begins.
    Start,
    Pcap(Legacy),
    PcapNg(PcapNg),
}

/// The parser below the gzip layer.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) buffer: Buffer,
    state: State,
    /// Where the buffer's unread bytes lie in the stream.
    offset: u64,
    untimed: Timestamp,
    malformed: u64,
}

impl Records {
    pub(super) fn new(untimed: Timestamp) -> Self {
        Self {
            buffer: Buffer::new(),
            state: State::Start,
            offset: 0,
            untimed,
            malformed: 0,
        }
    }

    /// Hands out every whole packet in the buffer.
    pub(super) fn parse(&mut self, visit: &mut impl FnMut(&[Packet<'_>])) -> Result<Pass, PcapError> {
        loop {
            let mut batch = Batch::new();
            let (used, pause) = match &mut self.state {
                State::Start => match self.begin()? {
                    None => continue,
                    Some(pass) => return Ok(pass),
                },
                State::Pcap(file) => file.fill(self.buffer.unread(), &mut batch),
                State::PcapNg(file) => file.fill(self.buffer.unread(), &mut batch),
            };
            if !batch.is_empty() {
                visit(&batch);
            }
            drop(batch);
            self.consume(used);
            match pause {
                Pause::Full => {}
                Pause::NeedMore(total) => {
                    self.buffer.expect(total);
                    return Ok(Pass::NeedMore);
                }
                Pause::NewFile => self.end_file(),
                Pause::Damaged(damage) => {
                    return Err(PcapError::Damaged {
                        offset: self.offset,
                        damage,
                    });
                }
            }
        }
    }

    /// Copies `bytes` in and hands out every whole packet; gives the bytes taken, all of them unless
    /// a gzip member begins.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        visit: &mut impl FnMut(&[Packet<'_>]),
    ) -> Result<(usize, Pass), PcapError> {
        let mut taken = 0;
        while taken < bytes.len() {
            let spare = self.buffer.spare();
            let count = spare.len().min(bytes.len() - taken);
            spare[..count].copy_from_slice(&bytes[taken..taken + count]);
            self.buffer.commit(count);
            taken += count;
            if self.parse(visit)? == Pass::Gzip {
                return Ok((taken, Pass::Gzip));
            }
        }
        Ok((taken, Pass::NeedMore))
    }

    /// Reads the beginning of a file, or says why that cannot be done here and now.
    fn begin(&mut self) -> Result<Option<Pass>, PcapError> {
        let unread = self.buffer.unread();
        let format = match sniff(unread) {
            Sniffed::Known(format) => format,
            Sniffed::TooShort => return Ok(Some(Pass::NeedMore)),
            Sniffed::Unknown => {
                return Err(PcapError::NotACapture {
                    found: describe(unread),
                });
            }
        };
        match format {
            Format::Pcap(_) | Format::ModifiedPcap(_) => {
                let Some(header) = unread.first_chunk::<HEADER_LEN>() else {
                    return Ok(Some(Pass::NeedMore));
                };
                let file = Legacy::new(header, format).map_err(|damage| PcapError::Damaged {
                    offset: self.offset,
                    damage,
                })?;
                self.state = State::Pcap(file);
                self.consume(HEADER_LEN);
                Ok(None)
            }
            Format::PcapNg => {
                self.state = State::PcapNg(PcapNg::new(self.untimed));
                Ok(None)
            }
            Format::Gzip => Ok(Some(Pass::Gzip)),
        }
    }

    fn end_file(&mut self) {
        if let State::PcapNg(file) = &self.state {
            self.malformed += file.malformed();
        }
        self.state = State::Start;
    }

    fn consume(&mut self, count: usize) {
        self.buffer.consume(count);
        self.offset += count as u64;
    }

    /// Takes all unread bytes out.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.buffer.unread().to_vec();
        self.buffer.consume(unread.len());
        unread
    }

    /// Packets that were there but could not be read, so far.
    pub(super) fn malformed(&self) -> u64 {
        match &self.state {
            State::PcapNg(file) => self.malformed + file.malformed(),
            State::Start | State::Pcap(_) => self.malformed,
        }
    }

    /// Bytes of the record that is not whole.
    pub(super) fn cut_bytes(&self) -> u64 {
        let skipped = match &self.state {
            State::PcapNg(file) => file.skipped_of_block(),
            State::Start | State::Pcap(_) => 0,
        };
        self.buffer.unread().len() as u64 + skipped
    }

    /// Bytes parsed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

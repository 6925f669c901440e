//! pcapng: blocks of sections (draft-ietf-opsawg-pcapng).
//!
//! `pcap-file` frames the blocks. Their contents are read here, because its block parsers refuse a
//! whole file for what does no harm: options that are not UTF-8 or lack their end mark, a set
//! reserved field, an `if_tzone` of the right length. One bad block costs that block.

use byteorder_slice::{BigEndian, LittleEndian};
use pcap_file::PcapError as FileError;
use pcap_file::pcapng::RawBlock;

use super::error::Damage;
use super::format::{Endian, FILE_EVIDENCE, Sniffed, begins_file, section_endian, sniff};
use super::ng_interface::Interface;
use super::records::{Batch, Pause};
use super::{MAX_RECORD, wire_len};
use crate::packet::Packet;
use crate::timestamp::Timestamp;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// Obsolete, but old files have it.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type, length, length again.
const MIN_BLOCK: u32 = 12;
/// What a block that is skipped may say of its length; more is taken for damage, so that a broken
/// length does not swallow the rest of a stream. Skipped blocks are not buffered.
const MAX_SKIPPED: u32 = 16 << 20;
/// Interfaces of one section: the obsolete packet block can name no more. 40 bytes each.
const MAX_INTERFACES: usize = 1 << 16;

/// One pcapng stream: sections until something else comes.
#[derive(Debug)]
pub(super) struct PcapNg {
    endian: Endian,
    /// By number; `None` where the description could not be read.
    interfaces: Vec<Option<Interface>>,
    /// The time of packets that carry none: that of the packet before.
    latest: Timestamp,
    malformed: u64,
    skip_left: u64,
    skip_done: u64,
}

impl PcapNg {
    /// Begins before the first section header; `untimed` is the time of packets that carry none.
    pub(super) fn new(untimed: Timestamp) -> Self {
        Self {
            endian: Endian::Little,
            interfaces: Vec::new(),
            latest: untimed,
            malformed: 0,
            skip_left: 0,
            skip_done: 0,
        }
    }

    /// Packets whose block was whole but made no sense.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Bytes already skipped of a block that has not ended.
    pub(super) fn skipped_of_block(&self) -> u64 {
        if self.skip_left > 0 { self.skip_done } else { 0 }
    }

    /// Fills `batch` from the front of `bytes`; gives the bytes used and why it stopped.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8], batch: &mut Batch<'a>) -> (usize, Pause) {
        let mut rest = bytes;
        let pause = loop {
            rest = self.skip(rest);
            if batch.is_full() {
                break Pause::Full;
            }
            match self.block(rest, batch) {
                Ok(after) => rest = after,
                Err(pause) => break pause,
            }
        };
        (bytes.len() - rest.len(), pause)
    }

    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let count = usize::try_from(self.skip_left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.skip_left -= count as u64;
        self.skip_done += count as u64;
        &bytes[count..]
    }

    /// Takes the block at the front; gives what follows it.
    fn block<'a>(&mut self, bytes: &'a [u8], batch: &mut Batch<'a>) -> Result<&'a [u8], Pause> {
        if bytes.len() < MIN_BLOCK as usize {
            return Err(Pause::NeedMore(MIN_BLOCK as usize));
        }
        let kind = self.endian.u32(bytes, 0);
        if kind == SECTION_HEADER {
            self.endian = section_endian(bytes).ok_or(damaged("byte-order magic is wrong"))?;
        }
        let len = self.endian.u32(bytes, 4);
        match kind {
            SECTION_HEADER | INTERFACE_DESCRIPTION | PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {}
            _ => return self.begin_skip(bytes, len),
        }
        if len > MAX_RECORD {
            return Err(damaged("length is above 1 MiB"));
        }
        let framed = match self.endian {
            Endian::Big => RawBlock::from_slice::<BigEndian>(bytes),
            Endian::Little => RawBlock::from_slice::<LittleEndian>(bytes),
        };
        let after = match framed {
            Ok((after, _)) => after,
            Err(FileError::IncompleteBuffer) => return Err(Pause::NeedMore(len as usize)),
            Err(_) => return Err(damaged("length is no multiple of 4, or another at its end")),
        };
        let body = &bytes[8..bytes.len() - after.len() - 4];
        match kind {
            SECTION_HEADER => self.begin_section(body)?,
            INTERFACE_DESCRIPTION => self.add_interface(body)?,
            _ => match self.packet(kind, body) {
                Some(packet) => {
                    self.latest = packet.timestamp;
                    batch.push(packet);
                }
                None => self.malformed += 1,
            },
        }
        Ok(after)
    }

    /// Passes over a block that holds no packet. It need not be in the buffer as a whole.
    fn begin_skip<'a>(&mut self, bytes: &'a [u8], len: u32) -> Result<&'a [u8], Pause> {
        let strange = !(MIN_BLOCK..=MAX_SKIPPED).contains(&len) || !len.is_multiple_of(4);
        // A magic number as block type: the length may look well (00020004 is a pcap version).
        if strange || matches!(sniff(bytes), Sniffed::Known(_)) {
            if bytes.len() < FILE_EVIDENCE {
                return Err(Pause::NeedMore(FILE_EVIDENCE));
            }
            if begins_file(bytes) {
                return Err(Pause::NewFile);
            }
        }
        if strange {
            return Err(damaged("length is no multiple of 4, below 12, or above 16 MiB"));
        }
        self.skip_left = u64::from(len);
        self.skip_done = 0;
        Ok(bytes)
    }

    fn begin_section(&mut self, body: &[u8]) -> Result<(), Pause> {
        if body.len() < 16 || self.endian.u16(body, 4) != 1 {
            return Err(damaged("section header is too short or not of version 1"));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn add_interface(&mut self, body: &[u8]) -> Result<(), Pause> {
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(Pause::Damaged(Damage::Interfaces {
                limit: MAX_INTERFACES,
            }));
        }
        self.interfaces.push(Interface::parse(body, self.endian));
        Ok(())
    }

    /// The packet of a block, or `None` if it names no known interface or more bytes than it has.
    #[inline]
    fn packet<'a>(&self, kind: u32, body: &'a [u8]) -> Option<Packet<'a>> {
        let endian = self.endian;
        if kind == SIMPLE_PACKET {
            return self.simple_packet(body);
        }
        let (header, rest) = body.split_at_checked(20)?;
        let id = match kind {
            PACKET => u32::from(endian.u16(header, 0)),
            _ => endian.u32(header, 0),
        };
        let interface = self.interfaces.get(id as usize)?.as_ref()?;
        let ticks = u64::from(endian.u32(header, 4)) << 32 | u64::from(endian.u32(header, 8));
        let captured = endian.u32(header, 12);
        let len = wire_len(endian.u32(header, 16), captured);
        let data = rest.get(..captured as usize)?;
        Some(Packet::new(
            interface.clock.timestamp(ticks),
            len,
            interface.link_type,
            data,
        ))
    }

    /// A simple packet block: of the first interface, without a time, its captured length told only
    /// by the interface's snaplen.
    fn simple_packet<'a>(&self, body: &'a [u8]) -> Option<Packet<'a>> {
        let interface = self.interfaces.first()?.as_ref()?;
        let (header, rest) = body.split_at_checked(4)?;
        let original = self.endian.u32(header, 0);
        let captured = original.min(interface.snaplen);
        let data = &rest[..rest.len().min(captured as usize)];
        let len = wire_len(original, u32::try_from(data.len()).ok()?);
        Some(Packet::new(self.latest, len, interface.link_type, data))
    }
}

fn damaged(what: &'static str) -> Pause {
    Pause::Damaged(Damage::Block(what))
}

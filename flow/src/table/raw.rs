//! Kept packets until a store has them: chunked logs instead of one allocation each.
//!
//! Each group of the table has one log. A record holds where the flow's previous record lies, so a
//! flow keeps one position only. A chunk is given back when the last record in it has been taken.

use bytes::Bytes;

use crate::packet::{LinkType, RawPacket};
use crate::timestamp::Timestamp;

/// Bytes of an ordinary chunk; a larger record gets a chunk of its own.
const CHUNK: usize = 16 << 10;
/// Empty chunks kept for reuse.
const SPARE: usize = 4;
/// Bytes of a record before its packet's bytes.
const HEADER: usize = 32;

/// Where a flow's newest record lies: chunk number + 1 and offset; zero for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    chunk: u32,
    offset: u32,
}

impl Position {
    pub(super) fn is_none(self) -> bool {
        self.chunk == 0
    }
}

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    records: u32,
}

/// The log of one group.
#[derive(Default)]
pub(super) struct RawLog {
    chunks: Vec<Chunk>,
    free: Vec<u32>,
    current: Option<u32>,
    spare: Vec<Vec<u8>>,
}

/// What a record costs, as counted against a capture's byte budget.
pub(super) fn record_len(caplen: usize) -> u64 {
    (HEADER + caplen) as u64
}

/// A packet about to be kept.
pub(super) struct Keep<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) index: u32,
    pub(super) len: u32,
    pub(super) link_type: LinkType,
    pub(super) data: &'a [u8],
}

impl RawLog {
    /// Appends a record after `previous` and returns its position.
    pub(super) fn append(&mut self, previous: Position, packet: &Keep<'_>) -> Position {
        let need = HEADER + packet.data.len();
        let fits = |chunk: &Chunk| chunk.bytes.is_empty() || chunk.bytes.len() + need <= CHUNK;
        let number = match self.current.filter(|n| fits(&self.chunks[*n as usize])) {
            Some(number) => number,
            None => self.new_chunk(need),
        };
        let chunk = &mut self.chunks[number as usize];
        let offset = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        let mut header = [0; HEADER];
        header[0..4].copy_from_slice(&previous.chunk.to_le_bytes());
        header[4..8].copy_from_slice(&previous.offset.to_le_bytes());
        header[8..16].copy_from_slice(&packet.timestamp.nanos().to_le_bytes());
        header[16..20].copy_from_slice(&packet.index.to_le_bytes());
        header[20..24].copy_from_slice(&packet.len.to_le_bytes());
        header[24..28].copy_from_slice(&u32::from(packet.link_type.0).to_le_bytes());
        let caplen = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        header[28..32].copy_from_slice(&caplen.to_le_bytes());
        chunk.bytes.extend_from_slice(&header);
        chunk.bytes.extend_from_slice(packet.data);
        chunk.records += 1;
        Position {
            chunk: number + 1,
            offset,
        }
    }

    fn new_chunk(&mut self, need: usize) -> u32 {
        let bytes = self
            .spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(need.max(CHUNK)));
        let chunk = Chunk { bytes, records: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.chunks[number as usize] = chunk;
                number
            }
            None => {
                self.chunks.push(chunk);
                u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
            }
        };
        // The chunk that was current keeps its records; it is freed when they are taken.
        self.current = Some(number);
        number
    }

    /// The records from `position` back, oldest first, without taking them. Their bytes share one
    /// allocation.
    pub(super) fn read(&self, mut position: Position) -> Vec<RawPacket> {
        let mut records = Vec::new();
        while let Some(record) = self.record(position) {
            position = record.previous();
            records.push(record);
        }
        let mut bytes = Vec::with_capacity(records.iter().map(|record| record.data.len()).sum());
        for record in records.iter().rev() {
            bytes.extend_from_slice(record.data);
        }
        let (bytes, mut at) = (Bytes::from(bytes), 0);
        let packet = |record: &Record<'_>| {
            let data = bytes.slice(at..at + record.data.len());
            at += record.data.len();
            record.packet(data)
        };
        records.iter().rev().map(packet).collect()
    }

    /// Takes the records from `position` back, oldest first: their space is given back.
    pub(super) fn take(&mut self, position: Position) -> Vec<RawPacket> {
        let packets = self.read(position);
        let mut at = position;
        while let Some(previous) = self.record(at).map(|record| record.previous()) {
            self.release(at.chunk - 1);
            at = previous;
        }
        packets
    }

    fn release(&mut self, number: u32) {
        let chunk = &mut self.chunks[number as usize];
        chunk.records -= 1;
        if chunk.records > 0 {
            return;
        }
        let mut bytes = std::mem::take(&mut chunk.bytes);
        if self.current == Some(number) {
            self.current = None;
        }
        self.free.push(number);
        if bytes.capacity() == CHUNK && self.spare.len() < SPARE {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    fn record(&self, position: Position) -> Option<Record<'_>> {
        let chunk = self.chunks.get((position.chunk as usize).checked_sub(1)?)?;
        let (header, rest) = chunk
            .bytes
            .get(position.offset as usize..)?
            .split_first_chunk::<HEADER>()?;
        let data = rest.get(..u32_of(header, 28) as usize)?;
        Some(Record { header, data })
    }
}

/// A record where it lies.
struct Record<'a> {
    header: &'a [u8; HEADER],
    data: &'a [u8],
}

impl Record<'_> {
    fn previous(&self) -> Position {
        Position {
            chunk: u32_of(self.header, 0),
            offset: u32_of(self.header, 4),
        }
    }

    fn packet(&self, data: Bytes) -> RawPacket {
        let mut nanos = [0; 8];
        nanos.copy_from_slice(&self.header[8..16]);
        RawPacket {
            timestamp: Timestamp::from_nanos(i64::from_le_bytes(nanos)),
            index: u32_of(self.header, 16),
            len: u32_of(self.header, 20),
            link_type: LinkType(u16::try_from(u32_of(self.header, 24)).unwrap_or_default()),
            data,
        }
    }
}

fn u32_of(bytes: &[u8; HEADER], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(data: &[u8], index: u32) -> Keep<'_> {
        let timestamp = Timestamp::from_nanos(i64::from(index) * 7 + 1);
        Keep {
            timestamp,
            index,
            len: 1500,
            link_type: LinkType::ETHERNET,
            data,
        }
    }

    #[test]
    fn two_flows_share_chunks_and_give_them_back() {
        let mut log = RawLog::default();
        let big = vec![7; 40_000];
        let (mut a, mut b) = (Position::default(), Position::default());
        for index in 1..=200 {
            a = log.append(a, &keep(&[1; 300], index));
            b = log.append(b, &keep(if index == 3 { &big } else { &[2] }, index));
        }
        let chunks = log.chunks.len();
        let packets = log.read(a);
        assert_eq!(packets.len(), 200);
        assert_eq!(packets[0].index, 1);
        assert_eq!(packets[199].data, vec![1; 300]);
        assert_eq!(packets[199].timestamp.nanos(), 1401);
        assert_eq!(log.take(b)[2].data, big);
        assert_eq!(log.take(a).len(), 200);
        assert!(
            log.chunks
                .iter()
                .all(|chunk| chunk.bytes.is_empty() && chunk.records == 0)
        );
        for index in 1..=200 {
            a = log.append(Position::default(), &keep(&[1; 300], index));
            assert_eq!(log.take(a).len(), 1);
        }
        assert_eq!(log.chunks.len(), chunks, "freed chunks are used again");
    }
}

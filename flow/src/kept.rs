//! Kept packets on their way to the store: chunks of records, in the order in which they came.
//!
//! A reader copies a packet once, from where it was captured to the end of its chunk, which begins at a page of
//! memory; the store hands that memory to the disk as it is. A record is 32 bytes, numbers little endian, and the
//! packet:
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | UUID of the flow |
//! | 8 | 8 | time, ns since the epoch, signed |
//! | 16 | 4 | number of the packet in its flow, from 1 |
//! | 20 | 4 | length on the wire |
//! | 24 | 4 | length of what follows the record |
//! | 28 | 2 | link type |
//! | 30 | 2 | zero |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::flow::FlowId;
use crate::packet::{LinkType, RawPacket};
use crate::query::TimeRange;
use crate::timestamp::Timestamp;

mod page_bytes;

pub use page_bytes::{PAGE, PageBytes};

/// A chunk is handed on when it has so many bytes: some 300 small packets, and few enough that whoever
/// looks for one packet can read them all in 20 µs.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Bytes of a record before its packet's.
const HEADER: usize = 32;

/// Bytes that kept packets of one capture hold until a store has them.
#[derive(Debug, Default)]
pub struct RawBudget {
    used: AtomicU64,
    limit: u64,
}

impl RawBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    /// True if `bytes` more fit.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.used() + bytes <= self.limit
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What a packet of `caplen` bytes costs of a budget.
#[must_use]
pub fn record_len(caplen: usize) -> u64 {
    (HEADER + caplen) as u64
}

/// Kept packets of one reader, oldest first. What it holds counts against its budget from when it is charged
/// until it is dropped.
#[derive(Debug, Default)]
pub struct PacketChunk {
    bytes: PageBytes,
    /// Of its packets' flows; of packets of one flow in a row, one.
    uuids: Vec<FlowId>,
    packets: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    budget: Option<Arc<RawBudget>>,
    /// Bytes that count against it.
    charged: u64,
}

impl PacketChunk {
    /// An empty one. It takes no memory before its first packet.
    #[must_use]
    pub fn new(budget: Option<Arc<RawBudget>>) -> Self {
        Self {
            bytes: PageBytes::default(),
            uuids: Vec::new(),
            packets: 0,
            first: None,
            last: None,
            budget,
            charged: 0,
        }
    }

    /// Appends a packet of the flow `uuid`: its time, its number in the flow, its length on the wire and
    /// the bytes that were captured.
    #[inline]
    pub fn push(
        &mut self,
        uuid: FlowId,
        timestamp: Timestamp,
        index: u32,
        len: u32,
        link_type: LinkType,
        data: &[u8],
    ) {
        if self.packets == 0 {
            // With room for the packet that makes it full, if it is of the ordinary length.
            self.bytes.reserve(CHUNK_BYTES + 4096);
            self.uuids.reserve(CHUNK_BYTES / 256);
        }
        if self.uuids.last() != Some(&uuid) {
            self.uuids.push(uuid);
        }
        let mut header = [0; HEADER];
        header[0..8].copy_from_slice(&uuid.0.to_le_bytes());
        header[8..16].copy_from_slice(&timestamp.nanos().to_le_bytes());
        header[16..20].copy_from_slice(&index.to_le_bytes());
        header[20..24].copy_from_slice(&len.to_le_bytes());
        let caplen = u32::try_from(data.len()).unwrap_or(u32::MAX);
        header[24..28].copy_from_slice(&caplen.to_le_bytes());
        header[28..30].copy_from_slice(&link_type.0.to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(data);
        self.packets += 1;
        // As flows have it: a time before 1970 is none that a query could ask for.
        let time = timestamp.max(Timestamp::ZERO);
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
    }

    /// Bytes that were appended and do not count against the budget yet.
    #[must_use]
    pub fn uncharged(&self) -> u64 {
        self.bytes.len() as u64 - self.charged
    }

    /// Counts what was appended against the budget. Once for many packets: all readers of a capture share the
    /// number.
    pub fn charge(&mut self) {
        let new = self.uncharged();
        self.charged += new;
        if new > 0
            && let Some(budget) = &self.budget
        {
            budget.used.fetch_add(new, Ordering::Relaxed);
        }
    }

    /// Appends a packet as a reader gave it back.
    pub fn push_raw(&mut self, uuid: FlowId, packet: &RawPacket) {
        let RawPacket {
            timestamp,
            index,
            len,
            link_type,
            ref data,
        } = *packet;
        self.push(uuid, timestamp, index, len, link_type, data);
    }

    /// True if it has no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// True if it shall be handed on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    /// The flows of its packets. One may come more than once.
    #[must_use]
    pub fn uuids(&self) -> &[FlowId] {
        &self.uuids
    }

    /// How many packets it has.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// The captured bytes of all its packets.
    #[must_use]
    pub fn captured_bytes(&self) -> u64 {
        self.bytes.len() as u64 - self.packets * HEADER as u64
    }

    /// First and last time of a packet in it, those before 1970 as 1970; `None` if it has none.
    #[must_use]
    pub fn time(&self) -> Option<TimeRange> {
        Some(TimeRange {
            from: self.first?,
            to: self.last?,
        })
    }

    /// The records. They begin at a multiple of [`PAGE`] in memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Takes what there is, and leaves an empty chunk with the same budget.
    #[must_use]
    pub fn take(&mut self) -> Self {
        self.charge();
        let empty = Self::new(self.budget.clone());
        let mut taken = std::mem::replace(self, empty);
        // What is handed over early shall hold no more memory than its budget says.
        if taken.bytes.len() < CHUNK_BYTES / 2 {
            taken.bytes.shrink_to_fit();
            taken.uuids.shrink_to_fit();
        }
        taken
    }
}

impl Drop for PacketChunk {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.charged, Ordering::Relaxed);
        }
    }
}

/// Bytes that are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no kept packets")]
pub struct Damaged;

/// A record where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The flow of the packet.
    pub uuid: FlowId,
    /// When it was seen.
    pub timestamp: Timestamp,
    header: &'a [u8; HEADER],
    data: &'a [u8],
}

impl Record<'_> {
    /// The number of the packet in its flow, from 1.
    #[must_use]
    pub fn index(&self) -> u32 {
        u32_of(self.header, 16)
    }

    /// The packet, copied.
    #[must_use]
    pub fn packet(&self) -> RawPacket {
        RawPacket {
            timestamp: self.timestamp,
            index: self.index(),
            len: u32_of(self.header, 20),
            link_type: LinkType(u16::from_le_bytes([self.header[28], self.header[29]])),
            data: Bytes::copy_from_slice(self.data),
        }
    }
}

/// The records in `bytes`. An `Err` ends them where they are damaged; what precedes it is handed out.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Damaged>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = take_record(&mut rest).ok_or(Damaged);
        if record.is_err() {
            rest = &[];
        }
        Some(record)
    })
}

fn take_record<'a>(rest: &mut &'a [u8]) -> Option<Record<'a>> {
    let (header, after) = rest.split_first_chunk::<HEADER>()?;
    let (data, after) = after.split_at_checked(u32_of(header, 24) as usize)?;
    *rest = after;
    let [uuid, nanos] = [0, 8].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(word)
    });
    Some(Record {
        uuid: FlowId(uuid),
        timestamp: Timestamp::from_nanos(nanos.cast_signed()),
        header,
        data,
    })
}

fn u32_of(bytes: &[u8; HEADER], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet() -> impl Strategy<Value = (u64, RawPacket)> {
        let data = prop::collection::vec(any::<u8>(), 0..80);
        (
            any::<u64>(),
            any::<i64>(),
            any::<u32>(),
            any::<u32>(),
            any::<u16>(),
            data,
        )
            .prop_map(|(uuid, nanos, index, len, link_type, data)| {
                let packet = RawPacket {
                    timestamp: Timestamp::from_nanos(nanos),
                    index,
                    len,
                    link_type: LinkType(link_type),
                    data: data.into(),
                };
                (uuid, packet)
            })
    }

    fn chunk(packets: &[(u64, RawPacket)], budget: Option<Arc<RawBudget>>) -> PacketChunk {
        let mut chunk = PacketChunk::new(budget);
        for (uuid, packet) in packets {
            chunk.push_raw(FlowId(*uuid), packet);
        }
        chunk
    }

    proptest! {
        #[test]
        fn write_then_read(packets in prop::collection::vec(packet(), 0..20), cut in any::<prop::sample::Index>()) {
            let chunk = chunk(&packets, None);
            let read = |bytes| -> Vec<_> {
                let whole = records(bytes).map_while(Result::ok);
                whole.map(|record| (record.uuid.0, record.packet())).collect()
            };
            prop_assert_eq!(&read(chunk.bytes()), &packets);
            let bytes: usize = packets.iter().map(|(_, packet)| packet.data.len()).sum();
            prop_assert_eq!((chunk.packets(), chunk.captured_bytes()), (packets.len() as u64, bytes as u64));
            if !packets.is_empty() {
                let cut = read(&chunk.bytes()[..cut.index(chunk.bytes().len())]);
                prop_assert!(cut.len() < packets.len());
                prop_assert_eq!(&cut[..], &packets[..cut.len()]);
            }
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = records(&bytes).count();
        }
    }

    #[test]
    fn what_is_held_counts_until_it_is_let_go() {
        let budget = Arc::new(RawBudget::new(100));
        let packet = RawPacket {
            timestamp: Timestamp::from_nanos(-5),
            index: 1,
            len: 60,
            link_type: LinkType::ETHERNET,
            data: vec![0; 60].into(),
        };
        let packets = [(1, packet)];
        let held = || chunk(&packets, Some(Arc::clone(&budget)));
        drop(held());
        assert_eq!(budget.used(), 0, "never charged, nothing to give back");
        let mut open = held();
        open.charge();
        open.charge();
        assert_eq!(
            (budget.used(), budget.has_room(8), budget.has_room(9)),
            (92, true, false)
        );
        assert_eq!(open.time().map(|time| time.from), Some(Timestamp::ZERO));
        let taken = open.take();
        assert!(open.is_empty() && open.time().is_none());
        assert_eq!(budget.used(), 92);
        drop(taken);
        assert_eq!(budget.used(), 0);
        let taken = held().take();
        assert_eq!(budget.used(), 92, "what is handed over is charged");
        drop(taken);
        assert_eq!(budget.used(), 0);
    }
}

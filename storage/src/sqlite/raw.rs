//! Raw packets as blobs.
//!
//! A *chunk* holds packets of one flow: index, time in ns (less that of the packet before, zigzag),
//! length on the wire, link type, captured length, captured bytes. The numbers are LEB128 varints.
//! Against pcap records it saves 10 bytes a packet, and it keeps the index, the link type of each
//! packet, and nanoseconds.
//!
//! Most packets come with the first update of their flow, whose row is new then. Such chunks are
//! written side by side in a *group* (table `raw_group`): a row for each would cost as much as the
//! flow itself. Its key is the first of its flows' rows; before each chunk stand the distance of its
//! flow's row from that key, and the chunk's length. Later chunks have rows of their own (table `raw`).

use flowtap_flow::packet::{LinkType, RawPacket};
use flowtap_flow::timestamp::Timestamp;

/// A chunk ends when it is this long, so that a reader of a long capture need not hold all of it.
const CHUNK_BYTES: usize = 256 << 10;
/// A group ends when it is this long: a reader of one flow reads all of its group.
const GROUP_BYTES: usize = 32 << 10;

/// The key of a row of `raw`: the row of `flow` and the index of the chunk's first packet. Rows of a
/// segment stay below 2³¹: a file of its size limit holds far fewer.
pub(super) fn key(flow: i64, index: u32) -> i64 {
    (flow << 32) | i64::from(index)
}

/// Writes packets from the front of `packets` to `chunk`, at least one, and returns the rest.
pub(super) fn encode<'a>(packets: &'a [RawPacket], chunk: &mut Vec<u8>) -> &'a [RawPacket] {
    chunk.clear();
    let mut before = 0i64;
    for (done, packet) in packets.iter().enumerate() {
        if done > 0 && chunk.len() + packet.data.len() > CHUNK_BYTES {
            return &packets[done..];
        }
        let time = packet.timestamp.nanos();
        put(chunk, u64::from(packet.index));
        put(chunk, zigzag(time.wrapping_sub(before)));
        before = time;
        put(chunk, u64::from(packet.len));
        put(chunk, u64::from(packet.link_type.0));
        put(chunk, packet.data.len() as u64);
        chunk.extend_from_slice(&packet.data);
    }
    &[]
}

/// The group being filled.
#[derive(Debug, Default)]
pub(super) struct Group {
    first: i64,
    data: Vec<u8>,
}

impl Group {
    /// Adds the chunk of `flow`, a row later than those before.
    pub(super) fn add(&mut self, flow: i64, chunk: &[u8]) {
        if self.data.is_empty() {
            self.first = flow;
        }
        put(&mut self.data, (flow - self.first).cast_unsigned());
        put(&mut self.data, chunk.len() as u64);
        self.data.extend_from_slice(chunk);
    }

    pub(super) fn is_full(&self) -> bool {
        self.data.len() >= GROUP_BYTES
    }

    /// Key and blob to write, if there is anything.
    pub(super) fn filled(&self) -> Option<(i64, &[u8])> {
        (!self.data.is_empty()).then_some((self.first, &self.data))
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
    }
}

/// Finds the chunk of `flow` in the group with the key `first`. `Err` if the group is damaged.
pub(super) fn find_in_group(first: i64, group: &[u8], flow: i64) -> Result<Option<&[u8]>, Damaged> {
    let mut rest = group;
    while !rest.is_empty() {
        let distance = take(&mut rest).ok_or(Damaged)?;
        let len = take(&mut rest)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(Damaged)?;
        let (chunk, after) = rest.split_at_checked(len).ok_or(Damaged)?;
        if first.checked_add_unsigned(distance) == Some(flow) {
            return Ok(Some(chunk));
        }
        rest = after;
    }
    Ok(None)
}

/// Bytes that no flowtap has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Reads a chunk. An `Err` ends it where it is damaged; what precedes the damage is handed out.
pub(super) fn decode(chunk: &[u8]) -> impl Iterator<Item = Result<RawPacket, Damaged>> + '_ {
    let (mut rest, mut before) = (chunk, 0i64);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let packet = take_packet(&mut rest, &mut before).ok_or(Damaged);
        if packet.is_err() {
            rest = &[];
        }
        Some(packet)
    })
}

fn take_packet(rest: &mut &[u8], before: &mut i64) -> Option<RawPacket> {
    let index = u32::try_from(take(rest)?).ok()?;
    let time = before.wrapping_add(unzigzag(take(rest)?));
    *before = time;
    let len = u32::try_from(take(rest)?).ok()?;
    let link_type = LinkType(u16::try_from(take(rest)?).ok()?);
    let caplen = usize::try_from(take(rest)?).ok()?;
    let (data, after) = rest.split_at_checked(caplen)?;
    *rest = after;
    Some(RawPacket {
        timestamp: Timestamp::from_nanos(time),
        index,
        len,
        link_type,
        data: data.to_vec().into(),
    })
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn chunks(packets: &[RawPacket]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut rest = packets;
        while !rest.is_empty() {
            let mut chunk = Vec::new();
            rest = encode(rest, &mut chunk);
            chunks.push(chunk);
        }
        chunks
    }

    proptest! {
        #[test]
        fn write_then_read(packets in prop::collection::vec(testing::raw_packet(), 0..30)) {
            let read: Result<Vec<_>, _> = chunks(&packets).iter().flat_map(|c| decode(c)).collect();
            prop_assert_eq!(read, Ok(packets));
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes).count();
            let _ = find_in_group(7, &bytes, 9);
        }

        #[test]
        fn a_cut_chunk_gives_what_it_holds(
            packets in prop::collection::vec(testing::raw_packet(), 1..10), cut in any::<prop::sample::Index>(),
        ) {
            let chunk = chunks(&packets).remove(0);
            let cut = &chunk[..cut.index(chunk.len())];
            let read: Vec<_> = decode(cut).collect();
            let whole = read.iter().flatten().count();
            prop_assert!(read.iter().flatten().eq(&packets[..whole]));
            prop_assert!(whole < packets.len());
        }
    }

    #[test]
    fn a_group_finds_its_flows() {
        let mut group = Group::default();
        assert_eq!(group.filled(), None);
        for flow in [100, 101, 300] {
            group.add(flow, format!("chunk {flow}").as_bytes());
        }
        let (first, data) = group.filled().unwrap();
        assert_eq!(first, 100);
        for flow in [100, 101, 300] {
            assert_eq!(
                find_in_group(first, data, flow),
                Ok(Some(format!("chunk {flow}").as_bytes()))
            );
        }
        assert_eq!(find_in_group(first, data, 200), Ok(None));
        assert_eq!(find_in_group(first, &data[..data.len() - 1], 300), Err(Damaged));
    }

    #[test]
    fn long_captures_are_cut() {
        let packet = |index| RawPacket {
            timestamp: Timestamp::from_secs(i64::from(index)),
            index,
            len: 100_000,
            link_type: LinkType::ETHERNET,
            data: vec![7; 100_000].into(),
        };
        let packets: Vec<_> = (1..=7).map(packet).collect();
        let chunks = chunks(&packets);
        assert_eq!(chunks.len(), 4);
        assert!(chunks.iter().all(|c| c.len() <= CHUNK_BYTES));
    }
}

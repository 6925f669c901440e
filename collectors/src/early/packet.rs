//! One packet as it is held.

use bytes::Bytes;
use flowtap_flow::timestamp::Timestamp;

use crate::packet_socket::{Frame, Tag};

/// A packet that was taken from its socket. Copies share the bytes.
#[derive(Clone, Debug)]
pub(crate) struct EarlyPacket {
    pub(crate) timestamp: Timestamp,
    len: u32,
    tag: Option<Tag>,
    direction: u8,
    protocol: u16,
    index: u32,
    data: Bytes,
}

impl EarlyPacket {
    pub(crate) fn new(frame: &Frame<'_>) -> Self {
        Self {
            timestamp: frame.timestamp,
            len: frame.len,
            tag: frame.tag,
            direction: frame.direction,
            protocol: frame.protocol,
            index: frame.index,
            data: Bytes::copy_from_slice(frame.data),
        }
    }

    /// The index of its interface.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// As filters see it, without its tag.
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame {
            timestamp: self.timestamp,
            len: self.len,
            tag: self.tag,
            direction: self.direction,
            protocol: self.protocol,
            index: self.index,
            data: &self.data,
        }
    }

    /// Its length on the wire.
    pub(crate) fn wire_len(&self) -> u32 {
        let tag = if self.tag.is_some() { 4 } else { 0 };
        self.len.saturating_add(tag)
    }

    /// Its bytes as they were on the wire, the tag put back.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut data = self.data.to_vec();
        if let Some(tag) = self.tag.filter(|_| data.len() >= Tag::OFFSET) {
            data.splice(Tag::OFFSET..Tag::OFFSET, tag.bytes());
        }
        data
    }

    /// What it occupies in memory, about.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.data.len()
    }
}

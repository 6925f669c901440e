//! Netlink's framing (RFC 3549 §2.3, `linux/netlink.h`): messages and attributes, in host byte order,
//! each padded to four bytes.
//!
//! Reading is lenient on purpose: a message that is cut or an attribute that has another length than
//! expected is left out, and whatever else stands beside it counts. A kernel that is newer or older
//! than this code must not make an interface invisible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::numbers::{NLA_F_NESTED, NLA_TYPE_MASK, NLM_F_REQUEST};

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// What follows the netlink header.
    pub(super) body: &'a [u8],
}

/// The messages of one datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let body = self.0.get(HEADER..length)?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            body,
        };
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes from a place in a message on: kind (without the flags in it) and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes that `value` is made of.
    pub(super) fn of(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// The attributes that follow a fixed part of `offset` bytes.
    pub(super) fn after(body: &'a [u8], offset: usize) -> Self {
        Self(body.get(padded(offset)..).unwrap_or_default())
    }

    /// The first attribute of this kind.
    pub(super) fn find_kind(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, value)| (found == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// A request that is being put together.
#[derive(Clone, Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        Self(bytes)
    }

    pub(super) fn flags(&self) -> u16 {
        u16_at(&self.0, 6).unwrap_or_default()
    }

    /// Appends a fixed part.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Appends an attribute. None of ours comes near the 64 KiB that one may have.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends an attribute that is made of attributes.
    pub(super) fn nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        self = inner(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// The bytes to send, with the length and `sequence` filled in.
    pub(super) fn sealed(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes
    }

    fn pad(&mut self) {
        self.0.resize(padded(self.0.len()), 0);
    }
}

fn padded(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

pub(super) fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    u32_at(bytes, offset).map(u32::cast_signed)
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

/// Text up to its closing zero byte.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// An address of 4 or 16 bytes.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|sixteen| Ipv6Addr::from(sixteen).into())
}

/// A hardware address as `02:00:00:00:00:01`.
pub(super) fn hardware_address(bytes: &[u8]) -> String {
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.join(":")
}

/// As [`hardware_address`]; `None` if it is all zero, as that of the loopback interface.
pub(super) fn own_address(bytes: &[u8]) -> Option<String> {
    let is_set = bytes.iter().any(|byte| *byte != 0);
    is_set.then(|| hardware_address(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_reads_back_as_it_was_put_together() {
        let request = Request::new(18, 0x300)
            .bytes(&[7; 5])
            .attribute(3, b"eth0\0")
            .nested(18, |inner| inner.attribute(1, b"veth\0").attribute(2, &[]));
        let bytes = [request.sealed(9), request.sealed(10)].concat();
        let messages: Vec<_> = Messages(&bytes).collect();
        assert_eq!(messages.len(), 2);
        let message = messages[1];
        assert_eq!((message.kind, message.flags, message.sequence), (18, 0x301, 10));
        let attributes: Vec<_> = Attributes::after(message.body, 5).collect();
        assert_eq!(attributes[0], (3, &b"eth0\0"[..]));
        assert_eq!(attributes[1].0, 18);
        let inner: Vec<_> = Attributes::of(attributes[1].1).collect();
        assert_eq!(inner, [(1, &b"veth\0"[..]), (2, &[][..])]);
        assert_eq!(attributes.len(), 2);
    }

    #[test]
    fn what_is_cut_ends_the_list() {
        let bytes = Request::new(16, 0).attribute(1, &[1; 8]).sealed(1);
        for end in 0..bytes.len() {
            assert_eq!(Messages(&bytes[..end]).count(), 0, "cut at {end}");
        }
        let body = &bytes[HEADER..];
        for end in 0..body.len() {
            assert_eq!(Attributes::of(&body[..end]).count(), 0, "cut at {end}");
        }
    }

    #[test]
    fn addresses_are_written_as_people_write_them() {
        assert_eq!(own_address(&[2, 0, 0, 0, 0, 1]).unwrap(), "02:00:00:00:00:01");
        assert_eq!(own_address(&[0; 6]), None);
        assert_eq!(hardware_address(&[0; 6]), "00:00:00:00:00:00");
        assert_eq!(ip(&[10, 0, 0, 1]).unwrap().to_string(), "10.0.0.1");
        assert_eq!(ip(&[0; 16]).unwrap().to_string(), "::");
        assert_eq!(ip(&[0; 6]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            for message in Messages(&bytes) {
                for (_, value) in Attributes::after(message.body, 16) {
                    Attributes::of(value).count();
                }
            }
            Attributes::of(&bytes).count();
        }
    }
}

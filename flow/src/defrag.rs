//! IPv4 fragments to whole packets (RFC 791 §3.2), when a capture asks for it.
//!
//! Nothing vanishes: fragments that never become whole are handed back as they came. Fragments that
//! overlap are never put together (as RFC 5722 asks for IPv6), since two readings of one packet is
//! what attackers use them for.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::decode::{Fragment, Part};
use crate::packet::{LinkType, Packet};
use crate::timestamp::Timestamp;

/// How long the rest of a packet is waited for, in packets' time (RFC 1122 §3.3.2: 60 s at most).
const TIMEOUT: Duration = Duration::from_secs(30);
/// Packets waited for at once; the oldest is given up for a further one.
const MAX_PENDING: usize = 1024;
/// Bytes of packets held; the oldest are given up for further ones.
const MAX_BYTES: usize = 64 << 20;
/// Fragments of one packet: 65,535 bytes in pieces of the smallest IPv4 MTU (68 bytes) and some.
const MAX_FRAGMENTS: usize = 1500;
/// The longest payload of an IPv4 packet.
const MAX_PAYLOAD: usize = 65_515;

/// A packet that is kept until its siblings are there.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) timestamp: Timestamp,
    pub(crate) len: u32,
    link_type: LinkType,
    sampling_rate: u32,
    captured: bool,
    data: Vec<u8>,
}

impl Held {
    fn of(packet: &Packet<'_>) -> Self {
        Self {
            timestamp: packet.timestamp,
            len: packet.len,
            link_type: packet.link_type,
            sampling_rate: packet.sampling_rate,
            captured: packet.captured,
            data: packet.data.to_vec(),
        }
    }

    /// The packet as it came.
    pub(crate) fn packet(&self) -> Packet<'_> {
        Packet {
            timestamp: self.timestamp,
            len: self.len,
            link_type: self.link_type,
            sampling_rate: self.sampling_rate,
            captured: self.captured,
            data: &self.data,
        }
    }
}

/// The fragments of one packet, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The packets that carried them.
    pub(crate) packets: Vec<Held>,
    /// What the headers of the first fragment (offset 0), or failing that of the first seen, say.
    pub(crate) part: Part,
    /// The IP protocol of the payload.
    pub(crate) protocol: u8,
    /// Begin, end and whether it is the last: in the payload; one for each packet.
    pieces: Vec<Piece>,
    /// Bytes of payload that have come.
    received: usize,
    broken: bool,
}

impl Datagram {
    /// True if as many bytes have come as the last fragment says there are.
    fn may_be_whole(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| piece.last && piece.end == self.received)
    }

    fn held_bytes(&self) -> usize {
        self.packets.iter().map(|held| held.data.len()).sum()
    }
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    begin: usize,
    end: usize,
    last: bool,
    /// Where the bytes begin in the packet.
    at: usize,
}

impl Datagram {
    /// The payload, if all of it is there.
    pub(crate) fn payload(&self) -> Option<Vec<u8>> {
        if self.broken {
            return None;
        }
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        order.sort_by_key(|i| self.pieces[*i].begin);
        let mut payload = Vec::new();
        let mut complete = false;
        for i in order {
            let piece = self.pieces[i];
            if piece.begin != payload.len() || complete {
                return None;
            }
            payload.extend_from_slice(
                self.packets[i]
                    .data
                    .get(piece.at..piece.at + piece.end - piece.begin)?,
            );
            complete = piece.last;
        }
        complete.then_some(payload)
    }

    fn add(&mut self, fragment: &Fragment, part: &Part, packet: &Packet<'_>) {
        let (at, to) = (fragment.payload.0 as usize, fragment.payload.1 as usize);
        let begin = usize::from(fragment.offset);
        let piece = Piece {
            begin,
            end: begin + to.saturating_sub(at),
            last: !fragment.more,
            at,
        };
        let overlaps = |other: &Piece| piece.begin < other.end && other.begin < piece.end;
        self.broken |=
            piece.end > MAX_PAYLOAD || self.pieces.len() >= MAX_FRAGMENTS || self.pieces.iter().any(overlaps);
        if fragment.offset == 0 {
            self.part = *part;
        }
        self.received += to.saturating_sub(at);
        self.pieces.push(piece);
        self.packets.push(Held::of(packet));
    }
}

/// What identifies the packet that a fragment is of: RFC 791's four fields, and the VLAN, in each of
/// which the same addresses may be other hosts'.
type Id = ((u32, u32), u16, u8, u64);

/// Waits for the fragments of one capture point.
#[derive(Debug, Default)]
pub(crate) struct Defragmenter {
    pending: HashMap<Id, Datagram>,
    /// When each began, oldest first; may name packets that are whole by now.
    order: VecDeque<(Timestamp, Id)>,
    /// Bytes of all packets held.
    bytes: usize,
}

impl Defragmenter {
    /// Takes a fragment in. Returns the packet that it completes, or breaks for good.
    pub(crate) fn push(&mut self, fragment: &Fragment, part: &Part, packet: &Packet<'_>) -> Option<Datagram> {
        let id = (
            fragment.addresses,
            fragment.identification,
            fragment.protocol,
            part.vlan,
        );
        let datagram = self.pending.entry(id).or_insert_with(|| {
            self.order.push_back((packet.timestamp, id));
            let protocol = fragment.protocol;
            Datagram {
                packets: Vec::new(),
                part: *part,
                protocol,
                pieces: Vec::new(),
                received: 0,
                broken: false,
            }
        });
        datagram.add(fragment, part, packet);
        self.bytes += packet.data.len();
        let done = datagram.broken || (datagram.may_be_whole() && datagram.payload().is_some());
        if done { self.take(&id) } else { None }
    }

    fn take(&mut self, id: &Id) -> Option<Datagram> {
        let datagram = self.pending.remove(id)?;
        self.bytes -= datagram.held_bytes();
        Some(datagram)
    }

    /// Takes out a packet that will not become whole: too old at `now`, or one too many.
    pub(crate) fn give_up(&mut self, now: Timestamp) -> Option<Datagram> {
        if self.order.len() > 2 * (self.pending.len() + MAX_PENDING) {
            self.order.retain(|(_, id)| self.pending.contains_key(id));
        }
        while let Some((began, id)) = self.order.front().copied() {
            let too_old = now.since(began) > TIMEOUT;
            if self.pending.contains_key(&id)
                && !too_old
                && self.pending.len() <= MAX_PENDING
                && self.bytes <= MAX_BYTES
            {
                return None;
            }
            self.order.pop_front();
            if let Some(datagram) = self.take(&id) {
                return Some(datagram);
            }
        }
        None
    }

    /// True if nothing is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

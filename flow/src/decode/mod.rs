//! Packet to layers: etherparse's header slices, called one by one, over lent bytes.
//!
//! Promise on bad input: no panic, no allocation by a length that a packet claims, and as much as
//! the bytes hold. A packet cut inside its TCP header still gives its ports; one cut inside its IP
//! header gives its Ethernet layer; one without even that gives no part at all.

mod application;
mod icmp;
mod link;
mod network;
mod part;
mod plain;
mod transport;
mod tunnel;

pub use part::{Fragment, Part, Probe, TcpSegment};

use crate::layers::{Layer, LayersPath};
use crate::packet::{LinkType, Packet};
use crate::point::LayerKeyMode;

/// How deep tunnels may nest: the parts that one packet can give.
pub const MAX_PARTS: usize = 8;

/// What a decoder must know of its capture point.
#[derive(Clone, Debug)]
pub struct DecodeOptions {
    /// The capture point's number, part of every key.
    pub point: u32,
    /// Whether MAC addresses are part of keys.
    pub layer_key_mode: LayerKeyMode,
    /// UDP destination ports whose payload is MPLS: 6635 (RFC 7510) and 51234 (OpenContrail).
    /// Believed only where a label stack with an IP or Ethernet packet behind it follows.
    pub mpls_udp_ports: [u16; 2],
}

impl DecodeOptions {
    /// The options of capture point `point`.
    #[must_use]
    pub fn new(point: u32, layer_key_mode: LayerKeyMode) -> Self {
        Self {
            point,
            layer_key_mode,
            mpls_udp_ports: [6635, 51234],
        }
    }
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Ethernet,
    /// By this EtherType.
    EtherType(u16),
    /// IPv4 or IPv6 by the first nibble.
    Ip,
    /// By this IP protocol number.
    Protocol(u8),
    Mpls,
    /// Nothing more that we read.
    End,
}

/// One packet under decoding.
struct Walk<'a, 'o> {
    options: &'o DecodeOptions,
    /// All captured bytes.
    data: &'a [u8],
    /// Where the next layer begins.
    at: usize,
    /// Where captured bytes of the innermost length field end (padding excluded).
    end: usize,
    /// The packet's length on the wire, from the first byte of `data`.
    wire_len: u32,
    part: Part,
    level: u8,
    done: bool,
}

/// Decodes `packet` and appends one [`Part`] for each flow that it belongs to, outermost first.
/// Appends nothing if not even the first header can be read.
///
/// `index` is the packet's number in its batch, handed on in each part.
pub fn decode(packet: &Packet<'_>, index: u16, options: &DecodeOptions, parts: &mut Vec<Part>) {
    let is_plain =
        plain::decode(packet, index, options, parts) || plain::decode_rarer(packet, index, options, parts);
    if !is_plain {
        walk(packet, index, options, parts);
    }
}

/// Decodes any packet, layer by layer.
#[inline(never)]
fn walk(packet: &Packet<'_>, index: u16, options: &DecodeOptions, parts: &mut Vec<Part>) {
    let (next, at) = link::begin(packet.link_type, packet.data);
    let mut walk = Walk {
        options,
        data: packet.data,
        at,
        end: packet.data.len(),
        wire_len: packet
            .len
            .max(u32::try_from(packet.data.len()).unwrap_or(u32::MAX)),
        part: Part::new(options.point, index, packet.len, packet.link_type),
        level: 0,
        done: false,
    };
    walk.run(next, parts);
}

/// Decodes what stands behind a defragmented IPv4 header: `payload` begins with IP protocol
/// `protocol`, and `part` holds the link and network layers of its first fragment.
pub fn decode_reassembled(
    payload: &[u8],
    protocol: u8,
    part: Part,
    options: &DecodeOptions,
    parts: &mut Vec<Part>,
) {
    let wire_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let level = part.level;
    let mut walk = Walk {
        options,
        data: payload,
        at: 0,
        end: payload.len(),
        wire_len,
        part,
        level,
        done: false,
    };
    walk.part.reopen();
    walk.part.reassembled = true;
    walk.run(Next::Protocol(protocol), parts);
}

impl Walk<'_, '_> {
    fn run(&mut self, mut next: Next, parts: &mut Vec<Part>) {
        loop {
            next = match next {
                Next::Ethernet => self.ethernet(),
                Next::EtherType(ether_type) => self.ether_type(ether_type),
                Next::Ip => self.ip(),
                Next::Protocol(protocol) => self.protocol(protocol, parts),
                Next::Mpls => self.mpls(parts),
                Next::End => break,
            };
        }
        if !self.done {
            self.close(parts);
        }
    }

    /// The bytes from here to the end of the innermost length field.
    fn rest(&self) -> &[u8] {
        self.data.get(self.at..self.end).unwrap_or_default()
    }

    /// Goes on by `bytes`.
    fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.end);
    }

    fn push(&mut self, layer: Layer) -> bool {
        self.part.path.push(layer)
    }

    /// Ends the current part and hands it on, if it holds any layer.
    fn close(&mut self, parts: &mut Vec<Part>) {
        if !self.part.path.is_empty() {
            self.part.finish(self.options.layer_key_mode);
            parts.push(self.part);
        }
        self.done = true;
    }

    /// Ends the current part behind a tunnel's header and begins the next one, whose length is what
    /// remains. `skip` bytes of shim (ERSPAN) count in the length but not in the kept bytes.
    fn split(&mut self, parts: &mut Vec<Part>, skip: usize, next: Next) -> Next {
        self.close(parts);
        // Of this packet alone: `parts` holds those of its whole batch.
        if usize::from(self.level) + 1 >= MAX_PARTS {
            return Next::End;
        }
        self.level += 1;
        self.done = false;
        let len = self
            .wire_len
            .saturating_sub(u32::try_from(self.at).unwrap_or(u32::MAX));
        self.advance(skip);
        let link_type = match next {
            Next::Ethernet => LinkType::ETHERNET,
            _ if self.rest().first().is_some_and(|byte| byte >> 4 == 6) => LinkType::IPV6,
            _ => LinkType::IPV4,
        };
        let mut part = Part::new(self.options.point, self.part.packet, len, link_type);
        part.level = self.level;
        part.reassembled = self.part.reassembled;
        part.offset = u32::try_from(self.at).unwrap_or(u32::MAX);
        part.path = LayersPath::default();
        self.part = part;
        next
    }
}

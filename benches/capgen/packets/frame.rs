//! Ethernet frames with right lengths and checksums.

/// One end of a conversation.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) mac: [u8; 6],
    pub(crate) ip: [u8; 4],
    pub(crate) port: u16,
}

/// Bytes of the headers, without options.
pub(crate) const ETHERNET: usize = 14;
pub(crate) const IPV4: usize = 20;
pub(crate) const UDP: usize = 8;
pub(crate) const TCP: usize = 20;

/// IP protocol numbers.
const IS_TCP: u8 = 6;
const IS_UDP: u8 = 17;

/// A frame under construction; its buffer is used again for the next one.
#[derive(Default)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    /// UDP over IPv4.
    pub(crate) fn udp(&mut self, from: &Endpoint, to: &Endpoint, payload: &[u8]) -> &[u8] {
        self.ipv4(from, to, IS_UDP, UDP + payload.len());
        let at = self.ports(from, to);
        self.bytes
            .extend_from_slice(&((UDP + payload.len()) as u16).to_be_bytes());
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(payload);
        self.checksum(at, 4, IS_UDP, 6);
        &self.bytes
    }

    /// A TCP segment of zeros over IPv4, filled up to Ethernet's minimum of 60 bytes.
    pub(crate) fn tcp(&mut self, from: &Endpoint, to: &Endpoint, segment: &Segment) -> &[u8] {
        self.ipv4(from, to, IS_TCP, TCP + segment.payload_len);
        self.segment(from, to, segment, 4);
        self.bytes.resize(self.bytes.len().max(60), 0);
        &self.bytes
    }

    /// Ethernet and IPv4 headers before `len` bytes of `protocol`.
    pub(crate) fn ipv4(&mut self, from: &Endpoint, to: &Endpoint, protocol: u8, len: usize) {
        self.ethernet(from, to, 0x0800);
        self.bytes.extend_from_slice(&[0x45, 0]);
        self.bytes.extend_from_slice(&((IPV4 + len) as u16).to_be_bytes());
        self.bytes.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
        self.bytes.extend_from_slice(&from.ip);
        self.bytes.extend_from_slice(&to.ip);
        let checksum = !sum(&self.bytes[ETHERNET..], 0);
        self.bytes[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum.to_be_bytes());
    }

    pub(crate) fn ethernet(&mut self, from: &Endpoint, to: &Endpoint, ether_type: u16) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&to.mac);
        self.bytes.extend_from_slice(&from.mac);
        self.bytes.extend_from_slice(&ether_type.to_be_bytes());
    }

    /// A TCP header and payload behind IP addresses of `address_len` bytes each.
    pub(crate) fn segment(&mut self, from: &Endpoint, to: &Endpoint, segment: &Segment, address_len: usize) {
        let at = self.ports(from, to);
        self.bytes.extend_from_slice(&segment.sequence.to_be_bytes());
        self.bytes.extend_from_slice(&segment.acknowledged.to_be_bytes());
        self.bytes
            .extend_from_slice(&[5 << 4, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.bytes.resize(at + TCP + segment.payload_len, 0);
        self.checksum(at, address_len, IS_TCP, 16);
    }

    /// Appends both ports; gives where they stand.
    fn ports(&mut self, from: &Endpoint, to: &Endpoint) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&from.port.to_be_bytes());
        self.bytes.extend_from_slice(&to.port.to_be_bytes());
        at
    }

    /// Fills in the checksum that stands `offset` bytes behind the transport header at `at`, over everything
    /// from there, and over the two IP addresses that stand right before it.
    fn checksum(&mut self, at: usize, address_len: usize, protocol: u8, offset: usize) {
        let len = (self.bytes.len() - at) as u16;
        let pseudo = sum(
            &self.bytes[at - 2 * address_len..at],
            len.wrapping_add(u16::from(protocol)),
        );
        let checksum = !sum(&self.bytes[at..], pseudo);
        self.bytes[at + offset..at + offset + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// What is in a TCP segment.
#[derive(Default)]
pub(crate) struct Segment {
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: u8,
    pub(crate) payload_len: usize,
}

impl Segment {
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
}

/// The ones' complement sum of RFC 1071, going on from `start`.
fn sum(bytes: &[u8], start: u16) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut total = words.fold(u32::from(start), |total, word| total + word);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

//! The flow table's key: compact, symmetric, eight machine words.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use crate::flow::{FlowId, IcmpType, MacAddr};

/// What stands where a key keeps ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Nothing: ARP, fragments, IP protocols without ports.
    None,
    /// Two ports of this IP protocol (6, 17 or 132).
    Ports(u8),
    /// The outer flow of a VXLAN or Geneve tunnel: VNI and destination port, never swapped.
    Tunnel,
    /// Skydive's ICMP kind, code and id.
    Icmp,
}

/// Which two packets belong to one flow: A→B and B→A have equal keys.
///
/// The endpoints are in canonical order ("first", "second"); whether a packet goes from first to
/// second is told beside the key. Layout, eight `u64` in host order:
///
/// | word | bits |
/// |---|---|
/// | 0, 1 | first address, big endian (IPv4 in the upper half of word 0) |
/// | 2, 3 | second address |
/// | 4 | first MAC << 16, first port (or ICMP kind << 8 and code, or tunnel port) |
/// | 5 | second MAC << 16, second port (or ICMP id, or lower 16 bits of the VNI) |
/// | 6 | UUID of the flow that carries this one, 0 if none |
/// | 7 | capture point << 32, upper 8 bits of the VNI << 24, protocol << 8, flags |
#[derive(Clone, Copy, Debug, Eq)]
pub struct FlowKey([u64; 8]);

impl PartialEq for FlowKey {
    /// A derived comparison becomes a call of `memcmp`, which costs more than the comparison itself. Ports and
    /// MAC addresses tell most pairs of flows apart; then come all words at once.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let difference = |words: Range<usize>| {
            let pairs = self.0[words.clone()].iter().zip(&other.0[words]);
            pairs.fold(0, |difference, (a, b)| difference | (a ^ b))
        };
        difference(4..6) == 0 && difference(0..4) | difference(6..8) == 0
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Two words at a time: ahash multiplies those with each other, and the products are independent.
        for pair in self.0.chunks_exact(2) {
            state.write_u128(u128::from(pair[0]) << 64 | u128::from(pair[1]));
        }
    }
}

const HAS_MACS: u64 = 1;
const IPV4: u64 = 2;
const IPV6: u64 = 4;
const KIND_PORTS: u64 = 8;
const KIND_TUNNEL: u64 = 16;
const KIND_ICMP: u64 = 32;
const KINDS: u64 = KIND_PORTS | KIND_TUNNEL | KIND_ICMP;
/// The bits of words 4 and 5 that hold a MAC address.
const MAC: u64 = !0xffff;

fn low_16(word: u64) -> u16 {
    u16::try_from(word & 0xffff).unwrap_or_default()
}

fn mac_word(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([a, b, c, d, e, f, 0, 0])
}

fn word_mac(word: u64) -> MacAddr {
    let [a, b, c, d, e, f, _, _] = word.to_be_bytes();
    MacAddr([a, b, c, d, e, f])
}

impl FlowKey {
    /// A key of nothing but its capture point.
    #[must_use]
    pub fn new(point: u32) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, u64::from(point) << 32])
    }

    /// The words, for hashing.
    #[must_use]
    pub fn words(&self) -> &[u64; 8] {
        &self.0
    }

    /// The key of most packets, in canonical order, and whether that is the other way round: what the setters
    /// and [`Self::canonicalize`] give, in fewer steps. All take source before destination; a MAC address,
    /// if it is part of the key, stands in the upper 48 bits of a word, whose others are of no account.
    #[inline(always)]
    #[must_use]
    pub fn of_ports_over_ipv4(
        point: u32,
        macs: Option<(u64, u64)>,
        addresses: (u32, u32),
        protocol: u8,
        ports: (u16, u16),
    ) -> (Self, bool) {
        let has_macs = if macs.is_some() { HAS_MACS } else { 0 };
        let (a_mac, b_mac) = macs.unwrap_or_default();
        let end = |mac: u64, address: u32, port: u16| {
            let (address, port) = (u64::from(address), u64::from(port));
            let order = u128::from(mac & MAC) << 64 | u128::from(address << 16 | port);
            (address << 32, mac & MAC | port, order)
        };
        let (a0, a4, a) = end(a_mac, addresses.0, ports.0);
        let (b0, b4, b) = end(b_mac, addresses.1, ports.1);
        let swapped = a > b;
        // Which way a packet goes cannot be foretold: there is no branch for that.
        let mask = u64::from(swapped).wrapping_neg();
        let (exchange_0, exchange_4) = ((a0 ^ b0) & mask, (a4 ^ b4) & mask);
        let kind = has_macs | IPV4 | KIND_PORTS | u64::from(protocol) << 8;
        let key = Self([
            a0 ^ exchange_0,
            0,
            b0 ^ exchange_0,
            0,
            a4 ^ exchange_4,
            b4 ^ exchange_4,
            0,
            u64::from(point) << 32 | kind,
        ]);
        (key, swapped)
    }

    /// Sets the MAC addresses. This setter and the others take source before destination;
    /// [`Self::canonicalize`] puts them in order.
    pub fn set_macs(&mut self, first: MacAddr, second: MacAddr) {
        self.0[4] |= mac_word(first);
        self.0[5] |= mac_word(second);
        self.0[7] |= HAS_MACS;
    }

    /// Sets IPv4 addresses.
    #[inline]
    pub fn set_ipv4(&mut self, first: u32, second: u32) {
        self.0[0] = u64::from(first) << 32;
        self.0[2] = u64::from(second) << 32;
        self.0[7] |= IPV4;
    }

    /// Sets IPv6 addresses.
    pub fn set_ipv6(&mut self, first: u128, second: u128) {
        let halves = |address: u128| {
            let bytes = address.to_be_bytes();
            let half = |at: usize| bytes[at..at + 8].iter().fold(0, |w, b| w << 8 | u64::from(*b));
            (half(0), half(8))
        };
        (self.0[0], self.0[1]) = halves(first);
        (self.0[2], self.0[3]) = halves(second);
        self.0[7] |= IPV6;
    }

    /// Sets the ports of IP protocol `protocol`.
    #[inline]
    pub fn set_ports(&mut self, protocol: u8, first: u16, second: u16) {
        self.clear_kind();
        self.0[4] |= u64::from(first);
        self.0[5] |= u64::from(second);
        self.0[7] |= KIND_PORTS | u64::from(protocol) << 8;
    }

    /// Sets VNI (24 bits) and destination port of a tunnel over UDP.
    pub fn set_tunnel(&mut self, vni: u32, port: u16) {
        self.clear_kind();
        self.0[4] |= u64::from(port);
        self.0[5] |= u64::from(vni & 0xffff);
        self.0[7] |= KIND_TUNNEL | 17 << 8 | u64::from(vni >> 16 & 0xff) << 24;
    }

    /// Sets an ICMP message.
    pub fn set_icmp(&mut self, kind: IcmpType, code: u8, id: u16) {
        self.clear_kind();
        self.0[4] |= u64::from(kind as u8) << 8 | u64::from(code);
        self.0[5] |= u64::from(id);
        self.0[7] |= KIND_ICMP;
    }

    fn clear_kind(&mut self) {
        self.0[4] &= MAC;
        self.0[5] &= MAC;
        self.0[7] &= !(KINDS | 0xffff << 8 | 0xff << 24);
    }

    /// Takes the MAC addresses out, and puts the IP addresses the other way round if `swapped`: the
    /// source first, as the setters want it.
    pub fn reopen(&mut self, swapped: bool) {
        if swapped {
            self.0[..4].rotate_left(2);
        }
        self.clear_kind();
        self.0[4] = 0;
        self.0[5] = 0;
        self.0[7] &= !HAS_MACS;
    }

    /// Puts the endpoints in canonical order: by MAC address, by IP address if those are equal or not
    /// there, by port if those are equal too. True if they were the other way round. Endpoints that
    /// cannot be told apart are left, unless `answer` says that the packet goes back.
    #[inline]
    pub fn canonicalize(&mut self, answer: bool) -> bool {
        let [a0, a1, b0, b1, a4, b4, ..] = self.0;
        let has_ports = self.0[7] & KIND_PORTS != 0;
        let ports = if has_ports { 0xffff } else { 0 };
        // Which of these tells can be foretold; which way a packet goes cannot: there is no branch for that.
        let (a_mac, b_mac) = (a4 & MAC, b4 & MAC);
        let swapped = if a_mac != b_mac {
            a_mac > b_mac
        } else if a0 != b0 {
            a0 > b0
        } else {
            let (a, b) = ((a1, a4 & ports), (b1, b4 & ports));
            a > b || answer && a == b
        };
        let mask = if swapped { !0 } else { 0 };
        // What stands in place of ports has no direction.
        let moved = mask & (MAC | ports);
        for (first, second, mask) in [(0, 2, mask), (1, 3, mask), (4, 5, moved)] {
            let exchange = (self.0[first] ^ self.0[second]) & mask;
            self.0[first] ^= exchange;
            self.0[second] ^= exchange;
        }
        swapped
    }

    /// Sets the flow that carries this one.
    pub fn set_parent(&mut self, parent: FlowId) {
        self.0[6] = parent.0;
    }

    /// The capture point's number.
    #[must_use]
    pub fn point(&self) -> u32 {
        u32::try_from(self.0[7] >> 32).unwrap_or_default()
    }

    /// 4, 6, or 0 if there is no IP layer.
    #[must_use]
    pub fn ip_version(&self) -> u8 {
        match self.0[7] & (IPV4 | IPV6) {
            IPV4 => 4,
            IPV6 => 6,
            _ => 0,
        }
    }

    /// Both addresses in network order; IPv4 in the first four bytes.
    #[must_use]
    pub fn addresses(&self) -> ([u8; 16], [u8; 16]) {
        let join = |high: u64, low: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&high.to_be_bytes());
            bytes[8..].copy_from_slice(&low.to_be_bytes());
            bytes
        };
        (join(self.0[0], self.0[1]), join(self.0[2], self.0[3]))
    }

    /// Both MAC addresses, if they are part of the key.
    #[must_use]
    pub fn macs(&self) -> Option<(MacAddr, MacAddr)> {
        (self.0[7] & HAS_MACS != 0).then(|| (word_mac(self.0[4]), word_mac(self.0[5])))
    }

    /// What stands in place of the ports.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match self.0[7] & KINDS {
            KIND_PORTS => KeyKind::Ports(u8::try_from(self.0[7] >> 8 & 0xff).unwrap_or_default()),
            KIND_TUNNEL => KeyKind::Tunnel,
            KIND_ICMP => KeyKind::Icmp,
            _ => KeyKind::None,
        }
    }

    /// Both ports, in canonical order.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        (low_16(self.0[4]), low_16(self.0[5]))
    }

    /// The VNI.
    #[must_use]
    pub fn tunnel_id(&self) -> u32 {
        u32::from(low_16(self.0[5])) | u32::try_from(self.0[7] >> 24 & 0xff).unwrap_or_default() << 16
    }

    /// The destination port of the tunnel.
    #[must_use]
    pub fn tunnel_port(&self) -> u16 {
        low_16(self.0[4])
    }

    /// Kind, code and id.
    #[must_use]
    pub fn icmp(&self) -> (IcmpType, u8, u16) {
        let [kind, code] = low_16(self.0[4]).to_be_bytes();
        (IcmpType::from_number(kind), code, low_16(self.0[5]))
    }

    /// The flow that carries this one, or [`FlowId::NONE`].
    #[must_use]
    pub fn parent(&self) -> FlowId {
        FlowId(self.0[6])
    }
}

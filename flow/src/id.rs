//! Skydive's flow identifiers, bit for bit: TrackingID, L3TrackingID, table key and UUID.
//!
//! Skydive feeds one streaming xxHash64 with the flow's endpoints and reads a digest at three
//! points. Its hash library multiplies the four lane accumulators by a prime in place whenever a
//! digest is read after 32 bytes or more, so that later digests depend on earlier reads. Identifiers
//! must equal Skydive's for old and new agents to be mixed, hence the same fault here.

use crate::flow::{FlowId, IcmpType, MacAddr};
use crate::key::{FlowKey, KeyKind};

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

/// A streaming xxHash64 whose [`digest`](Self::digest) changes the state as Skydive's library does.
struct Xx64 {
    seed: u64,
    lanes: [u64; 4],
    total: u64,
    buffer: [u8; 32],
    used: usize,
}

fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(PRIME_2))
        .rotate_left(31)
        .wrapping_mul(PRIME_1)
}

impl Xx64 {
    fn new(seed: u64) -> Self {
        let lanes = [
            seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2),
            seed.wrapping_add(PRIME_2),
            seed,
            seed.wrapping_sub(PRIME_1),
        ];
        Self {
            seed,
            lanes,
            total: 0,
            buffer: [0; 32],
            used: 0,
        }
    }

    fn write(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        while !bytes.is_empty() {
            let take = bytes.len().min(32 - self.used);
            let (head, rest) = bytes.split_at(take);
            self.buffer[self.used..self.used + take].copy_from_slice(head);
            self.used += take;
            bytes = rest;
            if self.used == 32 {
                self.empty_buffer();
            }
        }
    }

    /// Takes the full buffer in.
    fn empty_buffer(&mut self) {
        let (words, _) = self.buffer.as_chunks::<8>();
        for (lane, input) in self.lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*input));
        }
        self.used = 0;
    }

    /// As [`Self::write`], of a length known at compile time: most pieces are two to eight bytes long,
    /// and a copy of unknown length costs more than hashing it.
    #[inline]
    fn write_piece<const N: usize>(&mut self, bytes: [u8; N]) {
        match self.buffer.get_mut(self.used..self.used + N) {
            Some(room) if self.used + N < 32 => {
                room.copy_from_slice(&bytes);
                self.used += N;
                self.total += N as u64;
            }
            _ => self.write(&bytes),
        }
    }

    /// What a read leaves behind: the library's fault is that part of the finalisation stays in the state.
    fn was_read(&mut self) {
        if self.total >= 32 {
            for lane in &mut self.lanes {
                *lane = lane.wrapping_mul(PRIME_2);
            }
        }
    }

    fn digest(&mut self) -> u64 {
        let [a, b, c, d] = self.lanes;
        self.was_read();
        let mut hash = if self.total >= 32 {
            let mut hash = a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18));
            for lane in self.lanes {
                let merged = lane.rotate_left(31).wrapping_mul(PRIME_1);
                hash = (hash ^ merged).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
            }
            hash
        } else {
            self.seed.wrapping_add(PRIME_5)
        };
        hash = hash.wrapping_add(self.total);
        let (words, mut rest) = self.buffer[..self.used].as_chunks::<8>();
        for word in words {
            hash ^= round(0, u64::from_le_bytes(*word));
            hash = hash.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        }
        if let Some((head, tail)) = rest.split_first_chunk::<4>() {
            hash ^= u64::from(u32::from_le_bytes(*head)).wrapping_mul(PRIME_1);
            hash = hash.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
            rest = tail;
        }
        for byte in rest {
            hash ^= u64::from(*byte).wrapping_mul(PRIME_5);
            hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
        }
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(PRIME_2);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(PRIME_3);
        hash ^ hash >> 32
    }
}

/// Endpoint types of Skydive's recipe, written as 8 bytes big endian after each pair.
mod endpoint {
    pub(super) const NONE: u64 = 0;
    pub(super) const IPV4: u64 = 1;
    pub(super) const IPV6: u64 = 2;
    pub(super) const MAC: u64 = 3;
    pub(super) const TCP: u64 = 4;
    pub(super) const UDP: u64 = 5;
    pub(super) const SCTP: u64 = 6;

    /// Of ports of this IP protocol.
    pub(super) fn of_protocol(number: u8) -> u64 {
        match number {
            6 => TCP,
            17 => UDP,
            _ => SCTP,
        }
    }
}

/// `UUID` of the flow with `key` that began `start` milliseconds after the epoch at the node `node_tid`.
#[must_use]
pub fn flow_uuid(key: &FlowKey, start: i64, node_tid: &str) -> FlowId {
    let mut hash = network_hash(key);
    hash.was_read();
    if add_macs(&mut hash, key) {
        hash.was_read();
    }
    let parent = key.parent();
    if parent != FlowId::NONE {
        hash.write(parent.to_string().as_bytes());
    }
    let mut uuid = Xx64::new(hash.digest());
    uuid.write_piece(start.to_be_bytes());
    uuid.write(node_tid.as_bytes());
    FlowId(uuid.digest())
}

/// `TrackingID` and `L3TrackingID` of a flow with `key`, whenever it began.
#[must_use]
pub fn tracking_ids(key: &FlowKey) -> (FlowId, FlowId) {
    let mut hash = network_hash(key);
    let l3_tracking_id = FlowId(hash.digest());
    // Without MAC addresses no second read happens, which matters for what follows.
    if add_macs(&mut hash, key) {
        (FlowId(hash.digest()), l3_tracking_id)
    } else {
        (l3_tracking_id, l3_tracking_id)
    }
}

/// Writes the MAC addresses of `key`; false if it has none.
fn add_macs(hash: &mut Xx64, key: &FlowKey) -> bool {
    let Some((first, second)) = key.macs() else {
        return false;
    };
    if hash.used == PORTS_OVER_IPV4 && hash.total == PORTS_OVER_IPV4 as u64 {
        hash.add_macs_to_ports(first, second);
    } else {
        hash.write_piece(first.0);
        hash.write_piece(second.0);
        hash.write_piece(endpoint::MAC.to_be_bytes());
    }
    true
}

/// Bytes that addresses and ports over IPv4 are: both pairs, each with its type.
const PORTS_OVER_IPV4: usize = 28;

/// What nearly all flows are made of, as the numbers that are hashed: piece by piece it costs three times as much,
/// and a number that is read where smaller pieces were just written waits for all of them. A test holds
/// the two equal.
impl Xx64 {
    /// What [`Self::write_piece`] makes of two IPv4 addresses, two ports, and their types.
    fn of_ports_over_ipv4(addresses: ([u8; 16], [u8; 16]), protocol: u8, ports: (u16, u16)) -> Self {
        let v4 = |[a, b, c, d, ..]: [u8; 16]| u64::from(u32::from_le_bytes([a, b, c, d]));
        let port = |port: u16| u64::from(port.swap_bytes());
        let kind = endpoint::of_protocol(protocol).swap_bytes();
        let mut hash = Self::new(0);
        hash.put_words([
            v4(addresses.0) | v4(addresses.1) << 32,
            endpoint::IPV4.swap_bytes(),
            port(ports.0) | port(ports.1) << 16 | kind << 32,
            kind >> 32,
        ]);
        (hash.used, hash.total) = (PORTS_OVER_IPV4, PORTS_OVER_IPV4 as u64);
        hash
    }

    /// Puts numbers into the buffer, from its begin on.
    fn put_words<const N: usize>(&mut self, numbers: [u64; N]) {
        let (words, _) = self.buffer.as_chunks_mut::<8>();
        for (word, number) in words.iter_mut().zip(numbers) {
            *word = number.to_le_bytes();
        }
    }

    /// Adds two MAC addresses and their type to that.
    fn add_macs_to_ports(&mut self, first: MacAddr, second: MacAddr) {
        let number = |MacAddr([a, b, c, d, e, f])| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let (first, second) = (number(first), number(second));
        let (words, _) = self.buffer.as_chunks_mut::<8>();
        words[3] = (u64::from_le_bytes(words[3]) | first << 32).to_le_bytes();
        self.empty_buffer();
        self.put_words([first >> 32 | second << 16, endpoint::MAC.swap_bytes()]);
        (self.used, self.total) = (16, PORTS_OVER_IPV4 as u64 + 20);
    }
}

/// The hash of what stands above the link layer.
fn network_hash(key: &FlowKey) -> Xx64 {
    if let (4, KeyKind::Ports(protocol)) = (key.ip_version(), key.kind()) {
        return Xx64::of_ports_over_ipv4(key.addresses(), protocol, key.ports());
    }
    piecewise(key)
}

fn piecewise(key: &FlowKey) -> Xx64 {
    let mut hash = Xx64::new(0);
    let (first, second) = key.addresses();
    let v4 = |address: [u8; 16]| [address[0], address[1], address[2], address[3]];
    match key.ip_version() {
        4 => {
            hash.write_piece(v4(first));
            hash.write_piece(v4(second));
            hash.write_piece(endpoint::IPV4.to_be_bytes());
        }
        6 => {
            hash.write_piece(first);
            hash.write_piece(second);
            hash.write_piece(endpoint::IPV6.to_be_bytes());
        }
        _ => {}
    }
    match key.kind() {
        KeyKind::Ports(protocol) => {
            let (first, second) = key.ports();
            hash.write_piece(first.to_be_bytes());
            hash.write_piece(second.to_be_bytes());
            hash.write_piece(endpoint::of_protocol(protocol).to_be_bytes());
        }
        KeyKind::Tunnel => {
            hash.write_piece(key.tunnel_id().to_be_bytes());
            hash.write_piece(key.tunnel_port().to_be_bytes());
            hash.write_piece(endpoint::NONE.to_be_bytes());
        }
        KeyKind::Icmp => {
            let (kind, code, id) = key.icmp();
            let kind: IcmpType = kind;
            let word = u32::from(kind as u8) << 24 | u32::from(code) << 16 | u32::from(id);
            hash.write_piece(word.to_be_bytes());
            hash.write_piece(endpoint::NONE.to_be_bytes());
        }
        KeyKind::None => {}
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_xxh64_of_nothing_and_of_text() {
        assert_eq!(Xx64::new(0).digest(), 0xef46_db37_51d8_e999);
        let mut hash = Xx64::new(0);
        hash.write(b"Nobody inspects the spammish repetition");
        assert_eq!(hash.digest(), 0xfbce_a83c_8a37_8bf1);
    }

    proptest::proptest! {
        #[test]
        fn as_a_whole_or_piece_by_piece(
            addresses: (u32, u32),
            ports: (u16, u16),
            macs: ([u8; 6], [u8; 6]),
            protocol in proptest::sample::select(vec![6u8, 17, 132]),
        ) {
            let mut key = FlowKey::new(1);
            key.set_ipv4(addresses.0, addresses.1);
            key.set_ports(protocol, ports.0, ports.1);
            key.set_macs(MacAddr(macs.0), MacAddr(macs.1));
            let (mut whole, mut pieces) = (network_hash(&key), piecewise(&key));
            assert_eq!(whole.digest(), pieces.digest());
            add_macs(&mut whole, &key);
            pieces.write(&macs.0);
            pieces.write(&macs.1);
            pieces.write(&endpoint::MAC.to_be_bytes());
            assert_eq!(whole.digest(), pieces.digest());
        }
    }
}

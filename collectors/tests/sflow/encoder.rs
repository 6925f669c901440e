//! A small sFlow v5 encoder: what the recordings do not hold, and what no agent would send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Big-endian words.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A sample or record: format, length, body, padding.
pub(crate) fn tlv(format: u32, body: &[u8]) -> Vec<u8> {
    let mut out = words(&[format]);
    out.extend(opaque(body));
    out
}

/// XDR opaque<>.
pub(crate) fn opaque(body: &[u8]) -> Vec<u8> {
    let mut out = words(&[u32::try_from(body.len()).unwrap()]);
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn mac(address: [u8; 6]) -> Vec<u8> {
    [&address[..], &[0, 0]].concat()
}

/// A datagram's header and its samples.
#[derive(Clone)]
pub(crate) struct Datagram {
    pub(crate) agent: IpAddr,
    pub(crate) sub_agent: u32,
    pub(crate) sequence: u32,
    pub(crate) uptime_ms: u32,
}

impl Default for Datagram {
    fn default() -> Self {
        Self {
            agent: Ipv4Addr::new(192, 0, 2, 1).into(),
            sub_agent: 0,
            sequence: 1,
            uptime_ms: 1_000,
        }
    }
}

impl Datagram {
    pub(crate) fn numbered(sequence: u32) -> Self {
        Self {
            sequence,
            uptime_ms: 1_000 + sequence,
            ..Self::default()
        }
    }

    pub(crate) fn with(&self, samples: &[Vec<u8>]) -> Vec<u8> {
        let address = match self.agent {
            IpAddr::V4(v4) => [&words(&[1])[..], &v4.octets()].concat(),
            IpAddr::V6(v6) => [&words(&[2])[..], &v6.octets()].concat(),
        };
        let count = u32::try_from(samples.len()).unwrap();
        let rest = words(&[self.sub_agent, self.sequence, self.uptime_ms, count]);
        [words(&[5]), address, rest, samples.concat()].concat()
    }
}

/// What a flow sample begins with.
#[derive(Clone, Copy)]
pub(crate) struct FlowSample {
    pub(crate) sequence: u32,
    pub(crate) class: u32,
    pub(crate) index: u32,
    pub(crate) rate: u32,
    pub(crate) drops: u32,
}

impl Default for FlowSample {
    fn default() -> Self {
        Self {
            sequence: 1,
            class: 0,
            index: 7,
            rate: 100,
            drops: 0,
        }
    }
}

impl FlowSample {
    pub(crate) fn compact(&self, records: &[Vec<u8>]) -> Vec<u8> {
        let source = self.class << 24 | self.index;
        let pool = self.sequence * self.rate;
        let head = [
            self.sequence,
            source,
            self.rate,
            pool,
            self.drops,
            7,
            8,
            count(records),
        ];
        tlv(1, &[words(&head), records.concat()].concat())
    }

    pub(crate) fn expanded(&self, records: &[Vec<u8>]) -> Vec<u8> {
        let Self {
            sequence,
            class,
            index,
            rate,
            drops,
        } = *self;
        let pool = sequence * rate;
        let head = [
            sequence,
            class,
            index,
            rate,
            pool,
            drops,
            0,
            7,
            0,
            8,
            count(records),
        ];
        tlv(3, &[words(&head), records.concat()].concat())
    }

    pub(crate) fn discarded(&self, reason: u32, records: &[Vec<u8>]) -> Vec<u8> {
        let head = [
            self.sequence,
            self.class,
            self.index,
            self.drops,
            7,
            0,
            reason,
            count(records),
        ];
        tlv(5, &[words(&head), records.concat()].concat())
    }
}

pub(crate) fn counters(sequence: u32, class: u32, index: u32, records: &[Vec<u8>]) -> Vec<u8> {
    let head = [sequence, class << 24 | index, count(records)];
    tlv(2, &[words(&head), records.concat()].concat())
}

pub(crate) fn counters_expanded(sequence: u32, class: u32, index: u32, records: &[Vec<u8>]) -> Vec<u8> {
    tlv(
        4,
        &[words(&[sequence, class, index, count(records)]), records.concat()].concat(),
    )
}

fn count(records: &[Vec<u8>]) -> u32 {
    u32::try_from(records.len()).unwrap()
}

pub(crate) fn raw_header(protocol: u32, frame_length: u32, stripped: u32, header: &[u8]) -> Vec<u8> {
    tlv(
        1,
        &[words(&[protocol, frame_length, stripped]), opaque(header)].concat(),
    )
}

pub(crate) fn sampled_ethernet(
    length: u32,
    source: [u8; 6],
    destination: [u8; 6],
    ethertype: u32,
) -> Vec<u8> {
    tlv(
        2,
        &[
            words(&[length]),
            mac(source),
            mac(destination),
            words(&[ethertype]),
        ]
        .concat(),
    )
}

/// Protocol, source port, destination port, TCP flags.
pub(crate) type Transport = (u32, u32, u32, u32);

pub(crate) fn sampled_ipv4(
    length: u32,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    transport: Transport,
) -> Vec<u8> {
    sampled_ip(3, length, &source.octets(), &destination.octets(), transport)
}

pub(crate) fn sampled_ipv6(
    length: u32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    transport: Transport,
) -> Vec<u8> {
    sampled_ip(4, length, &source.octets(), &destination.octets(), transport)
}

fn sampled_ip(format: u32, length: u32, source: &[u8], destination: &[u8], transport: Transport) -> Vec<u8> {
    let (protocol, source_port, destination_port, flags) = transport;
    let rest = words(&[source_port, destination_port, flags, 0]);
    tlv(
        format,
        &[&words(&[length, protocol]), source, destination, &rest].concat(),
    )
}

pub(crate) fn extended_switch(vlan: u32) -> Vec<u8> {
    tlv(1001, &words(&[vlan, 0, vlan, 0]))
}

pub(crate) fn extended_timestamp(nanos: u64) -> Vec<u8> {
    tlv(1043, &nanos.to_be_bytes())
}

/// Interface counters: index, octets in and out, unicast packets in and out; the rest unknown.
pub(crate) fn if_counters(index: u32, octets: (u64, u64), packets: (u32, u32)) -> Vec<u8> {
    let unknown = u32::MAX;
    let body = [
        words(&[index, 6]),
        1_000_000_000u64.to_be_bytes().to_vec(),
        words(&[1, 3]),
        octets.0.to_be_bytes().to_vec(),
        words(&[packets.0, unknown, unknown, unknown, unknown, unknown]),
        octets.1.to_be_bytes().to_vec(),
        words(&[packets.1, unknown, unknown, unknown, unknown, 0]),
    ];
    tlv(1, &body.concat())
}

pub(crate) fn port_name(name: &[u8]) -> Vec<u8> {
    tlv(1005, &opaque(name))
}

pub(crate) fn lag_port(actor: [u8; 6], partner: [u8; 6], aggregator: u32) -> Vec<u8> {
    let body = [mac(actor), mac(partner), words(&[aggregator, 0]), words(&[0; 8])];
    tlv(7, &body.concat())
}

/// An Ethernet frame of IPv4 and UDP, `length` bytes long, told from others by `id`.
pub(crate) fn udp_frame(id: u16, length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    let ip_length = u16::try_from(length - 14).unwrap();
    frame.extend(ip_length.to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend([
        0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x13, 0x88, 0x13, 0x89,
    ]);
    frame.extend((ip_length - 20).to_be_bytes());
    frame.resize(length, 0);
    frame
}

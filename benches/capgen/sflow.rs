//! sFlow v5 as Open vSwitch sends it: compact samples, the switch record before the header, datagrams
//! that are sent when the next sample would make them longer than 1,400 bytes.

use flowtap_flow::packet::{LinkType, Packet};

use crate::packets::{BEGIN, Endpoint, Frame, Random, STEP, Segment, Zipf, endpoints};

/// Where the datagram begins in a packet that [`generate`] makes.
pub(crate) const UDP_PAYLOAD: usize = 42;

/// Sixteen switches with two bridges each.
const AGENTS: u32 = 16;
const BRIDGES: u32 = 2;
/// A datagram is sent before it grows longer.
const FLUSH: usize = 1_400;
/// Bytes of each sampled packet.
const HEADER: usize = 128;
/// What sampled packets carry.
const PAYLOAD: [u8; 1_440] = [0; 1_440];
/// 1 of so many packets is sampled.
const RATE: u32 = 64;
/// Ports whose counters one datagram carries.
const COUNTER_PORTS: u32 = 5;
/// 1 of so many datagrams carries counters.
const COUNTERS_EVERY: u32 = 100;

const FLOW_SAMPLE: u32 = 1;
const COUNTER_SAMPLE: u32 = 2;
const RAW_HEADER: u32 = 1;
const EXTENDED_SWITCH: u32 = 1_001;
const IF_COUNTERS: u32 = 1;
const ETHERNET_COUNTERS: u32 = 2;
const PORT_NAME: u32 = 1_005;

/// Hands `datagrams` datagrams over `flows` flows, busy as Zipf's law says, to `emit`, as UDP
/// packets on a loopback interface. Returns the number of flow samples in them.
pub(crate) fn generate(datagrams: u32, flows: u32, mut emit: impl FnMut(&Packet<'_>)) -> u64 {
    let busy = Zipf::new(flows);
    let mut random = Random::new(2);
    let mut bridges: Vec<Bridge> = (0..AGENTS * BRIDGES).map(Bridge::new).collect();
    let mut packet = Frame::default();
    let local = |port| Endpoint {
        mac: [0; 6],
        ip: [127, 0, 0, 1],
        port,
    };
    let mut number = 0;
    while number < datagrams {
        let full = if number % COUNTERS_EVERY == COUNTERS_EVERY - 1 {
            let reports = number / COUNTERS_EVERY % (AGENTS * BRIDGES);
            Some(bridges[reports as usize].counters())
        } else {
            let flow = busy.pick(&mut random);
            // A flow passes one bridge. Neighbours in rank, equally busy, pass different ones.
            let bridge = &mut bridges[(flow % (AGENTS * BRIDGES)) as usize];
            bridge.sample(&Sampled::next(flow, &mut random), &mut random)
        };
        if let Some(datagram) = full {
            // Some thirty thousand a second.
            let bytes = packet.udp(&local(40_000), &local(6_343), &datagram);
            let at = BEGIN.plus(STEP * 33 * number);
            emit(&Packet::new(at, bytes.len() as u32, LinkType::ETHERNET, bytes));
            number += 1;
        }
    }
    let taken: u64 = bridges
        .iter()
        .map(|bridge| u64::from(bridge.sample_sequence))
        .sum();
    let waiting: u64 = bridges.iter().map(|bridge| u64::from(bridge.samples)).sum();
    taken - waiting
}

/// A sampled packet: its first bytes, its length on the wire, and its VLAN or 0.
struct Sampled {
    header: Vec<u8>,
    len: u32,
    vlan: u32,
}

impl Sampled {
    /// The next packet of flow `flow`. Of the flows 70 % are TCP, 15 % UDP, 10 % IPv6, 5 % ICMP; 1 in 10 is
    /// tagged with a VLAN. Half of the packets are small, as acknowledgements are, half of any length.
    fn next(flow: u32, random: &mut Random) -> Self {
        let (client, server) = endpoints(flow);
        let (from, to) = if random.below(2) == 0 {
            (client, server)
        } else {
            (server, client)
        };
        let payload_len = if random.below(2) == 0 {
            0
        } else {
            random.below(1_440) as usize
        };
        let segment = Segment {
            sequence: flow,
            acknowledged: flow,
            flags: Segment::ACK,
            payload_len,
        };
        let mut frame = Frame::default();
        match flow % 20 {
            0..14 => {
                frame.tcp(&from, &to, &segment);
            }
            14..17 => {
                frame.udp(&from, &to, &PAYLOAD[..payload_len]);
            }
            17..19 => frame.tcp_over_ipv6(&from, &to, &segment),
            _ => frame.icmp_echo(&from, &to, &PAYLOAD[..payload_len]),
        }
        let mut header = frame.bytes;
        let vlan = if flow % 10 == 3 { 100 + flow % 8 } else { 0 };
        if vlan != 0 {
            header.splice(12..12, [0x81, 0, 0, vlan as u8]);
        }
        let len = header.len() as u32;
        header.truncate(HEADER);
        Self { header, len, vlan }
    }
}

/// What only samples have.
impl Frame {
    fn tcp_over_ipv6(&mut self, from: &Endpoint, to: &Endpoint, segment: &Segment) {
        self.ethernet(from, to, 0x86dd);
        let len = (20 + segment.payload_len) as u16;
        self.bytes.extend_from_slice(&[0x60, 0, 0, 0]);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(&[6, 64]);
        for end in [from, to] {
            self.bytes
                .extend_from_slice(&[0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            self.bytes.extend_from_slice(&end.ip);
        }
        self.segment(from, to, segment, 16);
    }

    /// An echo request or reply whose id is the client's port, for both ways to be one conversation.
    fn icmp_echo(&mut self, from: &Endpoint, to: &Endpoint, payload: &[u8]) {
        self.ipv4(from, to, 1, 8 + payload.len());
        let request = from.ip < to.ip;
        let [high, low] = if request { from.port } else { to.port }.to_be_bytes();
        let kind = if request { 8 } else { 0 };
        // All further bytes are zero: the checksum is that of these two words.
        let checksum = !(u16::from_be_bytes([kind, 0]) + u16::from_be_bytes([high, low]));
        let [sum_high, sum_low] = checksum.to_be_bytes();
        self.bytes
            .extend_from_slice(&[kind, 0, sum_high, sum_low, high, low, 0, 0]);
        self.bytes.extend_from_slice(payload);
    }
}

/// One bridge of one switch: what sFlow calls a sub-agent.
struct Bridge {
    agent: u32,
    sub_agent: u32,
    sequence: u32,
    sample_sequence: u32,
    counter_sequence: u32,
    samples: u32,
    body: Vec<u8>,
}

impl Bridge {
    fn new(number: u32) -> Self {
        let (agent, sub_agent) = (number / BRIDGES, number % BRIDGES);
        Self {
            agent,
            sub_agent,
            sequence: 0,
            sample_sequence: 0,
            counter_sequence: 0,
            samples: 0,
            body: Vec::new(),
        }
    }

    /// Adds a flow sample; gives the datagram that it did not fit into any more.
    fn sample(&mut self, sampled: &Sampled, random: &mut Random) -> Option<Vec<u8>> {
        self.sample_sequence += 1;
        let mut sample = Vec::new();
        // The data source of a bridge is class 2 (entity), index 1000 + sub-agent.
        let source = 2 << 24 | (1_000 + self.sub_agent);
        let (input, output) = (1 + random.below(8), 1 + random.below(8));
        let pool = self.sample_sequence.wrapping_mul(RATE);
        put(
            &mut sample,
            &[self.sample_sequence, source, RATE, pool, 0, input, output, 2],
        );
        record(&mut sample, EXTENDED_SWITCH, |body| {
            put(body, &[sampled.vlan, 0, sampled.vlan, 0])
        });
        record(&mut sample, RAW_HEADER, |body| {
            // The frame length counts the FCS of four bytes, which is then said to be stripped.
            put(body, &[1, sampled.len + 4, 4, sampled.header.len() as u32]);
            body.extend_from_slice(&sampled.header);
        });
        let full = (self.datagram_len() + 8 + sample.len() > FLUSH).then(|| self.flush());
        put(&mut self.body, &[FLOW_SAMPLE, sample.len() as u32]);
        self.body.extend_from_slice(&sample);
        self.samples += 1;
        full
    }

    /// A datagram with counters of some ports and nothing else. Samples that wait go on waiting.
    fn counters(&mut self) -> Vec<u8> {
        let (waiting, samples) = (std::mem::take(&mut self.body), std::mem::take(&mut self.samples));
        for port in 1..=COUNTER_PORTS {
            self.counter_sequence += 1;
            let mut sample = Vec::new();
            put(&mut sample, &[self.counter_sequence, port, 3]);
            record(&mut sample, PORT_NAME, |body| {
                let name = format!("tap{port}");
                put(body, &[name.len() as u32]);
                body.extend_from_slice(name.as_bytes());
            });
            let count = self.counter_sequence;
            record(&mut sample, IF_COUNTERS, |body| {
                put(body, &[port, 6, 0, 10_000_000, 1, 3]);
                put(
                    body,
                    &[
                        0,
                        count * 900,
                        count,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        count * 700,
                        count,
                        0,
                        0,
                        0,
                        0,
                        0,
                    ],
                );
            });
            record(&mut sample, ETHERNET_COUNTERS, |body| put(body, &[0; 13]));
            put(&mut self.body, &[COUNTER_SAMPLE, sample.len() as u32]);
            self.body.extend_from_slice(&sample);
            self.samples += 1;
        }
        let datagram = self.flush();
        (self.body, self.samples) = (waiting, samples);
        datagram
    }

    fn datagram_len(&self) -> usize {
        28 + self.body.len()
    }

    fn flush(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let mut datagram = Vec::with_capacity(FLUSH);
        // Version 5, an IPv4 address, uptime in milliseconds.
        let address = u32::from_be_bytes([10, 200, 0, 1]) + self.agent;
        let uptime = 60_000 + self.sequence;
        put(
            &mut datagram,
            &[5, 1, address, self.sub_agent, self.sequence, uptime, self.samples],
        );
        datagram.append(&mut self.body);
        self.samples = 0;
        datagram
    }
}

/// Appends words as XDR writes them.
fn put(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// Appends a record: format, length, and what `write` puts, filled up to whole words.
fn record(out: &mut Vec<u8>, format: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put(out, &[format, 0]);
    let begin = out.len();
    write(out);
    out.resize(begin + (out.len() - begin).next_multiple_of(4), 0);
    let len = (out.len() - begin) as u32;
    out[begin - 4..begin].copy_from_slice(&len.to_be_bytes());
}

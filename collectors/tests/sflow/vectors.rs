//! Datagrams that hurt parsers which believe what they read.

use crate::encoder::*;

/// Version 5, agent 192.0.2.1, sub-agent 0, datagram 1, uptime 1003 ms, one sample.
pub(crate) const HEAD: &str = "0000000500000001c00002010000000000000001000003eb00000001";
/// Compact flow sample behind its length: one record.
const SAMPLE: &str = "0000000100000001000001900000019000000000000000010000000200000001";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

/// `levels` records (0,1016), each in the one before: a parser that follows them overflows its stack.
pub(crate) fn nested(levels: usize) -> Vec<u8> {
    let mut record = hex("0ffff00100000000");
    for _ in 0..levels {
        // One aggregated PDU, of one record.
        let body = [words(&[1, 1]), record].concat();
        record = [words(&[1016, u32::try_from(body.len()).unwrap()]), body].concat();
    }
    let sample = [hex(SAMPLE), record].concat();
    [
        hex(HEAD),
        words(&[1, u32::try_from(sample.len()).unwrap()]),
        sample,
    ]
    .concat()
}

/// A header that claims 31 MiB.
pub(crate) fn claimed_length() -> Vec<u8> {
    [hex(HEAD), hex("0000000101f00000")].concat()
}

pub(crate) fn unknown_protocol() -> Vec<u8> {
    let record = raw_header(99, 132, 4, &udp_frame(1, 128));
    Datagram::default().with(&[FlowSample::default().compact(&[record])])
}

/// A sample of `count` empty records of an unknown type.
pub(crate) fn empties(count: usize) -> Vec<u8> {
    let records = vec![tlv(0x0fff_f001, &[]); count];
    Datagram::default().with(&[FlowSample::default().compact(&records)])
}

pub(crate) fn claimed_records() -> Vec<u8> {
    let body = [&hex(SAMPLE)[..28], &words(&[u32::MAX])].concat();
    Datagram::default().with(&[tlv(1, &body)])
}

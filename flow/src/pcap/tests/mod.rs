//! Every variant of every format, made from real captures, cut and split in every way.

mod cut;
mod damage;
mod files;
mod make;
mod ng;
mod tools;
mod write;

use std::ops::Range;

use super::{Ending, PcapError, StreamParser};
use crate::packet::{BATCH, Packet, RawPacket};
use crate::timestamp::Timestamp;

/// What packets without a time get in these tests.
const UNTIMED: Timestamp = Timestamp::from_secs(7);

/// What came out of a stream.
#[derive(Debug)]
struct Read {
    packets: Vec<RawPacket>,
    malformed: u64,
    ending: Result<Ending, PcapError>,
}

impl Read {
    fn complete(self) -> Vec<RawPacket> {
        let ending = self.ending.unwrap();
        assert_eq!(
            ending,
            Ending {
                cut_bytes: 0,
                gzip_cut: false,
                empty: false
            }
        );
        assert_eq!(self.malformed, 0);
        self.packets
    }

    fn error(self) -> String {
        self.ending.unwrap_err().to_string()
    }
}

fn read(bytes: &[u8]) -> Read {
    read_pieces([bytes])
}

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut parser = StreamParser::new(UNTIMED);
    let mut packets = Vec::new();
    let mut outcome = Ok(());
    for piece in pieces {
        outcome = parser.push(piece, &mut |batch: &[Packet<'_>]| {
            assert!(!batch.is_empty() && batch.len() <= BATCH);
            packets.extend(batch.iter().map(to_raw));
        });
        if outcome.is_err() {
            break;
        }
    }
    Read {
        packets,
        malformed: parser.malformed(),
        ending: outcome.map(|()| parser.finish()),
    }
}

/// `data` cut, or with zeros behind it.
fn resized(data: &[u8], len: usize) -> bytes::Bytes {
    let mut data = data.to_vec();
    data.resize(len, 0);
    data.into()
}

fn to_raw(packet: &Packet<'_>) -> RawPacket {
    assert!(packet.captured);
    assert_eq!(packet.sampling_rate, 1);
    RawPacket {
        timestamp: packet.timestamp,
        index: 0,
        len: packet.len,
        link_type: packet.link_type,
        data: packet.data.to_vec().into(),
    }
}

/// The pieces of `bytes` between `cuts`, which need not be in order.
fn split<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| {
            &bytes[Range {
                start: pair[0],
                end: pair[1],
            }]
        })
        .collect()
}

//! Streams of any bytes through the pcap and pcapng parser: cut anywhere, they give the same packets and the same
//! end; and what they give can be written and read again.
//!
//! Input: a byte that says how the stream is cut, then the stream.
#![no_main]

use flowtap_flow::packet::{Packet, RawPacket};
use flowtap_flow::pcap::{StreamParser, to_pcapng};
use flowtap_flow::timestamp::Timestamp;
use libfuzzer_sys::fuzz_target;

/// What a parser made of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    packets: Vec<RawPacket>,
    error: Option<String>,
    malformed: u64,
    /// How the stream ended, where it was read to its end.
    ending: Option<String>,
}

fn parse<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut parser = StreamParser::new(Timestamp::from_secs(1));
    let mut packets = Vec::new();
    let mut error = None;
    for part in parts {
        let pushed = parser.push(part, &mut |batch: &[Packet<'_>]| {
            packets.extend(batch.iter().map(|packet| RawPacket {
                timestamp: packet.timestamp,
                index: 0,
                len: packet.len,
                link_type: packet.link_type,
                data: packet.data.to_vec().into(),
            }));
        });
        if let Err(found) = pushed {
            error = Some(found.to_string());
            break;
        }
    }
    let malformed = parser.malformed();
    let ending = error.is_none().then(|| format!("{:?}", parser.finish()));
    Outcome {
        packets,
        error,
        malformed,
        ending,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let whole = parse(std::iter::once(stream));
    let size = 1 + usize::from(*cut);
    let cut = parse(stream.chunks(size));
    let inflation_failed =
        |outcome: &Outcome| matches!(&outcome.error, Some(error) if error.contains("gzip"));
    if inflation_failed(&whole) || inflation_failed(&cut) {
        // How much comes out of broken compression before its fault, and so what is found wrong first,
        // depends on how it went in.
        assert!(
            cut.error.is_some() && whole.error.is_some(),
            "cut every {size} bytes: {cut:?} {whole:?}"
        );
        let common = cut.packets.len().min(whole.packets.len());
        assert_eq!(
            cut.packets[..common],
            whole.packets[..common],
            "cut every {size} bytes"
        );
    } else {
        assert_eq!(cut, whole, "cut every {size} bytes");
    }

    assert!(
        whole
            .packets
            .iter()
            .all(|packet| packet.len as usize >= packet.data.len())
    );
    let writable = |packet: &RawPacket| packet.timestamp >= Timestamp::ZERO && packet.data.len() <= 262_144;
    if !whole.packets.is_empty() && whole.packets.iter().all(writable) {
        let file = to_pcapng(&whole.packets).expect("memory takes all");
        let again = parse(std::iter::once(file.as_slice()));
        assert_eq!(again.error, None);
        assert_eq!(again.packets, whole.packets, "written and read again");
    }
});

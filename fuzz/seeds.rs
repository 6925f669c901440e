//! Writes what the fuzz targets begin with, out of real captures and real queries.
//!
//! Usage: `fuzz-seeds CORPUS QUERIES CAPTURE...`. For the layout of each target's input see the target.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use flowtap_flow::packet::{LinkType, Packet, RawPacket};
use flowtap_flow::pcap::{Resolution, StreamParser, to_pcap, to_pcapng};
use flowtap_flow::timestamp::Timestamp;

/// Packets of one seed: a TCP handshake and something after it.
const TOGETHER: usize = 6;
/// Seeds of one capture; libFuzzer keeps those that reach something new.
const OF_EACH: usize = 150;
/// Where the UDP payload begins in a packet on loopback.
const UDP_PAYLOAD: usize = 42;
const SFLOW_PORT: [u8; 2] = 6_343u16.to_be_bytes();

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [corpus, queries, captures @ ..] = arguments.as_slice() else {
        return Err("usage: fuzz-seeds CORPUS QUERIES CAPTURE...".into());
    };
    let corpus = Path::new(corpus);
    for (number, query) in fs::read_to_string(queries)?.lines().enumerate() {
        write(corpus, "gremlin", &format!("query-{number}"), query.as_bytes())?;
    }
    for capture in captures {
        let name = Path::new(capture)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let packets = read(capture).map_err(|error| format!("{capture}: {error}"))?;
        packet_seeds(corpus, &name, &packets)?;
        sflow_seeds(corpus, &name, &packets)?;
        stream_seeds(corpus, &name, &packets)?;
    }
    Ok(())
}

fn read(path: &str) -> Result<Vec<RawPacket>, Box<dyn Error>> {
    let mut packets = Vec::new();
    StreamParser::new(Timestamp::ZERO).push(&fs::read(path)?, &mut |batch: &[Packet<'_>]| {
        packets.extend(batch.iter().map(|packet| RawPacket {
            timestamp: packet.timestamp,
            index: 0,
            len: packet.len,
            link_type: packet.link_type,
            data: packet.data.to_vec().into(),
        }));
    })?;
    Ok(packets)
}

fn write(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let directory = corpus.join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), bytes)
}

/// A piece as the targets read it: its length, then its bytes.
fn piece(bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let bytes: Vec<u8> = bytes.into_iter().collect();
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_le_bytes()[..], &bytes].concat()
}

fn packet_seeds(corpus: &Path, name: &str, packets: &[RawPacket]) -> std::io::Result<()> {
    for (number, together) in packets.chunks(TOGETHER).take(OF_EACH).enumerate() {
        if together
            .iter()
            .any(|packet| packet.link_type != LinkType::ETHERNET)
        {
            continue;
        }
        // Options: all, in turn; link type 0: Ethernet.
        let mut seed = vec![number.to_le_bytes()[0], 0];
        for packet in together {
            // 2^10 ns, a microsecond, later than the one before.
            seed.extend(piece(std::iter::once(10).chain(packet.data.iter().copied())));
        }
        write(corpus, "packet", &format!("{name}-{number}"), &seed)?;
    }
    Ok(())
}

fn sflow_seeds(corpus: &Path, name: &str, packets: &[RawPacket]) -> std::io::Result<()> {
    let datagrams = packets
        .iter()
        .filter(|packet| packet.data.get(36..38) == Some(&SFLOW_PORT));
    let datagrams: Vec<_> = datagrams
        .filter_map(|packet| packet.data.get(UDP_PAYLOAD..))
        .collect();
    for (number, together) in datagrams.chunks(2).take(OF_EACH).enumerate() {
        let seed: Vec<u8> = together
            .iter()
            .flat_map(|datagram| piece(datagram.iter().copied()))
            .collect();
        write(corpus, "sflow_datagram", &format!("{name}-{number}"), &seed)?;
    }
    Ok(())
}

fn stream_seeds(corpus: &Path, name: &str, packets: &[RawPacket]) -> Result<(), Box<dyn Error>> {
    let few = &packets[..packets.len().min(4)];
    let micros = to_pcap(few, Resolution::Micros)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&micros)?;
    let streams = [
        ("nanos", to_pcap(few, Resolution::Nanos)?),
        ("ng", to_pcapng(few)?),
        ("gzip", gzip.finish()?),
        ("two", [micros.as_slice(), &to_pcapng(few)?].concat()),
        ("micros", micros),
    ];
    for (kind, stream) in streams {
        // Cut every 100 bytes.
        let seed = [&[99], stream.as_slice()].concat();
        write(corpus, "pcap_stream", &format!("{name}-{kind}"), &seed)?;
    }
    Ok(())
}

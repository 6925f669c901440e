//! What it costs to get a packet out of a capture stream: each measurement is one pass over a file
//! of a million small packets in the page cache, read in as a socket would be.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Seek, Write};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use flowtap_flow::packet::{LinkType, Packet, RawPacket};
use flowtap_flow::pcap::{Resolution, StreamParser, to_pcap, to_pcapng};
use flowtap_flow::timestamp::Timestamp;

const PACKETS: usize = 1_000_000;

fn packets() -> Vec<RawPacket> {
    (0..PACKETS)
        .map(|index| RawPacket {
            timestamp: Timestamp::from_nanos(1_700_000_000_000_000_000 + index as i64 * 1_000),
            index: 1,
            len: 64,
            link_type: LinkType::ETHERNET,
            data: (0..64)
                .map(|at| (index.rotate_left(at) & 0xff) as u8)
                .collect::<Vec<_>>()
                .into(),
        })
        .collect()
}

fn parse(file: &mut File) -> u64 {
    file.rewind().unwrap();
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let mut bytes = 0;
    loop {
        let count = file.read(parser.spare()).unwrap();
        if count == 0 {
            return bytes;
        }
        let mut visit =
            |batch: &[Packet<'_>]| bytes += batch.iter().map(|packet| u64::from(packet.len)).sum::<u64>();
        parser.commit(count, &mut visit).unwrap();
    }
}

fn one(group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>, name: &str, contents: &[u8]) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(contents).unwrap();
    assert_eq!(parse(&mut file), 64 * PACKETS as u64);
    group.bench_function(name, |bencher| bencher.iter(|| black_box(parse(&mut file))));
}

fn pcap_stream(criterion: &mut Criterion) {
    let packets = packets();
    let mut group = criterion.benchmark_group("pcap_stream");
    group
        .throughput(Throughput::Elements(PACKETS as u64))
        .sample_size(20);
    let pcap = to_pcap(&packets, Resolution::Micros).unwrap();
    one(&mut group, "pcap", &pcap);
    one(&mut group, "pcapng", &to_pcapng(&packets).unwrap());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&pcap).unwrap();
    one(&mut group, "gzip", &gzip.finish().unwrap());
    group.finish();
}

criterion_group!(benches, pcap_stream);
criterion_main!(benches);

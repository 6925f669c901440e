//! Packets to layers: whole traffic, and each kind of packet by itself.

mod traffic;

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use flowtap_flow::decode::{DecodeOptions, Part, decode};
use flowtap_flow::packet::{BATCH, Packet};
use flowtap_flow::point::LayerKeyMode;

use traffic::Traffic;

/// Kinds of packet that are rarer are not measured by themselves.
const MIN_SHARE: usize = 2_000;
/// Packets of one kind that are decoded over and over.
const OF_A_KIND: usize = 4_096;

fn decode_all(packets: &[Packet<'_>], options: &DecodeOptions, parts: &mut Vec<Part>) {
    for batch in packets.chunks(BATCH) {
        parts.clear();
        for (index, packet) in (0u16..).zip(batch) {
            decode(packet, index, options, parts);
        }
        black_box(&*parts);
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, packets: &[Packet<'_>]) {
    let options = DecodeOptions::new(0, LayerKeyMode::L2);
    let mut parts = Vec::new();
    group.throughput(Throughput::Elements(packets.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| decode_all(packets, &options, &mut parts))
    });
}

/// Packets by the layers that they are made of, tunnels and all.
fn by_kind<'a>(packets: &[Packet<'a>]) -> BTreeMap<String, Vec<Packet<'a>>> {
    let options = DecodeOptions::new(0, LayerKeyMode::L2);
    let mut kinds: BTreeMap<String, Vec<Packet<'a>>> = BTreeMap::new();
    let mut parts = Vec::new();
    for packet in packets {
        parts.clear();
        decode(packet, 0, &options, &mut parts);
        let kind: Vec<_> = parts.iter().map(|part| part.path.text()).collect();
        kinds.entry(kind.join("+")).or_default().push(*packet);
    }
    kinds.retain(|_, packets| packets.len() >= MIN_SHARE);
    kinds
}

fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10);
    for (name, traffic) in [
        ("mix", Traffic::mix()),
        ("small", Traffic::small()),
        ("churn", Traffic::churn()),
    ] {
        measure(&mut group, name, &traffic.packets());
    }
    group.finish();

    // Few enough to stay in the cache: what the instructions cost, without the memory.
    let mut group = criterion.benchmark_group("decode kind");
    let mix = Traffic::mix();
    for (kind, packets) in by_kind(&mix.packets()) {
        measure(&mut group, &kind, &packets[..packets.len().min(OF_A_KIND)]);
    }
    group.finish();
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);

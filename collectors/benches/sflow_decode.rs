//! What one sFlow sample costs from the datagram to a sink that does nothing, and what hostile
//! datagrams cost. The kernel's share is not in it.

#![expect(clippy::unwrap_used, reason = "the encoder is test code")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowtap_collectors::sflow::{Decoder, Received, SflowStats};
use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{Packet, Sink};
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Graph;

#[path = "../tests/sflow/encoder.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of it")]
mod encoder;
use encoder::*;

#[path = "../tests/sflow/vectors.rs"]
mod vectors;

struct Nowhere;

impl Points for Nowhere {
    fn open(&self, _node_tid: &str) -> Box<dyn Sink> {
        Box::new(Self)
    }
}

impl Sink for Nowhere {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        for packet in batch {
            black_box((
                packet.timestamp,
                packet.len,
                packet.data.first(),
                packet.data.last(),
            ));
        }
    }

    fn flush(&mut self) {}
}

fn decoder() -> Decoder {
    Decoder::new(
        Arc::new(Graph::new("bench")),
        Arc::new(Nowhere),
        Arc::new(Ledger::default()),
        Arc::new(SflowStats::default()),
    )
}

const SAMPLES_PER_DATAGRAM: u32 = 7;

/// As Open vSwitch packs them: the switch record first, 128 bytes of header, 7 samples a datagram; 16
/// agents of 2 sub-agents; one datagram in a hundred holds the counters of 5 ports instead.
fn mix(count: u32) -> Vec<Vec<u8>> {
    let mut numbers = [[0u32; 2]; 32];
    (0..count)
        .map(|i| {
            let agent = i % 32;
            let [datagrams, samples] = &mut numbers[agent as usize];
            *datagrams += 1;
            let head = Datagram {
                agent: std::net::Ipv4Addr::from(0x0a00_0000 | agent >> 1).into(),
                sub_agent: agent & 1,
                sequence: *datagrams,
                uptime_ms: *datagrams * 10,
            };
            if i % 100 == 99 {
                return head.with(&[3, 4, 5, 6, 7].map(|port| {
                    let records = [
                        port_name(format!("tap{port}").as_bytes()),
                        if_counters(port, (u64::from(i), 9), (i, 9)),
                    ];
                    counters(*datagrams, 0, port, &records)
                }));
            }
            let samples: Vec<_> = (0..SAMPLES_PER_DATAGRAM)
                .map(|_| {
                    *samples += 1;
                    let frame = udp_frame(u16::try_from(*samples & 0xffff).unwrap_or(0), 128);
                    FlowSample {
                        sequence: *samples,
                        class: 2,
                        index: 1000,
                        rate: 64,
                        drops: 0,
                    }
                    .compact(&[extended_switch(10), raw_header(1, 1518, 4, &frame)])
                })
                .collect();
            head.with(&samples)
        })
        .collect()
}

fn source() -> SocketAddr {
    ([192, 0, 2, 9], 40_000).into()
}

fn samples(criterion: &mut Criterion) {
    const DATAGRAMS: u32 = 6_400;
    let datagrams = mix(DATAGRAMS);
    let mut group = criterion.benchmark_group("sflow");
    let flow_datagrams = u64::from(DATAGRAMS - DATAGRAMS / 100);
    group.throughput(Throughput::Elements(
        flow_datagrams * u64::from(SAMPLES_PER_DATAGRAM),
    ));
    for burst in [64, 1] {
        let mut decoder = decoder();
        let mut clock = Timestamp::from_secs(1_700_000_000);
        group.bench_function(format!("ovs_mix_in_bursts_of_{burst}"), |bencher| {
            bencher.iter(|| {
                for chunk in datagrams.chunks(burst) {
                    clock = clock.plus(std::time::Duration::from_micros(100));
                    let received: Vec<_> = chunk
                        .iter()
                        .map(|bytes| Received {
                            bytes,
                            source: source(),
                            timestamp: clock,
                        })
                        .collect();
                    decoder.burst(&received);
                }
                decoder.idle(clock);
            });
        });
    }
    group.finish();
}

fn hostile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sflow_hostile");
    let vectors = [
        ("a_recursion_69_levels", vectors::nested(69)),
        ("b_recursion_in_a_jumbo_frame", vectors::nested(570)),
        ("b_recursion_in_65356_bytes", vectors::nested(4_080)),
        ("c_claimed_length", vectors::claimed_length()),
        ("d_unknown_protocol", vectors::unknown_protocol()),
        ("e_empties_in_a_jumbo_frame", vectors::empties(1_140)),
        ("e_8000_empties", vectors::empties(8_000)),
        ("f_claimed_records", vectors::claimed_records()),
    ];
    for (name, bytes) in vectors {
        let mut decoder = decoder();
        let timestamp = Timestamp::from_secs(1_700_000_000);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                decoder.burst(&[Received {
                    bytes: &bytes,
                    source: source(),
                    timestamp,
                }]);
                decoder.idle(timestamp);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, samples, hostile);
criterion_main!(benches);

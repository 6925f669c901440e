//! Packets to flows: decoding and the flow table together, as a reader's thread runs them. What leaves
//! the table is thrown away.

mod traffic;

use std::cell::LazyCell;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{BATCH, Packet};
use flowtap_flow::point::PointOptions;
use flowtap_flow::query::{Batch, UpdateSink};
use flowtap_flow::table::{FlowTable, TableOptions};

use traffic::{PACKETS, Traffic};

struct Nowhere;

impl UpdateSink for Nowhere {
    fn send(&self, batch: &mut Batch) {
        drop(std::mem::take(batch));
    }
}

/// A table and what its reader keeps of each flow.
#[derive(Clone, Copy)]
struct Setup {
    max_flows: usize,
    raw_packet_limit: u32,
}

impl Setup {
    fn table(&self) -> Arc<FlowTable> {
        let options = TableOptions {
            max_flows: self.max_flows,
            ..TableOptions::default()
        };
        FlowTable::new(options, Arc::new(Nowhere))
    }

    fn fill(&self, table: &Arc<FlowTable>, packets: &[Packet<'_>]) {
        // A file can wait: kept packets go to the store when their budget is used up.
        let options = PointOptions {
            raw_packet_limit: self.raw_packet_limit,
            can_wait: true,
            ..PointOptions::default()
        };
        let mut sink = table.points(options, Arc::new(Ledger::default())).open("");
        for batch in packets.chunks(BATCH) {
            sink.packets(batch);
        }
    }
}

fn benchmarks(criterion: &mut Criterion) {
    let roomy = PACKETS as usize;
    let full = TableOptions::default().max_flows / 4;
    // Made when first measured: a filter on the command line skips what it does not name.
    let traffics: [(&str, LazyCell<Traffic>); 3] = [
        ("mix", LazyCell::new(Traffic::mix)),
        ("small", LazyCell::new(Traffic::small)),
        ("churn", LazyCell::new(Traffic::churn)),
    ];
    let setups = [
        // Into an empty table that holds everything.
        (
            "fresh",
            Setup {
                max_flows: roomy,
                raw_packet_limit: 0,
            },
        ),
        // Five packets of each flow are kept.
        (
            "keep 5",
            Setup {
                max_flows: roomy,
                raw_packet_limit: 5,
            },
        ),
        // Churn only: every new flow drives an old one out.
        (
            "full",
            Setup {
                max_flows: full,
                raw_packet_limit: 0,
            },
        ),
    ];
    let mut group = criterion.benchmark_group("table");
    group.sample_size(10);
    group.throughput(Throughput::Elements(PACKETS.into()));
    for (name, traffic) in &traffics {
        for (how, setup) in setups
            .iter()
            .filter(|(how, _)| *how != "full" || *name == "churn")
        {
            group.bench_function(format!("{name}/{how}"), |bencher| {
                let packets = traffic.packets();
                let run = |table: Arc<FlowTable>| {
                    setup.fill(&table, &packets);
                    // Returned, so that taking the table down is not measured.
                    table
                };
                bencher.iter_batched(|| setup.table(), run, BatchSize::PerIteration);
            });
        }
    }
    let [_, (_, small), _] = &traffics;
    // The same packets again: all flows are known, nothing grows.
    group.bench_function("small/steady", |bencher| {
        let packets = small.packets();
        let setup = Setup {
            max_flows: roomy,
            raw_packet_limit: 0,
        };
        let table = setup.table();
        setup.fill(&table, &packets);
        bencher.iter(|| setup.fill(&table, &packets));
    });
    group.finish();
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);

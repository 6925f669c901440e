//! How fast flows get into SQLite: rows per second, and CPU time of the appending thread per row.
//!
//! `cargo bench -p flowtap-storage --bench append -- [FLOWS] [DIR]`; 1,000,000 flows in the system's
//! temporary directory unless said. Three kinds of traffic: flows that end in their first update
//! (churn), the same with both packets kept, and flows that go on for ten updates.

#![expect(clippy::print_stdout, reason = "it is a program that prints")]
#![expect(clippy::unwrap_used, reason = "it stops at the first surprise")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtap_flow::flow::{
    FinishType, Flow, FlowId, FlowMetric, LinkLayer, MacAddr, NetworkLayer, TransportLayer, TransportProtocol,
};
use flowtap_flow::kept::PacketChunk;
use flowtap_flow::packet::LinkType;
use flowtap_flow::query::{Batch, Cancel, FlowQuery, FlowReader, FlowUpdate};
use flowtap_flow::timestamp::Timestamp;
use flowtap_storage::{FlowStore, SqliteOptions, SqliteStore};

/// Updates in a transaction, as the writer's.
const BATCH: usize = 5_000;
const NOW: Timestamp = Timestamp::from_secs(1_709_208_000);

fn main() {
    // `cargo bench` passes flags of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let flows: u64 = arguments
        .first()
        .map_or(1_000_000, |count| count.parse().unwrap());
    let dir = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("{flows} flows, {BATCH} updates per transaction");
    run("churn", &dir, flows, 1, false);
    run("churn, 2 packets kept", &dir, flows, 1, true);
    run("10 updates a flow", &dir, flows / 10, 10, false);
}

fn run(what: &str, dir: &Path, flows: u64, rounds: u64, keep: bool) {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap();
    let (mut cpu, mut wall, mut worst) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut batch = Batch::from(vec![template(keep); BATCH]);
    for round in 0..rounds {
        let mut numbers = 0..flows;
        while !numbers.is_empty() {
            let count = batch
                .updates
                .iter_mut()
                .zip(numbers.by_ref())
                .map(|(u, n)| set(u, n, round, rounds))
                .count();
            batch.updates.truncate(count);
            batch.kept = if keep { packets(&batch.updates) } else { Vec::new() };
            let (cpu_before, wall_before) = (thread_cpu(), Instant::now());
            store.append(NOW, &[&batch]).unwrap();
            cpu += thread_cpu() - cpu_before;
            let took = wall_before.elapsed();
            wall += took;
            worst = worst.max(took);
        }
    }
    let updates = (flows * rounds) as f64;
    let bytes = store.stats().bytes_on_disk as f64;
    println!(
        "{what:24} {:>9.0} updates/s  {:.2} µs CPU an update  {:.0} B an update  worst commit {} ms",
        updates / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / updates,
        bytes / updates,
        worst.as_millis(),
    );
    let started = Instant::now();
    let mut count = 0u64;
    let mut visit = |_| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    };
    store
        .flows(&FlowQuery::all(), &Cancel::default(), &mut visit)
        .unwrap();
    println!(
        "{:24} {:.2} µs a flow read back",
        "",
        started.elapsed().as_secs_f64() * 1e6 / count as f64
    );
    assert_eq!(count, flows);
}

/// CPU time of this thread (proc(5), schedstat).
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn template(keep: bool) -> FlowUpdate {
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let flow = Flow {
        uuid: FlowId::NONE,
        tracking_id: FlowId::NONE,
        l3_tracking_id: FlowId::NONE,
        parent_uuid: FlowId::NONE,
        layers_path: "Ethernet/IPv4/TCP".into(),
        application: "TCP".into(),
        link: Some(LinkLayer {
            a: MacAddr([2, 0, 0, 0, 0, 1]),
            b: MacAddr([2, 0, 0, 0, 0, 2]),
            id: 0,
        }),
        network: Some(NetworkLayer {
            a: address(1),
            b: address(2),
            id: 0,
        }),
        transport: Some(TransportLayer {
            protocol: TransportProtocol::Tcp,
            a: 40_000,
            b: 443,
        }),
        icmp: None,
        metric: FlowMetric::default(),
        last_update_metric: None,
        start: NOW,
        last: NOW,
        node_tid: "6a1c0d2e-6f0d-5b3f-8d3e-000000000001".into(),
        capture_id: "6a1c0d2e-6f0d-5b3f-8d3e-000000000002".into(),
        raw_packets_captured: if keep { 2 } else { 0 },
        finish_type: FinishType::NotFinished,
        sampling: None,
        extra: None,
    };
    FlowUpdate {
        flow,
        interval: FlowMetric::default(),
        first: true,
    }
}

/// Two packets of each flow, in chunks as the flow table hands them over.
fn packets(updates: &[FlowUpdate]) -> Vec<Arc<PacketChunk>> {
    let (mut chunk, mut full) = (PacketChunk::default(), Vec::new());
    for FlowUpdate { flow, .. } in updates {
        for (index, time) in [(1, flow.start), (2, flow.last)] {
            chunk.push(flow.uuid, time, index, 64, LinkType::ETHERNET, &[0x5a; 64]);
        }
        if chunk.is_full() {
            full.push(Arc::new(chunk.take()));
        }
    }
    full.push(Arc::new(chunk));
    full
}

/// Makes `update` that of flow `number` in `round`.
fn set(update: &mut FlowUpdate, number: u64, round: u64, rounds: u64) {
    // Ids look random, as hashes do (the multiplier is 2^64 divided by the golden ratio).
    let id = |salt: u64| FlowId((number + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let flow = &mut update.flow;
    (flow.uuid, flow.tracking_id, flow.l3_tracking_id) = (id(1), id(1 << 40), id(2 << 40));
    flow.start = NOW.plus(Duration::from_micros(number));
    flow.last = flow
        .start
        .plus(Duration::from_millis(3) + Duration::from_secs(10) * round as u32);
    let [_, b, c, d] = (number as u32).to_be_bytes();
    if let Some(network) = &mut flow.network {
        network.a = IpAddr::V4(Ipv4Addr::new(10, b, c, d));
    }
    update.interval = FlowMetric {
        ab_packets: 1,
        ab_bytes: 74,
        ba_packets: 1,
        ba_bytes: 66,
        start: flow.start.plus(Duration::from_secs(10) * round as u32),
        last: flow.last,
        rtt: 120_000,
    };
    let times = round + 1;
    flow.metric = FlowMetric {
        ab_packets: times,
        ab_bytes: 74 * times,
        ba_packets: times,
        ba_bytes: 66 * times,
        start: flow.start,
        ..update.interval
    };
    update.first = round == 0;
    flow.finish_type = if times == rounds {
        FinishType::Fin
    } else {
        FinishType::NotFinished
    };
}

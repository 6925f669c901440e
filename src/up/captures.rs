//! What users declare to be captured: the one list of capture types, and the reconciler at work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use flowtap_capture::{CaptureLimits, CaptureServices, Captures, RunningCaptures};
use flowtap_collectors::afpacket::AfPacket;
use flowtap_collectors::pcap::Pcap;
use flowtap_collectors::pcapsocket::PcapSocketCollector;
use flowtap_collectors::sflow::{SflowCollector, SflowOptions};
use flowtap_collectors::{Collector, Unavailable};
use flowtap_flow::point::PointOptions;
use flowtap_flow::table::FlowTable;
use flowtap_storage::SqliteStore;
use flowtap_topology::Graph;
use rustix::process::{Resource, getrlimit};
use tokio::task::spawn_blocking;

/// Every capture type, in the order in which they are listed. Flowtap itself takes sFlow at `sflow_at`.
pub(super) fn collectors(sflow: SflowOptions, sflow_at: Option<SocketAddr>) -> Vec<Arc<dyn Collector>> {
    vec![
        Arc::new(AfPacket::default()),
        Arc::new(Pcap::default()),
        Arc::new(PcapSocketCollector::default()),
        Arc::new(SflowCollector::new(sflow)),
        Arc::new(Unavailable::ebpf()),
        Arc::new(Unavailable::ovs_mirror()),
        Arc::new(Unavailable::ovs_sflow(sflow_at)),
    ]
}

/// Takes up what was declared before, and makes captures so from now on. Packets from and to `http` are
/// flowtap's own, which no capture takes in.
///
/// # Errors
/// The store's, and the system's, if it gives no threads.
pub(super) fn start(
    captures: &Captures,
    graph: &Arc<Graph>,
    table: &Arc<FlowTable>,
    store: &SqliteStore,
    defaults: PointOptions,
    collectors: Vec<Arc<dyn Collector>>,
    http: SocketAddr,
) -> Result<RunningCaptures> {
    let table = Arc::clone(table);
    Ok(captures.start(CaptureServices {
        graph: Arc::clone(graph),
        collectors,
        points: Arc::new(move |options, ledger| table.points(options, ledger)),
        store: Arc::new(store.resources()),
        exclude: vec![http],
        defaults,
        limits: limits(),
    })?)
}

/// How much captures may take. New interfaces never have more than an eighth of the files that the process
/// may open: a host that starts makes many at once, and everything else needs some too.
fn limits() -> CaptureLimits {
    let limits = CaptureLimits::default();
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let eighth = usize::try_from(files / 8).unwrap_or(usize::MAX);
    CaptureLimits {
        early_sockets: limits.early_sockets.min(eighth),
        ..limits
    }
}

/// Takes nothing in any more, and lets every source hand on what it had.
///
/// # Errors
/// Names those that were late.
pub(super) async fn stop(running: RunningCaptures, patience: Duration) -> Result<()> {
    let late = spawn_blocking(move || running.stop(patience)).await?;
    ensure!(late.is_empty(), "late: {}", late.join(", "));
    Ok(())
}

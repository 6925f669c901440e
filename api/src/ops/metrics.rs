//! `/metrics`: everything that is counted, for Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};
use flowtap_capture::Counters;
use flowtap_flow::ledger::DropReason;
use flowtap_flow::table::TableStats;

use super::exposition::{self, Exposition, Kind};
use super::{process, topology_metrics};
use crate::server::App;
use crate::services::Services;
use crate::wire::{SflowStatus, StoreStatus};

/// Metrics in the Prometheus text format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    let services = &app.services;
    let mut out = Exposition::default();
    let identity = &services.identity;
    let labels = [
        ("version", identity.version.as_str()),
        ("revision", identity.revision.as_str()),
    ];
    out.family("flowtap_build_info", Kind::Gauge, "What runs here.")
        .sample(&labels, 1);
    add_captures(&mut out, &services.captures.counters(), &identity.host);
    add_capture_starts(&mut out, services);
    add_table(&mut out, &services.observe.table());
    add_store(&mut out, &services.observe.store());
    if let Some(sflow) = services.observe.sflow() {
        add_sflow(&mut out, &sflow);
    }
    let help = "Connections to the pcap socket now.";
    out.single(
        "flowtap_pcapsocket_clients",
        Kind::Gauge,
        help,
        services.observe.pcap_clients().len(),
    );
    topology_metrics::add(&mut out, &app);
    app.http_metrics.add(&mut out);
    process::add(&mut out);
    ([(header::CONTENT_TYPE, exposition::MEDIA_TYPE)], out.into_text())
}

/// How soon captures capture, and how new interfaces are looked after until one does.
fn add_capture_starts(out: &mut Exposition, services: &Services) {
    let delays = services.captures.start_delays();
    let help = "Time from an interface's appearance, or its match where that came long after, until the kernel \
                queued its packets.";
    out.family("flowtap_capture_start_delay_seconds", Kind::Histogram, help)
        .histogram(
            &[],
            &flowtap_storage::Histogram::BOUNDS,
            &delays.counts,
            delays.sum_seconds,
        );
    let early = services.captures.early_stats();
    out.single(
        "flowtap_capture_early_sockets",
        Kind::Gauge,
        "New interfaces whose first packets are held now.",
        early.held,
    );
    let counters = [
        (
            "flowtap_capture_early_sockets_opened_total",
            "New interfaces whose first packets were held.",
            early.opened,
        ),
        (
            "flowtap_capture_early_sockets_failed_total",
            "New interfaces whose first packets could not be held.",
            early.failed,
        ),
        (
            "flowtap_capture_early_sockets_given_up_total",
            "New interfaces whose first packets were given up for those of newer ones.",
            early.given_up,
        ),
    ];
    for (name, help, value) in counters {
        out.single(name, Kind::Counter, help, value);
    }
}

/// A ledger's columns, one family each: received = kept + filtered + the sum of dropped.
fn add_captures(out: &mut Exposition, captures: &[Counters], host: &str) {
    let mut family = out.family(
        "flowtap_capture_interfaces",
        Kind::Gauge,
        "Interfaces of a capture by their state.",
    );
    for capture in captures {
        for (state, count) in &capture.interfaces {
            family.sample(&[("capture", &capture.uuid), ("state", state)], count);
        }
    }
    type Column = fn(&Counters) -> u64;
    let columns: [(&str, &str, Column); 6] = [
        (
            "flowtap_capture_packets_received_total",
            "Packets that arrived, those included that the kernel dropped.",
            |c| c.ledger.received,
        ),
        (
            "flowtap_capture_bytes_received_total",
            "Bytes on the wire of the packets received.",
            |c| c.ledger.received_bytes,
        ),
        (
            "flowtap_capture_packets_kept_total",
            "Packets that became part of a flow.",
            |c| c.ledger.kept,
        ),
        (
            "flowtap_capture_packets_filtered_total",
            "Packets that a BPF filter refused.",
            |c| c.ledger.filtered,
        ),
        (
            "flowtap_capture_rawpackets_kept_total",
            "Raw packets kept with their flows.",
            |c| c.ledger.raw_kept,
        ),
        (
            "flowtap_capture_rawpackets_over_budget_total",
            "Raw packets that the byte budget had no room for.",
            |c| c.ledger.raw_over_budget,
        ),
    ];
    for (name, help, column) in columns {
        let mut family = out.family(name, Kind::Counter, help);
        for capture in captures {
            family.sample(&capture_labels(capture, host), column(capture));
        }
    }
    let mut family = out.family(
        "flowtap_capture_packets_dropped_total",
        Kind::Counter,
        "Packets lost, by reason.",
    );
    for capture in captures {
        for reason in DropReason::ALL {
            let [a, b, c, d] = capture_labels(capture, host);
            let labels = [a, b, c, d, ("reason", reason.as_str())];
            family.sample(&labels, capture.ledger.dropped_for(reason));
        }
    }
}

/// A standing input reads from no interface; the label is there for captures that do.
fn capture_labels<'a>(capture: &'a Counters, host: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("capture", &capture.uuid),
        ("host", host),
        ("interface", ""),
        ("type", &capture.capture_type),
    ]
}

fn add_table(out: &mut Exposition, table: &TableStats) {
    out.single(
        "flowtap_flow_table_flows",
        Kind::Gauge,
        "Flows held in the table.",
        table.flows,
    );
    out.single(
        "flowtap_flow_table_max_flows",
        Kind::Gauge,
        "The most flows it holds.",
        table.max_flows,
    );
    out.single(
        "flowtap_flow_table_begun_total",
        Kind::Counter,
        "Flows ever begun.",
        table.begun,
    );
    let mut family = out.family(
        "flowtap_flow_table_ended_total",
        Kind::Counter,
        "Flows that ended, by reason.",
    );
    family.sample(&[("reason", "timeout")], table.expired);
    family.sample(&[("reason", "finished")], table.finished);
    let help = "Flows handed to the store before their end, by reason.";
    out.family("flowtap_flow_table_evicted_total", Kind::Counter, help)
        .sample(&[("reason", "full")], table.evicted);
    out.single(
        "flowtap_flow_table_updates_total",
        Kind::Counter,
        "Updates handed to the store.",
        table.updates,
    );
    let help = "Bytes of kept packets that no store has yet.";
    out.single(
        "flowtap_rawpackets_bytes",
        Kind::Gauge,
        help,
        table.raw_packets_bytes,
    );
}

fn add_store(out: &mut Exposition, store: &StoreStatus) {
    let labels = [("backend", store.backend.as_str())];
    let help = "Time from the start of a batch's transaction until it is durable.";
    let writes = &store.write_duration;
    out.family("flowtap_storage_write_duration_seconds", Kind::Histogram, help)
        .histogram(
            &labels,
            &flowtap_storage::Histogram::BOUNDS,
            &writes.counts,
            writes.sum_seconds,
        );
    let gauges = [
        ("flowtap_storage_flows", "Flows stored durably.", store.flows),
        (
            "flowtap_storage_updates",
            "Flow updates stored durably.",
            store.updates,
        ),
        (
            "flowtap_storage_rawpackets",
            "Raw packets stored durably.",
            store.raw_packets,
        ),
        (
            "flowtap_storage_bytes",
            "Bytes of the store's files.",
            store.bytes_on_disk,
        ),
        ("flowtap_storage_segments", "Segments.", store.segments),
        (
            "flowtap_storage_queued_updates",
            "Updates received and not yet durable.",
            store.queued_updates,
        ),
        (
            "flowtap_storage_queued_bytes",
            "Their bytes, raw packets included.",
            store.queued_bytes,
        ),
        (
            "flowtap_storage_up",
            "1 while the store takes what it is given.",
            u64::from(store.error.is_none()),
        ),
    ];
    for (name, help, value) in gauges {
        out.family(name, Kind::Gauge, help).sample(&labels, value);
    }
    let counters = [
        (
            "flowtap_storage_refused_updates_total",
            "Updates that came after the stop.",
            store.refused_updates,
        ),
        (
            "flowtap_storage_refused_packets_total",
            "Kept packets that came after the stop.",
            store.refused_packets,
        ),
        (
            "flowtap_storage_write_failures_total",
            "Batches refused.",
            store.failures,
        ),
        (
            "flowtap_storage_segments_removed_total",
            "Segments that retention removed.",
            store.segments_removed,
        ),
    ];
    for (name, help, value) in counters {
        out.family(name, Kind::Counter, help).sample(&labels, value);
    }
}

/// By agent address: the collector bounds how many there are. Sub-agents of one address are added
/// up, and what belongs to no agent has an empty one.
fn add_sflow(out: &mut Exposition, sflow: &SflowStatus) {
    let mut agents: BTreeMap<&str, (u64, u64, BTreeMap<&str, u64>)> = BTreeMap::new();
    for agent in &sflow.agents {
        let sums = agents.entry(&agent.agent).or_default();
        sums.0 += agent.datagrams;
        sums.1 += agent.lost;
        for (reason, count) in &agent.decode_errors {
            *sums.2.entry(reason).or_default() += count;
        }
    }
    let help = "Datagrams received from an agent.";
    let mut family = out.family("flowtap_sflow_datagrams_received_total", Kind::Counter, help);
    agents
        .iter()
        .for_each(|(agent, sums)| family.sample(&[("agent", agent)], sums.0));
    let help = "Datagrams of an agent that never came, by their sequence numbers.";
    let mut family = out.family("flowtap_sflow_datagrams_lost_total", Kind::Counter, help);
    agents
        .iter()
        .for_each(|(agent, sums)| family.sample(&[("agent", agent)], sums.1));
    let help = "What could not be read of an agent's datagrams, by reason; agent empty: refused whole.";
    let mut family = out.family("flowtap_sflow_decode_errors_total", Kind::Counter, help);
    for (reason, count) in &sflow.refused {
        family.sample(&[("agent", ""), ("reason", reason)], count);
    }
    for (agent, (_, _, errors)) in &agents {
        for (reason, count) in errors {
            family.sample(&[("agent", agent), ("reason", reason)], count);
        }
    }
    let help = "Agents that were forgotten, for nothing had come of them for long.";
    out.single(
        "flowtap_sflow_agents_forgotten_total",
        Kind::Counter,
        help,
        sflow.agents_forgotten,
    );
    let help = "Datagrams that the kernel dropped because its buffer was full.";
    out.single(
        "flowtap_sflow_kernel_dropped_datagrams_total",
        Kind::Counter,
        help,
        sflow.kernel_drops,
    );
}

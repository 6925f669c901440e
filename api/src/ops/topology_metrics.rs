//! What is counted of the topology, of its watchers, and of those who follow it.

use std::collections::BTreeMap;

use flowtap_topology::watch::WatcherHealth;

use super::exposition::{Exposition, Kind};
use crate::server::App;
use crate::v1::events::MAX_STREAMS;
use crate::wire::watcher_state;
use crate::ws::Endpoint;

pub(super) fn add(out: &mut Exposition, app: &App) {
    let graph = app.services.topology.live();
    out.single(
        "flowtap_topology_nodes",
        Kind::Gauge,
        "Nodes of the graph.",
        graph.len(),
    );
    out.single(
        "flowtap_topology_edges",
        Kind::Gauge,
        "Edges of the graph.",
        graph.edge_count(),
    );
    let help = "Changes of the graph.";
    out.single(
        "flowtap_topology_events_total",
        Kind::Counter,
        help,
        graph.sequence(),
    );
    add_watchers(out, &app.services.observe.watchers());
    add_clients(out, app);
}

/// By what they watch: each namespace has a watcher, and there may be a thousand.
fn add_watchers(out: &mut Exposition, watchers: &[WatcherHealth]) {
    let kind = |watcher: &WatcherHealth| -> String {
        let name = watcher.name.split(' ').next();
        name.unwrap_or_default().to_owned()
    };
    let mut states: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let mut resyncs: BTreeMap<String, u64> = BTreeMap::new();
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    for watcher in watchers {
        *states
            .entry((kind(watcher), watcher_state(watcher.state)))
            .or_default() += 1;
        *resyncs.entry(kind(watcher)).or_default() += watcher.resyncs;
        *left_out.entry(kind(watcher)).or_default() += watcher.left_out;
    }
    let mut family = out.family("flowtap_topology_watchers", Kind::Gauge, "Watchers, by state.");
    for ((watcher, state), count) in &states {
        family.sample(&[("watcher", watcher), ("state", state)], count);
    }
    let help = "How often running watchers lost messages and read everything anew.";
    let mut family = out.family("flowtap_topology_watcher_resyncs_total", Kind::Counter, help);
    for (watcher, count) in &resyncs {
        family.sample(&[("watcher", watcher)], count);
    }
    let help = "What watchers left out because there is too much of it.";
    let mut family = out.family("flowtap_topology_watcher_left_out", Kind::Gauge, help);
    for (watcher, count) in &left_out {
        family.sample(&[("watcher", watcher)], count);
    }
}

fn add_clients(out: &mut Exposition, app: &App) {
    let help = "WebSocket clients that are connected.";
    let mut family = out.family("flowtap_websocket_clients", Kind::Gauge, help);
    for endpoint in Endpoint::ALL {
        family.sample(&[("endpoint", endpoint.as_str())], app.hub.count(endpoint));
    }
    let counts = app.hub.counts();
    let help = "Messages of WebSocket clients, by what became of them.";
    let mut family = out.family("flowtap_websocket_messages_received_total", Kind::Counter, help);
    family.sample(&[("result", "taken")], counts.taken);
    family.sample(&[("result", "refused")], counts.refused);
    let help = "WebSocket clients that were disconnected because they did not read or answer.";
    out.single(
        "flowtap_websocket_clients_dropped_total",
        Kind::Counter,
        help,
        counts.dropped,
    );
    let help = "How often a WebSocket client fell behind and was sent the graph anew.";
    out.single(
        "flowtap_websocket_resyncs_total",
        Kind::Counter,
        help,
        counts.resynced,
    );
    let streams = MAX_STREAMS - app.event_streams.available_permits();
    let help = "Readers of server-sent events that are connected.";
    out.single("flowtap_event_streams", Kind::Gauge, help, streams);
}

//! `/api` and `/api/status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use flowtap_flow::timestamp::Timestamp;

use crate::server::App;
use crate::services::Services;
use crate::wire::{Election, FlowtapStatus, Peers, ProbeStatus, ServiceInfo, Status, TopologyStatus};

/// Who answers.
#[utoipa::path(
    get,
    path = "/api",
    tag = "status",
    responses((status = 200, description = "Host, version and service", body = ServiceInfo)),
)]
pub(crate) async fn info(State(app): State<Arc<App>>) -> Json<ServiceInfo> {
    let identity = &app.services.identity;
    Json(ServiceInfo {
        host: identity.host.clone(),
        version: identity.version.clone(),
        service: "analyzer".to_owned(),
    })
}

/// How everything fares: Skydive's keys, and ours under `Flowtap`.
#[utoipa::path(
    get,
    path = "/api/status",
    tag = "status",
    responses((status = 200, description = "Captures with their ledgers, table, store, agents", body = Status)),
)]
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    let services = &app.services;
    let captures = services.captures.list();
    let probes = captures.iter().map(|capture| {
        let status = ProbeStatus {
            status: capture.state.as_str().to_owned(),
        };
        (capture.r#type.clone(), status)
    });
    // One process alone: it is its own master, and has no agents and no peers.
    Json(Status {
        agents: BTreeMap::new(),
        peers: Peers::default(),
        publishers: app.hub.publishers(),
        subscribers: app.hub.subscribers(),
        alerts: Election { is_master: true },
        captures: Election { is_master: true },
        probes: probes.collect(),
        flowtap: FlowtapStatus {
            version: services.identity.version.clone(),
            revision: services.identity.revision.clone(),
            started: services.identity.started.millis(),
            uptime_seconds: Timestamp::now().since(services.identity.started).as_secs(),
            captures,
            table: services.observe.table().into(),
            store: services.observe.store(),
            sflow: services.observe.sflow(),
            pcap_clients: services.observe.pcap_clients(),
            topology: topology(services),
        },
    })
}

fn topology(services: &Services) -> TopologyStatus {
    let graph = services.topology.live();
    let watchers = services.observe.watchers().into_iter();
    TopologyStatus {
        nodes: graph.len() as u64,
        edges: graph.edge_count() as u64,
        events: graph.sequence(),
        watchers: watchers.map(Into::into).collect(),
    }
}

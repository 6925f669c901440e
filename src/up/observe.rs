//! How the parts fare, for the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowtap_api::Observe;
use flowtap_api::wire::{PartReadiness, PcapClient, SflowStatus, StoreStatus};
use flowtap_capture::Captures;
use flowtap_collectors::pcapsocket::PcapSocketStats;
use flowtap_collectors::sflow::SflowStats;
use flowtap_flow::table::{FlowTable, TableStats};
use flowtap_storage::StoreWriter;
use flowtap_topology::watch::{WatcherHealth, WatcherState};

use super::topology::RunningTopology;

/// Reads everybody's counters.
pub(super) struct Observer {
    pub(super) table: Arc<FlowTable>,
    pub(super) writer: Arc<StoreWriter>,
    pub(super) topology: Arc<RunningTopology>,
    pub(super) captures: Arc<Captures>,
    pub(super) sflow: Option<Arc<SflowStats>>,
    pub(super) pcap_socket: Option<Arc<PcapSocketStats>>,
}

impl Observe for Observer {
    fn table(&self) -> TableStats {
        self.table.stats()
    }

    fn store(&self) -> StoreStatus {
        StoreStatus::new("sqlite", self.writer.stats())
    }

    fn sflow(&self) -> Option<SflowStatus> {
        let status = sflow_status(self.sflow.as_deref()?);
        status
            .inspect_err(|error| tracing::error!(%error, "sFlow counters cannot be shown"))
            .ok()
    }

    fn pcap_clients(&self) -> Vec<PcapClient> {
        let clients = self.pcap_socket.as_ref().map(|stats| stats.snapshot().clients);
        let client = |client: flowtap_collectors::pcapsocket::ClientStats| PcapClient {
            peer: client.peer.to_string(),
            since: client.since.millis(),
            packets: client.packets,
            bytes: client.bytes,
        };
        clients.unwrap_or_default().into_iter().map(client).collect()
    }

    fn watchers(&self) -> Vec<WatcherHealth> {
        self.topology.health()
    }

    fn parts(&self) -> BTreeMap<String, PartReadiness> {
        let storage = match self.writer.stats().error {
            None => PartReadiness {
                ready: true,
                detail: "stores".to_owned(),
            },
            Some(error) => PartReadiness {
                ready: false,
                detail: error,
            },
        };
        let captures = self.captures.list().into_iter().map(|capture| {
            let detail = if capture.reason.is_empty() {
                capture.state.as_str().to_owned()
            } else {
                capture.reason
            };
            (
                capture.r#type,
                PartReadiness {
                    ready: capture.state.is_capturing(),
                    detail,
                },
            )
        });
        let watchers = self.topology.health().into_iter().map(|watcher| {
            let state = match watcher.state {
                WatcherState::Starting => "starting",
                WatcherState::Waiting => "waiting",
                WatcherState::Running => "watches",
                WatcherState::Denied => "denied",
                _ => "trying again",
            };
            // One that fails costs a part of the graph, not the service.
            let ready = watcher.state != WatcherState::Starting;
            // What went wrong before it recovered is the log's.
            let detail = match watcher.last_error {
                Some(error) if watcher.state != WatcherState::Running => format!("{state}: {error}"),
                _ => state.to_owned(),
            };
            (watcher.name, PartReadiness { ready, detail })
        });
        captures
            .chain(watchers)
            .chain([("storage".to_owned(), storage)])
            .collect()
    }
}

/// The collector's counters as a client reads them. Both sides have the same JSON names, and JSON
/// carries what the client's type has no field of its own for.
fn sflow_status(stats: &SflowStats) -> serde_json::Result<SflowStatus> {
    let mut document = serde_json::to_value(stats.totals())?;
    document["Agents"] = serde_json::to_value(stats.agents())?;
    serde_json::from_value(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sflow_counters_reach_the_client_whole() {
        let status = sflow_status(&SflowStats::default()).expect("the names agree");
        assert_eq!(status, SflowStatus::default());
    }
}

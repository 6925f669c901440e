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
        // The standing inputs: what users declared may wait as long as its nodes do.
        let captures = self.captures.list().into_iter();
        let captures = captures.filter(|capture| capture.gremlin_query.is_empty());
        let captures = captures.map(|capture| {
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
        let watchers = self.topology.health().into_iter().map(watcher_readiness);
        let parts = captures.chain(watchers).chain([("storage".to_owned(), storage)]);
        by_name(parts)
    }
}

/// A watcher's name, and whether it does its work.
fn watcher_readiness(watcher: WatcherHealth) -> (String, PartReadiness) {
    let state = match watcher.state {
        WatcherState::Starting => "starting",
        WatcherState::Waiting => "waiting",
        WatcherState::Running => "watches",
        WatcherState::Denied => "denied",
        _ => "trying again",
    };
    // What went wrong before it recovered is the log's.
    let detail = match (watcher.missing, watcher.last_error) {
        (Some(missing), _) if watcher.state == WatcherState::Running => format!("{state}, but {missing}"),
        (_, Some(error)) if watcher.state != WatcherState::Running => format!("{state}: {error}"),
        _ => state.to_owned(),
    };
    // One that fails costs a part of the graph, not the service.
    let ready = watcher.state != WatcherState::Starting;
    (watcher.name, PartReadiness { ready, detail })
}

/// Parts by name. Of several with one name (namespaces may have equal names in two directories) each is
/// shown: the second as `NAME (2)`.
fn by_name(parts: impl Iterator<Item = (String, PartReadiness)>) -> BTreeMap<String, PartReadiness> {
    let mut by_name = BTreeMap::new();
    for (name, part) in parts {
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !by_name.contains_key(name));
        by_name.insert(free.unwrap_or(name), part);
    }
    by_name
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
    fn parts_of_one_name_do_not_hide_each_other() {
        let part = |ready| {
            let detail = String::new();
            ("netlink blue".to_owned(), PartReadiness { ready, detail })
        };
        let parts = by_name([part(true), part(false), part(true)].into_iter());
        let shown: Vec<_> = parts
            .iter()
            .map(|(name, part)| (name.as_str(), part.ready))
            .collect();
        assert_eq!(
            shown,
            [
                ("netlink blue", true),
                ("netlink blue (2)", false),
                ("netlink blue (3)", true)
            ]
        );
    }

    #[test]
    fn what_the_graph_lacks_is_told_while_the_watcher_runs() {
        let mut health = WatcherHealth::default();
        health.name = "ovsdb".to_owned();
        health.state = WatcherState::Running;
        health.last_error = Some("the connection broke".to_owned());
        assert_eq!(watcher_readiness(health.clone()).1.detail, "watches");
        health.missing = Some("rows are missing".to_owned());
        let (_, readiness) = watcher_readiness(health.clone());
        assert_eq!(
            (readiness.ready, readiness.detail.as_str()),
            (true, "watches, but rows are missing")
        );
        health.state = WatcherState::Retrying;
        assert_eq!(
            watcher_readiness(health).1.detail,
            "trying again: the connection broke"
        );
    }

    #[test]
    fn sflow_counters_reach_the_client_whole() {
        let status = sflow_status(&SflowStats::default()).expect("the names agree");
        assert_eq!(status, SflowStatus::default());
    }
}

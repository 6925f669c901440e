//! How everything fares.

use std::collections::BTreeMap;

use flowtap_capture::Capture;
use flowtap_flow::table::TableStats;
use flowtap_storage::{Histogram, WriterStats};
use flowtap_topology::watch::{WatcherHealth, WatcherState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /api/status`: Skydive's keys, and ours in one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Status {
    /// Agents by host.
    pub agents: BTreeMap<String, Connection>,
    /// Other analyzers.
    pub peers: Peers,
    /// Publishers by host.
    pub publishers: BTreeMap<String, Connection>,
    /// Subscribers by host.
    pub subscribers: BTreeMap<String, Connection>,
    /// Whether this analyzer works for alerts.
    pub alerts: Election,
    /// Whether this analyzer works for captures.
    pub captures: Election,
    /// Capture types that run here.
    pub probes: BTreeMap<String, ProbeStatus>,
    /// What Skydive has no key for.
    pub flowtap: FlowtapStatus,
}

/// One WebSocket connection, in Skydive's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connection {
    /// `agent`, `analyzer`, …
    pub service_type: String,
    /// `json` or `protobuf`.
    pub client_protocol: String,
    /// Its address.
    pub addr: String,
    /// Its port.
    pub port: u16,
    /// True while it is up.
    pub is_connected: bool,
    /// When it came up, RFC 3339.
    pub connect_time: String,
}

/// Other analyzers, by who called whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Peers {
    /// Those that connected here.
    pub incomers: BTreeMap<String, Connection>,
    /// Those that this one connected to.
    pub outgoers: BTreeMap<String, Connection>,
}

/// Whether this analyzer is the one that does a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Election {
    /// True if it is.
    pub is_master: bool,
}

/// A capture type that runs here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProbeStatus {
    /// The state of its capture.
    pub status: String,
}

/// What Skydive has no key for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct FlowtapStatus {
    /// flowtap's version.
    pub version: String,
    /// The commit it was built from, or `unknown`.
    pub revision: String,
    /// When it was started, ms since the Unix epoch.
    pub started: i64,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Captures with their ledgers.
    pub captures: Vec<Capture>,
    /// The flow table.
    pub table: TableStatus,
    /// The store.
    pub store: StoreStatus,
    /// sFlow, if it is received.
    pub sflow: Option<SflowStatus>,
    /// Who sends to the pcap socket now.
    pub pcap_clients: Vec<PcapClient>,
    /// The topology and its watchers.
    pub topology: TopologyStatus,
}

/// The topology and its watchers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct TopologyStatus {
    /// Nodes of the graph.
    pub nodes: u64,
    /// Edges of the graph.
    pub edges: u64,
    /// Changes of the graph since the start.
    pub events: u64,
    /// Each watcher.
    pub watchers: Vec<WatcherStatus>,
}

/// One watcher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct WatcherStatus {
    /// What it watches: `host`, `namespaces`, `netlink` and a namespace, `ovsdb`.
    pub name: String,
    /// `starting`, `waiting`, `running`, `retrying` or `denied`.
    pub state: String,
    /// What went wrong last, if anything did; it stays when the watcher has recovered.
    pub last_error: Option<String>,
    /// What the graph lacks of it now although it is there, and what to do about it.
    pub missing: Option<String>,
    /// How often it lost messages and read everything anew.
    pub resyncs: u64,
    /// What it left out because there is too much of it.
    pub left_out: u64,
}

impl From<WatcherHealth> for WatcherStatus {
    fn from(health: WatcherHealth) -> Self {
        Self {
            state: watcher_state(health.state).to_owned(),
            name: health.name,
            last_error: health.last_error,
            missing: health.missing,
            resyncs: health.resyncs,
            left_out: health.left_out,
        }
    }
}

/// A watcher's state in one word.
pub(crate) fn watcher_state(state: WatcherState) -> &'static str {
    match state {
        WatcherState::Starting => "starting",
        WatcherState::Waiting => "waiting",
        WatcherState::Running => "running",
        WatcherState::Denied => "denied",
        _ => "retrying",
    }
}

/// The flow table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct TableStatus {
    /// Flows held now.
    pub flows: u64,
    /// The most it holds.
    pub max_flows: u64,
    /// Flows ever begun.
    pub begun: u64,
    /// Flows that ended by silence.
    pub expired: u64,
    /// Flows that ended by FIN or RST.
    pub finished: u64,
    /// Flows handed to the store before their end because the table was full.
    pub evicted: u64,
    /// Updates handed to the store.
    pub updates: u64,
    /// Bytes of kept packets that no store has yet.
    pub raw_packets_bytes: u64,
}

impl From<TableStats> for TableStatus {
    fn from(stats: TableStats) -> Self {
        let TableStats {
            flows,
            max_flows,
            begun,
            expired,
            finished,
            evicted,
            updates,
            raw_packets_bytes,
        } = stats;
        Self {
            flows,
            max_flows,
            begun,
            expired,
            finished,
            evicted,
            updates,
            raw_packets_bytes,
        }
    }
}

/// The store and the queue in front of it. Counts are of what is durable: it is still there after a
/// crash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct StoreStatus {
    /// `sqlite`.
    pub backend: String,
    /// Flows stored.
    pub flows: u64,
    /// Flow updates stored.
    pub updates: u64,
    /// Raw packets stored.
    pub raw_packets: u64,
    /// Their captured bytes.
    pub raw_bytes: u64,
    /// Bytes of the store's files.
    pub bytes_on_disk: u64,
    /// Segments.
    pub segments: u64,
    /// Start of the oldest flow, ms since the Unix epoch.
    pub oldest: Option<i64>,
    /// Batches refused since the start.
    pub failures: u64,
    /// Segments that retention removed since the start.
    pub segments_removed: u64,
    /// Updates received and not yet durable; queries see them all the same.
    pub queued_updates: u64,
    /// Their bytes, raw packets included.
    pub queued_bytes: u64,
    /// Updates lost because they came after the store was stopped.
    pub refused_updates: u64,
    /// Kept packets lost for the same reason.
    pub refused_packets: u64,
    /// Why nothing is stored at the moment, if so; nothing is lost, flows wait in the queue.
    pub error: Option<String>,
    /// Why old segments could not be removed when that was last tried, if so.
    pub retention_error: Option<String>,
    /// How long writes took; for `/metrics`.
    #[serde(skip)]
    pub write_duration: Histogram,
}

impl StoreStatus {
    /// From what the writer in front of a store of kind `backend` says.
    #[must_use]
    pub fn new(backend: &str, writer: WriterStats) -> Self {
        let store = writer.store;
        Self {
            backend: backend.to_owned(),
            flows: store.flows,
            updates: store.updates,
            raw_packets: store.raw_packets,
            raw_bytes: store.raw_bytes,
            bytes_on_disk: store.bytes_on_disk,
            segments: store.segments as u64,
            oldest: store.oldest.map(|oldest| oldest.millis()),
            failures: store.failures,
            segments_removed: store.segments_removed,
            queued_updates: writer.queued_updates as u64,
            queued_bytes: writer.queued_bytes as u64,
            refused_updates: writer.refused_updates,
            refused_packets: writer.refused_packets,
            error: writer.error,
            retention_error: writer.retention_error,
            write_duration: store.write_duration,
        }
    }
}

/// sFlow in all and by agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct SflowStatus {
    /// Datagrams received, the refused ones included.
    pub datagrams: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes: u64,
    /// Datagrams that the kernel dropped because its buffer was full.
    pub kernel_drops: u64,
    /// Datagrams refused whole, by reason: `not_allowed` of senders that are not on the list.
    pub refused: BTreeMap<String, u64>,
    /// Agents that were forgotten, for nothing had come of them for long.
    pub agents_forgotten: u64,
    /// Every agent that was heard of and not forgotten.
    pub agents: Vec<SflowAgent>,
}

/// One sFlow agent and sub-agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct SflowAgent {
    /// Its address as it names itself.
    pub agent: String,
    /// Its `sub_agent_id`.
    pub sub_agent: u32,
    /// Where its last datagram came from.
    pub source: String,
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams that never came, by their sequence numbers.
    pub lost: u64,
    /// Flow samples received.
    pub flow_samples: u64,
    /// Counter samples received.
    pub counter_samples: u64,
    /// What could not be read, by reason.
    pub decode_errors: BTreeMap<String, u64>,
    /// N of 1:N of the last flow sample.
    pub sampling_rate: u32,
    /// For how many packets each flow sample came, over the last some thousand: what the agent dropped and
    /// what was lost on the way included. Not there before the second sample.
    pub effective_sampling_rate: Option<f64>,
    /// When its first datagram came, ms since the Unix epoch.
    pub first: i64,
    /// When its last datagram came, ms since the Unix epoch.
    pub last: i64,
    /// Further counters.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// Who sends to the pcap socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct PcapClient {
    /// Its address, or, of a process of the same machine that hands a file over, `process` and its id.
    pub peer: String,
    /// When it connected, ms since the Unix epoch.
    pub since: i64,
    /// Packets it sent.
    pub packets: u64,
    /// Bytes it sent.
    pub bytes: u64,
}

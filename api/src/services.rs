//! What the handlers need from the rest of flowtap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowtap_capture::Captures;
use flowtap_flow::packet::RawPacket;
use flowtap_flow::pcap::{Resolution, to_pcap, to_pcapng};
use flowtap_flow::query::{Cancel, FlowReader};
use flowtap_flow::table::TableStats;
use flowtap_flow::timestamp::Timestamp;
use flowtap_gremlin::{Answer, Engine, ErrorKind, NOT_PACKETS, QueryError};
use flowtap_topology::watch::WatcherHealth;
use flowtap_topology::{Edge, Node, Topology};
use serde_json::Value;

use crate::declared::Declared;
use crate::page::PageLimit;
use crate::wire::{PCAPNG_MEDIA_TYPE, PartReadiness, PcapClient, SflowStatus, StoreStatus};

/// Everything a server serves. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Who answers.
    pub identity: Arc<Identity>,
    /// Flows and packets: the union of the live table and the store.
    pub flows: Arc<dyn FlowReader>,
    /// Gremlin over the same flows.
    pub queries: Arc<dyn QueryRunner>,
    /// The list of captures.
    pub captures: Arc<Captures>,
    /// The graph and its history.
    pub topology: Topology,
    /// What users declared of the graph. [`Declared::follow`] runs beside the server.
    pub declared: Arc<Declared>,
    /// The configuration that flowtap runs with, for `GET /api/config/{key}`.
    pub config: Arc<Value>,
    /// Where uploads go.
    pub uploads: Arc<dyn PcapImport>,
    /// How the parts fare.
    pub observe: Arc<dyn Observe>,
    /// How much one client may ask for.
    pub limits: Limits,
}

/// Who answers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The host's name.
    pub host: String,
    /// flowtap's version.
    pub version: String,
    /// The commit it was built from, or `unknown`.
    pub revision: String,
    /// When it was started.
    pub started: Timestamp,
}

/// How much may be asked for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Queries that run at once; a further one is refused with 503.
    pub queries: usize,
    /// How long a query may take.
    pub query_time: Duration,
    /// Packets, or flows, of one page: it ends early there, however many were asked for.
    pub page_items: usize,
    /// Their bytes: it ends early there, too.
    pub page_bytes: usize,
    /// Bytes of all answers that wait for slow clients to read them. While they are used up, further
    /// queries are refused with 503.
    pub answer_bytes: usize,
    /// Uploads at once; a further one is refused with 503.
    pub uploads: usize,
}

impl Default for Limits {
    /// At worst 8 × 128 MiB being made (a capture file takes twice its size while it is written) and
    /// 512 MiB waiting to be read.
    fn default() -> Self {
        Self {
            queries: 8,
            query_time: Duration::from_secs(30),
            page_items: 1_000_000,
            page_bytes: 128 << 20,
            answer_bytes: 512 << 20,
            uploads: 4,
        }
    }
}

impl Limits {
    /// What a page may hold for which so many `items` were asked.
    pub(crate) fn page(&self, items: usize) -> PageLimit {
        PageLimit {
            items: items.min(self.page_items),
            bytes: self.page_bytes,
        }
    }
}

/// The form of a query's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// JSON.
    Json,
    /// A pcap file; raw packets of one link type only.
    Pcap,
    /// A pcapng file; raw packets only.
    PcapNg,
    /// A graph in the DOT language; graphs only.
    Dot,
}

/// Nodes, and edges between them.
pub type GraphParts = (Vec<Arc<Node>>, Vec<Arc<Edge>>);

/// Answers Gremlin queries. Calls block.
pub trait QueryRunner: Send + Sync {
    /// Runs `gremlin` and writes its answer as `form`.
    ///
    /// # Errors
    /// [`QueryError`], whose kind decides the status code.
    fn run(&self, gremlin: &str, form: AnswerForm, cancel: &Cancel) -> Result<Vec<u8>, QueryError>;

    /// Runs `gremlin`, whose answer is a graph: its nodes and edges.
    ///
    /// # Errors
    /// As [`QueryRunner::run`]; also if the answer is something else.
    fn graph(&self, gremlin: &str, cancel: &Cancel) -> Result<GraphParts, QueryError>;
}

impl QueryRunner for Engine {
    fn run(&self, gremlin: &str, form: AnswerForm, cancel: &Cancel) -> Result<Vec<u8>, QueryError> {
        let answer = Engine::run(self, gremlin, Timestamp::now(), cancel)?;
        match form {
            AnswerForm::Json => json(&answer),
            AnswerForm::Pcap => pcap(&packets(answer)?),
            AnswerForm::PcapNg => {
                to_pcapng(&packets(answer)?).map_err(|error| no_such_form(&error.to_string()))
            }
            AnswerForm::Dot => answer.to_dot().map(String::into_bytes),
        }
    }

    fn graph(&self, gremlin: &str, cancel: &Cancel) -> Result<GraphParts, QueryError> {
        match Engine::run(self, gremlin, Timestamp::now(), cancel)? {
            Answer::Graph { nodes, edges } => Ok((nodes, edges)),
            _ => Err(QueryError {
                kind: ErrorKind::Query,
                column: None,
                message: format!("Gremlin query '{gremlin}' did not return a graph; end it in .SubGraph()"),
            }),
        }
    }
}

fn json(answer: &Answer) -> Result<Vec<u8>, QueryError> {
    let mut bytes = Vec::new();
    // Memory takes all bytes, and an answer's keys are texts: only a slip of ours ends here.
    answer
        .write_json(&mut bytes)
        .map_err(|error| no_such_form(&error.to_string()))?;
    Ok(bytes)
}

fn packets(answer: Answer) -> Result<Vec<RawPacket>, QueryError> {
    answer.into_packets().ok_or_else(|| no_such_form(NOT_PACKETS))
}

/// Skydive's files are in µs, and so are these: whoever wants ns asks `/api/v1/packets`.
fn pcap(packets: &[RawPacket]) -> Result<Vec<u8>, QueryError> {
    to_pcap(packets, Resolution::Micros)
        .map_err(|error| no_such_form(&format!("{error} (Accept: {PCAPNG_MEDIA_TYPE}, --format pcapng)")))
}

fn no_such_form(message: &str) -> QueryError {
    QueryError {
        kind: ErrorKind::Format,
        column: None,
        message: message.to_owned(),
    }
}

/// Takes capture files. Calls block: a full table or store queue holds the upload back.
pub trait PcapImport: Send + Sync {
    /// The capture that the flows will belong to.
    fn capture_id(&self) -> Arc<str>;

    /// Begins one file. `from` names the sender in the log.
    fn begin(&self, from: &str) -> Box<dyn PcapUpload>;
}

/// One file on its way in. Dropped without [`PcapUpload::finish`], what came so far is kept, as it is
/// when a connection of the pcap socket breaks.
pub trait PcapUpload: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// A sentence for the user: this is no capture file, or not one that can be read on.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Ends the file. When it returns, the flows can be queried and are on their way to the store.
    ///
    /// # Errors
    /// A sentence for the user: the file ended in the middle of a packet, or holds nothing.
    fn finish(self: Box<Self>) -> Result<PcapReport, String>;
}

/// What one file held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PcapReport {
    /// Packets read.
    pub packets: u64,
    /// Those of them whose link type is not supported: no flow is made of them.
    pub unsupported: u64,
}

/// Tells how the parts fare. Calls are short: they copy counters.
pub trait Observe: Send + Sync {
    /// The flow table.
    fn table(&self) -> TableStats;
    /// The store and the queue in front of it.
    fn store(&self) -> StoreStatus;
    /// sFlow in all and by agent; `None` if it is not received.
    fn sflow(&self) -> Option<SflowStatus>;
    /// Who sends to the pcap socket now.
    fn pcap_clients(&self) -> Vec<PcapClient>;
    /// How the watchers of the topology are.
    fn watchers(&self) -> Vec<WatcherHealth>;
    /// Each part and whether it does its work: `storage`, `sflow`, `pcapsocket`, …
    fn parts(&self) -> BTreeMap<String, PartReadiness>;
}

//! What goes over the wire: written by the server, read by the client, described in the OpenAPI
//! document. Field names are Skydive's where it has them and follow its style where it has not.

mod capture;
mod flow;
mod packet;
mod status;
mod topology;

pub use capture::CaptureEvents;
pub use flow::{FlowDocument, FlowPage, IcmpDocument, LayerDocument, MetricDocument, PortsDocument};
pub use packet::{PacketDocument, PacketPage};
pub(crate) use status::watcher_state;
pub use status::{
    Connection, Election, FlowtapStatus, PcapClient, Peers, ProbeStatus, SflowAgent, SflowStatus, Status,
    StoreStatus, TableStatus, TopologyStatus, WatcherStatus,
};
pub use topology::{EdgeDocument, EdgeRuleDocument, NodeDocument, NodeRuleDocument, TopologyDocument};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a pcap or pcapng download, as Skydive names it.
pub const PCAP_MEDIA_TYPE: &str = "application/vnd.tcpdump.pcap";
/// The media type of pcapng files.
pub const PCAPNG_MEDIA_TYPE: &str = "application/x-pcapng";
/// The media type of a graph in the DOT language, as Skydive names it.
pub const DOT_MEDIA_TYPE: &str = "text/vnd.graphviz";
/// The header that carries the cursor of the next page, whatever the format.
pub const NEXT_CURSOR_HEADER: &str = "x-next-cursor";

/// An error on our own paths (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URN that names the kind of problem.
    #[schema(example = "urn:flowtap:problem:bad-filter")]
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// The last part of `type`; stable.
    #[schema(example = "bad-filter")]
    pub code: String,
    /// What happened.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    /// Its media type.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";
}

/// The body of `POST /api/topology`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GremlinRequest {
    /// A query in Skydive's Gremlin dialect.
    #[serde(rename = "GremlinQuery", default)]
    #[schema(example = "G.Flows().Has('Application', 'DNS')")]
    pub gremlin_query: String,
}

/// The answer of `GET /api`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceInfo {
    /// The host's name.
    pub host: String,
    /// flowtap's version.
    pub version: String,
    /// `analyzer`, whose part of Skydive's API this is.
    pub service: String,
}

/// The answer of `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct VersionInfo {
    /// flowtap's version.
    pub version: String,
    /// The commit it was built from, or `unknown`.
    pub revision: String,
}

/// One part of `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PartReadiness {
    /// True if it does its work.
    pub ready: bool,
    /// Why not, or how.
    pub detail: String,
}

/// The answer of `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Readiness {
    /// True if every part is.
    pub ready: bool,
    /// Each part by name.
    pub parts: BTreeMap<String, PartReadiness>,
}

/// The answer of `POST /api/pcap`, once the flows can be queried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct UploadReport {
    /// Files taken: one, or as many as a multipart form held.
    pub files: u64,
    /// Packets read from them.
    pub packets: u64,
    /// Those of them whose link type is not supported: they are in the capture's ledger, and no flow is made of
    /// them.
    pub unsupported: u64,
    /// Bytes of the upload.
    pub bytes: u64,
    /// The capture that the flows belong to.
    #[serde(rename = "CaptureID")]
    pub capture_id: String,
}

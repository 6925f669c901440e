//! One node of a capture.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CaptureLedger, is_default};

/// What a capture is doing at one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It can begin later; the reason says what is missing.
    #[default]
    Waiting,
    /// Its source is being opened, or the last one closed.
    Starting,
    /// The kernel queues packets for it.
    Active,
    /// It failed, and is tried again; or it never can. The reason says which.
    Error,
    /// Its source has ended by itself.
    Done,
}

impl NodeState {
    /// The word used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Error => "error",
            Self::Done => "done",
        }
    }
}

/// Whether the capture has a node's packets from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FirstPackets {
    /// Packets were held from before the interface could carry any: none that came in is missing, but for
    /// those that the ledger counts as dropped.
    Complete,
    /// Packets from before the capture began are possible, and are missing then.
    Unknown,
}

/// One node that a capture's expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct CapturedNode {
    /// Its ID in the graph.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Its TID, which flows have as `NodeTID`.
    #[serde(rename = "NodeTID")]
    pub node_tid: String,
    /// Its name.
    pub name: String,
    /// The name of its network namespace; empty for the host's own.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace: String,
    /// `Type` of the node.
    pub node_type: String,
    /// The capture type there; empty if it can have none.
    #[serde(skip_serializing_if = "is_default")]
    pub r#type: String,
    /// Why that type.
    #[serde(skip_serializing_if = "is_default")]
    pub type_reason: String,
    /// What the capture is doing there.
    pub state: NodeState,
    /// Why, where the state alone does not tell.
    #[serde(skip_serializing_if = "is_default")]
    pub reason: String,
    /// Milliseconds until it was capturing: since the interface appeared or, where that was long before
    /// the expression named it, since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_delay_ms: Option<u64>,
    /// Whether it has the node's packets from the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_packets: Option<FirstPackets>,
    /// Where a pcap stream can be sent (`pcapsocket` only).
    #[serde(rename = "PCAPSocket", skip_serializing_if = "is_default")]
    pub pcap_socket: String,
    /// Where sFlow datagrams are received (`sflow` only).
    #[serde(rename = "SFlowSocket", skip_serializing_if = "is_default")]
    pub sflow_socket: String,
    /// What was received there, and what became of it.
    pub ledger: CaptureLedger,
}

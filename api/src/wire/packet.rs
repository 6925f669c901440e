//! Raw packets as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A packet kept with its flow: Skydive's raw packet, with its flow, its exact time and true length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PacketDocument {
    /// The UUID of its flow.
    #[serde(rename = "FlowUUID")]
    pub flow_uuid: String,
    /// When it was seen, ms since the Unix epoch.
    pub timestamp: i64,
    /// The same in ns.
    pub timestamp_nano: i64,
    /// Its number within its flow, from 1.
    pub index: u32,
    /// Its length on the wire in bytes.
    pub length: u32,
    /// What the first byte of `Data` begins: `LINKTYPE_*` of tcpdump.org/linktypes.html.
    pub link_type: u16,
    /// The captured bytes in base64 (RFC 4648 §4).
    pub data: String,
}

/// The answer of `GET /api/v1/packets` in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PacketPage {
    /// By time, then flow, then number.
    pub packets: Vec<PacketDocument>,
    /// To be given as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

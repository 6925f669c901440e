//! A capture as a client declares it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::document::is_default;

/// A capture to be: Skydive's fields under Skydive's names. What is left out is as the server is
/// configured; fields that are not known here are ignored, as Skydive does it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NewCapture {
    /// The expression that picks its nodes.
    #[schema(example = "G.V().HasKey('ExtID.vm-id')")]
    pub gremlin_query: String,
    /// A pcap-filter(7) expression.
    #[serde(rename = "BPFFilter", skip_serializing_if = "is_default")]
    pub bpf_filter: String,
    /// A name for people.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// A description for people.
    #[serde(skip_serializing_if = "is_default")]
    pub description: String,
    /// The capture type; empty for the one that goes with each node.
    #[serde(skip_serializing_if = "is_default")]
    pub r#type: String,
    /// The port to listen on (`pcapsocket`, `sflow`); 0 for the next that is free.
    #[serde(skip_serializing_if = "is_default")]
    pub port: u16,
    /// The first packets of each flow that are kept: 0 none, -1 all.
    #[serde(skip_serializing_if = "is_default")]
    pub raw_packet_limit: Option<i64>,
    /// Bytes of each packet that are read: 0 for all, or 14 to 262144.
    #[serde(skip_serializing_if = "is_default")]
    pub header_size: i64,
    /// Keep SYN, FIN and RST times and TTLs.
    #[serde(rename = "ExtraTCPMetric", skip_serializing_if = "is_default")]
    pub extra_tcp_metric: Option<bool>,
    /// Put IPv4 fragments together first.
    #[serde(rename = "IPDefrag", skip_serializing_if = "is_default")]
    pub ip_defrag: Option<bool>,
    /// Follow TCP sequence numbers.
    #[serde(rename = "ReassembleTCP", skip_serializing_if = "is_default")]
    pub reassemble_tcp: Option<bool>,
    /// `L2` or `L3`.
    #[serde(skip_serializing_if = "is_default")]
    pub layer_key_mode: String,
    /// Bit mask: VRRP 1, DNS 2, DHCPv4 4.
    #[serde(skip_serializing_if = "is_default")]
    pub extra_layers: Option<u32>,
    /// N of the sampling 1:N that is asked of a bridge.
    #[serde(skip_serializing_if = "is_default")]
    pub sampling_rate: u32,
    /// Seconds between the counter samples that are asked of a bridge.
    #[serde(skip_serializing_if = "is_default")]
    pub polling_interval: u32,
    /// Where packets are sent on to: `HOST` or `HOST:PORT`.
    #[serde(skip_serializing_if = "is_default")]
    pub target: String,
    /// How they are sent: `local`, `netflowv5`, `erspanv1`.
    #[serde(skip_serializing_if = "is_default")]
    pub target_type: String,
}

impl NewCapture {
    /// A capture of the nodes that `gremlin` names, with everything else as the server is configured.
    #[must_use]
    pub fn new(gremlin: impl Into<String>) -> Self {
        Self {
            gremlin_query: gremlin.into(),
            ..Self::default()
        }
    }
}

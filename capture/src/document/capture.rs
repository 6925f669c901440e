//! The capture document.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CaptureEvent, CaptureLedger, CapturedNode, is_default};

/// What a capture is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Valid, and nothing to read from yet.
    #[default]
    Waiting,
    /// Its source is being opened.
    Starting,
    /// The kernel queues packets for it.
    Active,
    /// Active on some of its sources, failed on others; the reason says which.
    Partial,
    /// Failed; the reason says where, why, and the fix.
    Error,
    /// Ended by itself: its time or its packets were used up.
    Done,
}

impl State {
    /// All states, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Starting,
        Self::Active,
        Self::Partial,
        Self::Error,
        Self::Done,
    ];

    /// The word used in JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Partial => "partial",
            Self::Error => "error",
            Self::Done => "done",
        }
    }

    /// True while packets can come in.
    #[must_use]
    pub fn is_capturing(self) -> bool {
        matches!(self, Self::Active | Self::Partial)
    }
}

/// A capture as clients read it. Fields up to `TargetType` are Skydive's, with its rules of what is
/// left out when empty; the rest is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Capture {
    /// Its id. Standing inputs keep theirs over a restart.
    #[serde(rename = "UUID")]
    pub uuid: String,
    /// The expression that picks its nodes; empty for standing inputs. Never left out: Skydive's
    /// captures always have one, and its Python client counts on that.
    pub gremlin_query: String,
    /// A pcap-filter(7) expression.
    #[serde(rename = "BPFFilter", skip_serializing_if = "String::is_empty")]
    pub bpf_filter: String,
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A description for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The capture type: `afpacket`, `sflow`, `upload`, …; empty where it goes by the node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub r#type: String,
    /// How many nodes it is active at; for a standing input, 1 while it is active.
    pub count: u32,
    /// Where a pcap stream can be sent (`pcapsocket` only): `127.0.0.1:8100`.
    #[serde(rename = "PCAPSocket", skip_serializing_if = "String::is_empty")]
    pub pcap_socket: String,
    /// Where sFlow datagrams are received (`sflow` only): `127.0.0.1:6343`.
    #[serde(rename = "SFlowSocket", skip_serializing_if = "String::is_empty")]
    pub sflow_socket: String,
    /// The port it listens on.
    #[serde(skip_serializing_if = "is_default")]
    pub port: u16,
    /// The first packets of each flow that are kept: 0 none, -1 all.
    #[serde(skip_serializing_if = "is_default")]
    pub raw_packet_limit: i64,
    /// Bytes of each packet that are read, 0 for the type's default.
    #[serde(skip_serializing_if = "is_default")]
    pub header_size: u32,
    /// Keep SYN, FIN and RST times and TTLs.
    #[serde(rename = "ExtraTCPMetric")]
    pub extra_tcp_metric: bool,
    /// Put IPv4 fragments together first.
    #[serde(rename = "IPDefrag")]
    pub ip_defrag: bool,
    /// Follow TCP sequence numbers.
    #[serde(rename = "ReassembleTCP")]
    pub reassemble_tcp: bool,
    /// `L2` or `L3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub layer_key_mode: String,
    /// Bit mask: VRRP 1, DNS 2, DHCPv4 4.
    #[serde(skip_serializing_if = "is_default")]
    pub extra_layers: u32,
    /// N of the sampling 1:N that is asked of a bridge.
    pub sampling_rate: u32,
    /// Seconds between the counter samples that are asked of a bridge.
    pub polling_interval: u32,
    /// Where packets are sent on to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// How they are sent: `local`, `netflowv5`, `erspanv1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_type: String,
    /// What it is doing.
    pub state: State,
    /// Why, where the state alone does not tell.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Where it listens; for `upload`, the path to post to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listen: String,
    /// When it was declared (standing inputs: when flowtap started), ms since the Unix epoch.
    pub create_time: i64,
    /// When it will be deleted, ms since the Unix epoch; 0 for never.
    #[serde(skip_serializing_if = "is_default")]
    pub expires: i64,
    /// What was received, and what became of it: at all nodes, those that are gone included.
    pub ledger: CaptureLedger,
    /// The nodes that its expression names and that could be captured, 1,000 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<CapturedNode>,
    /// What happened, oldest first. Lists of captures leave it out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<CaptureEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::EventKind;

    #[test]
    fn empty_fields_are_left_out_as_skydive_does() {
        let document = serde_json::to_value(Capture::default()).unwrap();
        let mut names: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "Count",
                "CreateTime",
                "ExtraTCPMetric",
                "GremlinQuery",
                "IPDefrag",
                "Ledger",
                "PollingInterval",
                "ReassembleTCP",
                "SamplingRate",
                "State",
                "UUID",
            ]
        );
    }

    #[test]
    fn names_are_skydives() {
        let full = Capture {
            uuid: "u".into(),
            gremlin_query: "g".into(),
            bpf_filter: "icmp".into(),
            name: "n".into(),
            description: "d".into(),
            r#type: "sflow".into(),
            count: 1,
            pcap_socket: "p".into(),
            sflow_socket: "s".into(),
            port: 6343,
            raw_packet_limit: -1,
            header_size: 14,
            layer_key_mode: "L2".into(),
            extra_layers: 7,
            target: "t".into(),
            target_type: "local".into(),
            state: State::Active,
            reason: "r".into(),
            listen: "l".into(),
            expires: 1,
            nodes: vec![CapturedNode::default()],
            events: vec![CaptureEvent {
                sequence: 1,
                time: 2,
                event: EventKind::Created,
                node_tid: String::new(),
                node_name: String::new(),
                detail: String::new(),
            }],
            ..Capture::default()
        };
        let document = serde_json::to_value(&full).unwrap();
        let names = [
            "UUID",
            "GremlinQuery",
            "BPFFilter",
            "Name",
            "Description",
            "Type",
            "Count",
            "PCAPSocket",
            "SFlowSocket",
            "Port",
            "RawPacketLimit",
            "HeaderSize",
            "ExtraTCPMetric",
            "IPDefrag",
            "ReassembleTCP",
            "LayerKeyMode",
            "ExtraLayers",
            "SamplingRate",
            "PollingInterval",
            "Target",
            "TargetType",
            "State",
            "Reason",
            "Listen",
            "CreateTime",
            "Expires",
            "Ledger",
            "Nodes",
            "Events",
        ];
        for name in names {
            assert!(document.get(name).is_some(), "{name} is missing");
        }
        assert_eq!(document.as_object().unwrap().len(), names.len());
        assert_eq!(document["State"], "active");
        assert_eq!(serde_json::from_value::<Capture>(document).unwrap(), full);
    }

    #[test]
    fn every_state_has_its_word() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}

//! What to ask of `/api/v1`.

/// Which items come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// The oldest.
    #[default]
    OldestFirst,
    /// The newest.
    NewestFirst,
}

/// How the analyzer writes flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowFormat {
    /// One JSON document.
    Json,
    /// One JSON document a line.
    JsonLines,
    /// Comma-separated values.
    Csv,
}

impl FlowFormat {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// How the analyzer writes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketFormat {
    /// pcap with times in µs.
    Pcap,
    /// pcap with times in ns.
    PcapNanos,
    /// pcapng, in ns.
    PcapNg,
}

impl PacketFormat {
    pub(super) fn parameters(self) -> Vec<(&'static str, String)> {
        let (format, precision) = match self {
            Self::Pcap => ("pcap", "us"),
            Self::PcapNanos => ("pcap", "ns"),
            Self::PcapNg => ("pcapng", "ns"),
        };
        vec![("format", format.to_owned()), ("precision", precision.to_owned())]
    }
}

/// Which flows. Every field narrows; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowsRequest {
    /// Gremlin steps that filter flows.
    pub filter: Option<String>,
    /// The application.
    pub app: Option<String>,
    /// An IP address of either end, or an IPv4 network.
    pub host: Option<String>,
    /// A port of either end.
    pub port: Option<u16>,
    /// A capture's UUID or name.
    pub capture: Option<String>,
    /// A tracking id.
    pub tracking_id: Option<String>,
    /// A Community ID.
    pub community_id: Option<String>,
    /// Not before, in any form that `/api/v1/flows` takes.
    pub from: Option<String>,
    /// Not after.
    pub to: Option<String>,
    /// Flows only: those in the flow table that got a packet within so many seconds, by the analyzer's
    /// clock.
    pub active: Option<u64>,
    /// How many in all; `None`: no limit for pages that follow each other, the analyzer's for one page.
    pub limit: Option<usize>,
    /// Which come first.
    pub order: SortOrder,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Which packets: those of the flows asked for, in the time asked for.
pub type PacketsRequest = FlowsRequest;

impl FlowsRequest {
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let order = match self.order {
            SortOrder::OldestFirst => None,
            SortOrder::NewestFirst => Some("desc".to_owned()),
        };
        let all = [
            ("filter", self.filter.clone()),
            ("active", self.active.map(|seconds| seconds.to_string())),
            ("app", self.app.clone()),
            ("host", self.host.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("capture", self.capture.clone()),
            ("tracking_id", self.tracking_id.clone()),
            ("community_id", self.community_id.clone()),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("order", order),
            ("cursor", self.cursor.clone()),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

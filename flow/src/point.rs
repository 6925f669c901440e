//! Capture points: who sees packets, and how they become flows there.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::packet::Sink;
use crate::text::Text;

/// Which layers make two packets belong to one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerKeyMode {
    /// MAC addresses, IP addresses and ports.
    #[default]
    L2,
    /// IP addresses and ports.
    L3,
}

/// Extra layers whose contents are kept with the flow (Skydive's `ExtraLayers` bit mask).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExtraLayers(pub u32);

impl ExtraLayers {
    /// VRRPv2.
    pub const VRRP: u32 = 1;
    /// DNS.
    pub const DNS: u32 = 2;
    /// DHCPv4.
    pub const DHCPV4: u32 = 4;

    /// True if `layer` (one of the constants) is wanted.
    #[must_use]
    pub fn wants(self, layer: u32) -> bool {
        self.0 & layer != 0
    }
}

/// Names that ports stand for, as `Application` shows them (Skydive's `flow.application_ports`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplicationPorts {
    /// TCP port to name.
    #[serde(deserialize_with = "upper_case")]
    pub tcp: HashMap<u16, Text>,
    /// UDP port to name.
    #[serde(deserialize_with = "upper_case")]
    pub udp: HashMap<u16, Text>,
}

/// Names as Skydive shows them.
fn upper_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashMap<u16, Text>, D::Error> {
    let names = HashMap::<u16, String>::deserialize(deserializer)?;
    let upper = |(port, name): (u16, String)| (port, Text::lasting(&name.to_uppercase()));
    Ok(names.into_iter().map(upper).collect())
}

/// How packets of one capture become flows.
#[derive(Clone, Debug)]
pub struct PointOptions {
    /// UUID of the capture; [`Text::lasting`], as each flow takes it along.
    pub capture_id: Text,
    /// Which layers make the key.
    pub layer_key_mode: LayerKeyMode,
    /// How many packets of each flow are kept: the first N; [`PointOptions::UNLIMITED`] keeps all.
    pub raw_packet_limit: u32,
    /// Bytes that kept packets of this capture may hold in memory until the store has them.
    pub raw_budget_bytes: u64,
    /// What happens to a packet that is to be kept when the budget is used up: a source that can
    /// wait (a file, a TCP peer) waits for the store; one that cannot counts it and goes on.
    pub can_wait: bool,
    /// Whether packets carry the time at which they were seen here, so that round-trip times can be
    /// measured. False for samples, which carry the time at which their datagram came.
    pub exact_times: bool,
    /// Keep SYN, FIN and RST times and TTLs.
    pub extra_tcp_metric: bool,
    /// Put IPv4 fragments together before the flow is looked up.
    pub ip_defrag: bool,
    /// Follow TCP sequence numbers: out of order, skipped.
    pub reassemble_tcp: bool,
    /// Keep contents of these layers.
    pub extra_layers: ExtraLayers,
    /// Port names.
    pub application_ports: Arc<ApplicationPorts>,
}

impl PointOptions {
    /// A `raw_packet_limit` without limit.
    pub const UNLIMITED: u32 = u32::MAX;
    /// The first packets of each flow kept unless the user says otherwise.
    pub const DEFAULT_RAW_PACKET_LIMIT: u32 = 20;
    /// 64 MiB: at 1 M packets/s of 64 bytes kept, about half a second until the store must have them.
    pub const DEFAULT_RAW_BUDGET_BYTES: u64 = 64 << 20;
}

impl Default for PointOptions {
    fn default() -> Self {
        Self {
            capture_id: Text::default(),
            layer_key_mode: LayerKeyMode::L2,
            raw_packet_limit: Self::DEFAULT_RAW_PACKET_LIMIT,
            raw_budget_bytes: Self::DEFAULT_RAW_BUDGET_BYTES,
            can_wait: false,
            exact_times: true,
            extra_tcp_metric: false,
            ip_defrag: false,
            reassemble_tcp: false,
            extra_layers: ExtraLayers::default(),
            application_ports: Arc::default(),
        }
    }
}

/// Opens sinks for one capture: a reader asks for one for each node that it sees packets of.
pub trait Points: Send + Sync {
    /// A sink for packets seen at the node with this TID (empty: in no topology). Sinks of the same
    /// node share their flows; each belongs to one thread at a time.
    fn open(&self, node_tid: &str) -> Box<dyn Sink>;
}

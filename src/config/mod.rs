//! The configuration: one struct a component, with its defaults.
//!
//! A value comes from the command line, else the environment, else the file, else from here.
//! `flowtap-sample.toml` holds every default; a test holds it to that.

mod load;
mod validate;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use flowtap_collectors::pcapsocket::PcapSocketOptions;
use flowtap_collectors::sflow::SflowOptions;
use flowtap_flow::point::{ApplicationPorts, ExtraLayers, LayerKeyMode};
use flowtap_topology::watch::WatchOptions;
use serde::{Deserialize, Serialize};

pub(crate) use load::{Loaded, load};

/// Everything that `flowtap up` can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) http: Http,
    pub(crate) sflow: Sflow,
    pub(crate) pcap_socket: PcapSocket,
    pub(crate) topology: Topology,
    pub(crate) flows: Flows,
    pub(crate) packets: Packets,
    pub(crate) storage: Storage,
    pub(crate) queries: Queries,
    pub(crate) log: Log,
    pub(crate) application_ports: ApplicationPorts,
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    /// Serve beyond loopback although nobody is asked who they are.
    pub(crate) insecure: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: loopback(8082),
            insecure: false,
        }
    }
}

/// The standing sFlow collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sflow {
    pub(crate) listen: Listen,
    /// Listen beyond loopback although anybody can send there.
    pub(crate) insecure: bool,
    /// Networks of those that may send; empty for everybody.
    pub(crate) agents: Vec<String>,
    /// Without a datagram for so long, an agent is forgotten; 0 for never.
    pub(crate) agent_idle_seconds: u64,
    /// What the kernel is asked to hold while the reader is busy.
    pub(crate) receive_buffer_bytes: usize,
}

impl Default for Sflow {
    fn default() -> Self {
        Self {
            listen: Listen::At(loopback(6343)),
            insecure: false,
            agents: Vec::new(),
            agent_idle_seconds: SflowOptions::DEFAULT_AGENT_IDLE.as_secs(),
            receive_buffer_bytes: SflowOptions::DEFAULT_RECEIVE_BUFFER,
        }
    }
}

/// The standing pcap-over-TCP collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PcapSocket {
    pub(crate) listen: Listen,
    /// Listen beyond loopback although anybody can connect there.
    pub(crate) insecure: bool,
    /// Connections at once; more are closed.
    pub(crate) max_clients: usize,
}

impl Default for PcapSocket {
    fn default() -> Self {
        Self {
            listen: Listen::At(loopback(8100)),
            insecure: false,
            max_clients: PcapSocketOptions::DEFAULT_MAX_CLIENTS,
        }
    }
}

/// The graph and what is watched for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Topology {
    /// Watch this host, its network namespaces and their interfaces.
    pub(crate) watch: bool,
    /// Directories of named namespaces.
    pub(crate) namespaces: Vec<PathBuf>,
    /// Find the namespaces of containers through their processes.
    pub(crate) containers: bool,
    /// How often counters of interfaces are read.
    pub(crate) metrics_seconds: u64,
    /// Nodes that the graph holds, the host included; further ones are left out, and that is told.
    pub(crate) max_nodes: usize,
    /// Where Open vSwitch's database listens, or `off`.
    pub(crate) ovsdb: String,
    /// Switches, ports and cables that nothing watches, in Skydive's words.
    pub(crate) fabric: Vec<String>,
}

impl Default for Topology {
    fn default() -> Self {
        let watched = WatchOptions::default();
        Self {
            watch: true,
            namespaces: watched.directories,
            containers: watched.processes,
            metrics_seconds: watched.metrics_interval.as_secs(),
            max_nodes: flowtap_topology::DEFAULT_MAX_NODES,
            ovsdb: "unix:/var/run/openvswitch/db.sock".to_owned(),
            fabric: Vec::new(),
        }
    }
}

/// The flow table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Flows {
    /// Flows held in memory; one more sends the oldest to the store.
    pub(crate) max: usize,
    /// How often a flow that goes on is written.
    pub(crate) update_seconds: u64,
    /// Without a packet for so long, a flow has ended.
    pub(crate) expire_seconds: u64,
    /// Whether MAC addresses tell flows apart (`L2`) or only IP addresses and ports (`L3`).
    pub(crate) layer_key_mode: LayerKeyMode,
    /// Put IPv4 fragments together before their flow is looked up.
    pub(crate) ip_defrag: bool,
    /// Keep SYN, FIN and RST times and TTLs.
    pub(crate) extra_tcp_metric: bool,
    /// Follow TCP sequence numbers: segments out of order and skipped.
    pub(crate) reassemble_tcp: bool,
    /// Layers whose contents are kept with their flow.
    pub(crate) extra_layers: Vec<ExtraLayer>,
}

/// A layer whose contents can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExtraLayer {
    #[serde(rename = "VRRP")]
    Vrrp,
    #[serde(rename = "DNS")]
    Dns,
    #[serde(rename = "DHCPv4")]
    Dhcpv4,
}

impl Flows {
    /// The layers as the flow table knows them.
    pub(crate) fn extra_layers(&self) -> ExtraLayers {
        let bit = |layer: &ExtraLayer| match layer {
            ExtraLayer::Vrrp => ExtraLayers::VRRP,
            ExtraLayer::Dns => ExtraLayers::DNS,
            ExtraLayer::Dhcpv4 => ExtraLayers::DHCPV4,
        };
        ExtraLayers(self.extra_layers.iter().map(bit).fold(0, |all, one| all | one))
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            max: 458_752,
            update_seconds: 60,
            expire_seconds: 600,
            layer_key_mode: LayerKeyMode::L2,
            ip_defrag: false,
            extra_tcp_metric: false,
            reassemble_tcp: false,
            extra_layers: Vec::new(),
        }
    }
}

/// Packets kept with their flows, for each standing input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Packets {
    /// The first so many of each flow; -1 keeps all of them.
    pub(crate) per_flow: i64,
    /// Bytes that kept packets of one input may hold in memory until they are stored.
    pub(crate) memory_bytes: u64,
}

impl Default for Packets {
    fn default() -> Self {
        Self {
            per_flow: 20,
            memory_bytes: 64 << 20,
        }
    }
}

/// The store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Storage {
    /// Empty: `/var/lib/flowtap` for root, else `$XDG_DATA_HOME/flowtap`.
    pub(crate) data_dir: PathBuf,
    /// Hours that flows and packets are kept; 0 keeps them however old.
    pub(crate) keep_hours: u64,
    /// Bytes that they may take on disk; 0 sets no bound.
    pub(crate) keep_bytes: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            keep_hours: 7 * 24,
            keep_bytes: 20 << 30,
        }
    }
}

/// What one query may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Queries {
    pub(crate) timeout_seconds: u64,
    pub(crate) max_rows: u64,
    pub(crate) max_bytes: u64,
    /// Questions answered at the same time; more are refused.
    pub(crate) at_once: usize,
}

impl Default for Queries {
    fn default() -> Self {
        Self {
            timeout_seconds: 30,
            max_rows: 1_000_000,
            max_bytes: 256 << 20,
            at_once: 8,
        }
    }
}

/// The log on stderr.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,flowtap_storage=debug`.
    pub(crate) filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
        }
    }
}

/// Where an input listens, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Off,
    At(SocketAddr),
}

impl Listen {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }

    /// Whether others than this host can reach it.
    pub(crate) fn is_beyond_loopback(self) -> bool {
        self.address().is_some_and(|address| !address.ip().is_loopback())
    }
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse();
        address
            .map(Self::At)
            .map_err(|_| format!("`{text}` is neither ADDRESS:PORT nor `off`"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

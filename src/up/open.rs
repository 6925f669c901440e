//! Everything that can fail, done before anything starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flowtap_collectors::pcapsocket::{PcapSocket, PcapSocketOptions, PcapSocketReader};
use flowtap_collectors::sflow::{Sflow, SflowOptions, SflowReader};
use flowtap_storage::{SqliteOptions, SqliteStore};
use flowtap_topology::Graph;
use tokio::net::TcpListener;

use super::banner::Banner;
use super::running::Running;
use crate::config::{self, Config, Storage};

/// A locked store and bound sockets; nothing reads them yet. Dropped, it leaves no trace but the
/// data directory.
pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) data_dir: PathBuf,
    pub(super) store: SqliteStore,
    pub(super) graph: Arc<Graph>,
    pub(super) http: TcpListener,
    pub(super) sflow: Option<SflowReader>,
    pub(super) pcap_socket: Option<PcapSocketReader>,
}

impl Opened {
    /// # Errors
    /// The first thing that cannot be had: the data directory, or a port.
    pub(super) async fn open(config: Config) -> Result<Self> {
        let data_dir = config.storage.directory()?;
        let address = config.http.listen;
        let http = TcpListener::bind(address).await;
        let http = http.with_context(|| {
            format!("failed to listen on TCP {address} for HTTP, choose another address with --listen")
        })?;
        let graph = Graph::with_max_nodes(&host_name(), config.topology.max_nodes);
        let graph = Arc::new(graph);
        let pcap_socket = config.pcap_socket.listen.address().map(|address| {
            let options = PcapSocketOptions {
                // In no topology, like uploads: the packets were seen elsewhere.
                node_tid: Arc::from(""),
                max_clients: config.pcap_socket.max_clients,
            };
            PcapSocket::bind(address, options)
        });
        let options = sflow_options(&config.sflow, &graph)?;
        let sflow = config.sflow.listen.address();
        let sflow = sflow.map(|address| Sflow::bind(address, options));
        let (pcap_socket, sflow) = (pcap_socket.transpose()?, sflow.transpose()?);
        // Last, for it leaves files: a taken port must not.
        let store = SqliteStore::open(&data_dir, sqlite_options(&config.storage))?;
        Ok(Self {
            config,
            data_dir,
            store,
            graph,
            http,
            sflow,
            pcap_socket,
        })
    }

    /// Where everything is, with the ports that the system chose.
    ///
    /// # Errors
    /// The system's, if it does not know its own socket.
    pub(super) fn banner(&self) -> Result<Banner> {
        Ok(Banner {
            http: self.http.local_addr()?,
            sflow: self.sflow.as_ref().map(SflowReader::local_addr),
            pcap_socket: self.pcap_socket.as_ref().map(PcapSocketReader::local_addr),
            data_dir: self.data_dir.clone(),
        })
    }

    /// Starts every part.
    ///
    /// # Errors
    /// See [`Running::start`].
    pub(super) fn start(self) -> Result<Running> {
        Running::start(self)
    }
}

fn sqlite_options(storage: &Storage) -> SqliteOptions {
    let bound = |value: u64| (value > 0).then_some(value);
    SqliteOptions {
        retention_age: bound(storage.keep_hours).map(|hours| Duration::from_secs(hours.saturating_mul(3600))),
        retention_bytes: bound(storage.keep_bytes),
        ..SqliteOptions::default()
    }
}

/// How sFlow is taken in, at every port that it comes to.
///
/// # Errors
/// What is wrong with the list of agents.
pub(super) fn sflow_options(settings: &config::Sflow, graph: &Arc<Graph>) -> Result<SflowOptions> {
    Ok(SflowOptions {
        receive_buffer: settings.receive_buffer_bytes,
        agents: settings.agents()?,
        agent_idle: settings.agent_idle(),
        ..SflowOptions::new(Arc::clone(graph))
    })
}

/// This host's name as the kernel knows it.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.to_owned()
    }
}

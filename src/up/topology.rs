//! The graph at work: its watchers, its history, its fabric.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flowtap_api::Declared;
use flowtap_storage::{SqliteHistory, SqliteStore};
use flowtap_topology::fabric::Fabric;
use flowtap_topology::watch::ovsdb::{self, OvsdbOptions, OvsdbWatcher};
use flowtap_topology::watch::sflow_ports::{self, SflowPorts};
use flowtap_topology::watch::{WatchOptions, WatcherHealth, Watchers};
use flowtap_topology::{Graph, Topology};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::config;

/// The graph, what remembers it, and what keeps it true.
pub(super) struct RunningTopology {
    graph: Arc<Graph>,
    history: Arc<SqliteHistory>,
    declared: Arc<Declared>,
    /// Until the stop.
    parts: Mutex<Option<Parts>>,
}

/// What keeps the graph true.
struct Parts {
    watchers: Option<Watchers>,
    ovsdb: Option<OvsdbWatcher>,
    sflow_ports: SflowPorts,
    /// Keep the graph what the configuration and the users say.
    followers: Vec<JoinHandle<()>>,
}

impl RunningTopology {
    /// Starts to remember first, and then to watch.
    ///
    /// # Errors
    /// The store's, and the system's, if it gives no threads or sockets.
    pub(super) fn start(graph: Arc<Graph>, config: &config::Topology, store: &SqliteStore) -> Result<Self> {
        let history = store.record_topology(Arc::clone(&graph))?;
        let declared = Declared::open(Arc::clone(&graph), store.resources())?;
        let mut followers = vec![tokio::spawn(Arc::clone(&declared).follow())];
        let links = config.fabric()?;
        if !links.is_empty() {
            let fabric = Arc::new(Fabric::new(Arc::clone(&graph), links));
            followers.push(tokio::spawn(async move { fabric.follow().await }));
        }
        let watchers = config
            .watch
            .then(|| Watchers::start(Arc::clone(&graph), watch_options(config)))
            .transpose()
            .context(
                "failed to start watching network namespaces; raise fs.inotify.max_user_instances and the limit \
                 of open files, or set topology.watch = false",
            )?;
        let ovsdb = config
            .ovsdb()?
            .map(|address| ovsdb::start(Arc::clone(&graph), OvsdbOptions::new(address)))
            .transpose()
            .context("failed to start watching Open vSwitch")?;
        let sflow_ports = sflow_ports::start(Arc::clone(&graph))
            .context("failed to start joining sFlow ports with interfaces")?;
        let parts = Parts {
            watchers,
            ovsdb,
            sflow_ports,
            followers,
        };
        Ok(Self {
            graph,
            history: Arc::new(history),
            declared,
            parts: Mutex::new(Some(parts)),
        })
    }

    /// The graph and its history, for queries.
    pub(super) fn topology(&self) -> Topology {
        let history: Arc<SqliteHistory> = Arc::clone(&self.history);
        Topology::new(Arc::clone(&self.graph), Some(history))
    }

    /// What users declared of the graph.
    pub(super) fn declared(&self) -> Arc<Declared> {
        Arc::clone(&self.declared)
    }

    /// How each watcher is.
    pub(super) fn health(&self) -> Vec<WatcherHealth> {
        let parts = self.parts();
        let Some(parts) = &*parts else { return Vec::new() };
        let watchers = parts.watchers.iter().flat_map(Watchers::health);
        watchers
            .chain(parts.ovsdb.iter().map(OvsdbWatcher::health))
            .collect()
    }

    /// Stops watching, and writes down what was seen.
    ///
    /// # Errors
    /// Names the watchers that were late, or tells what could not be written.
    pub(super) async fn stop(&self, patience: Duration) -> Result<()> {
        let Some(parts) = self.parts().take() else {
            return Ok(());
        };
        for follower in &parts.followers {
            follower.abort();
        }
        let late = match parts.watchers {
            Some(watchers) => watchers.stop(patience / 2).await,
            None => Vec::new(),
        };
        let history = Arc::clone(&self.history);
        spawn_blocking(move || {
            drop((parts.ovsdb, parts.sflow_ports));
            history.stop(patience / 2)
        })
        .await?
        .context("history")?;
        ensure!(late.is_empty(), "these watchers are late: {}", late.join(", "));
        Ok(())
    }

    // Whoever panicked with it has put it there or taken it out as a whole.
    fn parts(&self) -> MutexGuard<'_, Option<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch_options(config: &config::Topology) -> WatchOptions {
    let mut options = WatchOptions::default();
    options.directories.clone_from(&config.namespaces);
    options.processes = config.containers;
    options.metrics_interval = Duration::from_secs(config.metrics_seconds);
    options
}

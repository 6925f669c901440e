//! The watchers that keep the graph true: this host, its network namespaces and their interfaces.
//!
//! Each namespace has a thread that waits on its netlink sockets; one more looks after the namespaces.
//! They recover by themselves, and what they cannot see [`Watchers::health`] tells.
//!
//! An interface's node is added as soon as the kernel tells of it (`RTM_NEWLINK`), in the first edit with
//! `Name`, `Type`, `IfIndex`, `MAC` and `State`; what needs asking (features, routes) follows a moment
//! later. Its owner is the host's node, or that of a namespace, whose `Path` is where to enter it.
//!
//! Two more are started by themselves: [`ovsdb`] for Open vSwitch, [`sflow_ports`] for the ports of sFlow
//! agents.

mod counts;
mod health;
mod host;
mod netlink;
mod netns;
pub mod ovsdb;
pub mod sflow_ports;
mod shared;
mod wake;
mod wiring;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::graph::Graph;

use health::Board;
use netns::Namespaces;
use shared::{Mailbox, Places, Shared};
use wiring::Wiring;

pub use health::{WatcherHealth, WatcherState};
pub use netlink::LIST_LIMIT;

/// What is watched, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchOptions {
    /// Directories of named namespaces, which need not exist yet.
    pub directories: Vec<PathBuf>,
    /// Whether namespaces without a name are found through the processes in them.
    pub processes: bool,
    /// How often names and processes are looked through for what no event told.
    pub process_interval: Duration,
    /// How often counters are read.
    pub metrics_interval: Duration,
    /// Bytes that the kernel may queue for each namespace while its watcher is busy. A change of an
    /// interface takes some 4 KiB; when it is full everything is read anew. It costs memory only while
    /// something is queued.
    pub receive_buffer: usize,
    /// How many namespaces are watched, this one included. Each costs a thread, some 150 KiB and five file
    /// descriptors; those beyond are left out, which [`WatcherHealth::left_out`] tells.
    pub max_namespaces: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            directories: ["/run/netns", "/var/run/netns", "/run/docker/netns"]
                .map(PathBuf::from)
                .into(),
            processes: true,
            process_interval: Duration::from_secs(2),
            metrics_interval: Duration::from_secs(30),
            receive_buffer: 4 * 1024 * 1024,
            max_namespaces: 1_000,
        }
    }
}

/// The running watchers of one graph. Dropped, they stop as well, but nobody waits for them.
#[derive(Debug)]
pub struct Watchers {
    shared: Arc<Shared>,
    /// Closed when all threads have ended.
    ended: oneshot::Receiver<()>,
}

impl Watchers {
    /// Starts to watch. The graph fills from then on; it is complete when [`Watchers::is_ready`].
    ///
    /// # Errors
    /// What keeps a process from watching anything: no file descriptors, no inotify, no `/proc`.
    pub fn start(graph: Arc<Graph>, options: WatchOptions) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            graph,
            options,
            board: Board::default(),
            wiring: Wiring::default(),
            places: Places::default(),
            doorbell: Mailbox::new()?,
        });
        let (end, ended) = oneshot::channel();
        let namespaces = Namespaces::new(Arc::clone(&shared))?;
        let graph = Arc::clone(&shared.graph);
        let host = shared.board.reporter("host".to_owned());
        std::thread::Builder::new()
            .name("namespaces".to_owned())
            .spawn(move || {
                host::describe(&graph, &host);
                namespaces.run();
                drop((host, end));
            })?;
        Ok(Self { shared, ended })
    }

    /// How each watcher is.
    #[must_use]
    pub fn health(&self) -> Vec<WatcherHealth> {
        self.shared.board.all()
    }

    /// Whether all have had their first look. One that is refused or fails has had it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let health = self.health();
        health.iter().all(|health| health.state != WatcherState::Starting)
    }

    /// Stops all watchers and waits for them, at most for `deadline`. The nodes stay. Returns the names
    /// of those that still run.
    pub async fn stop(mut self, deadline: Duration) -> Vec<String> {
        self.shared.doorbell.stop();
        // Closed is what is waited for, so its error is the good end.
        match tokio::time::timeout(deadline, &mut self.ended).await {
            Ok(_) => Vec::new(),
            Err(_) => self.health().into_iter().map(|health| health.name).collect(),
        }
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.shared.doorbell.stop();
    }
}

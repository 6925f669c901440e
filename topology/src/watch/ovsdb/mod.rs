//! Bridges, ports and interfaces of Open vSwitch, as its database has them.
//!
//! | row | node | edges |
//! |---|---|---|
//! | `Bridge` | `ovsbridge`, known by its UUID | owned by the host |
//! | `Port` | `ovsport`, known by its UUID | owned by its bridge, and `layer2` to it |
//! | `Interface` | the kernel's interface where it has one, found by name, ifindex and MAC; else one of its own, owned by the bridge | `layer2` to its port; between two patch ports `layer2` with `Type` `patch` |
//!
//! What a row says is taken back when the row goes; an interface that the kernel has stays without it.
//!
//! While the database cannot be reached, the graph keeps what was known last: the switch itself goes
//! on without its database, and so do its bridges. After a reconnection only what changed is
//! written. A host without Open vSwitch is no fault: the watcher waits for the database's socket.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use self::devices::Devices;
use self::place::{Placer, Surroundings};
use self::rows::{DATABASE, Dirty, Rows, TABLES};
use super::health::{WatcherHealth, WatcherState};
use crate::event::{Event, Lagged, Subscription};
use crate::graph::Graph;
use crate::ovsdb::{Address, Follow, FollowEvent, Follower, Limits, OvsdbError};

mod describe;
mod devices;
mod external_ids;
mod interface;
mod join;
mod metrics;
mod place;
mod rows;

/// Events of the graph that are read before rows are looked at: a burst of them is one piece of work.
const EVENTS_AT_ONCE: usize = 1024;

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct OvsdbOptions {
    /// Where the switch's database listens.
    pub address: Address,
    /// Whether `ExtID.vm-id` answers where `vm-uuid` is written and the reverse, and `attached-mac` and
    /// `attached_mac` likewise.
    pub aliases: bool,
    /// What is put up with from the database.
    pub limits: Limits,
    /// How long a row without a device waits for one before it gets a node of its own.
    pub settle: Duration,
}

impl OvsdbOptions {
    /// The usual ones.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            aliases: true,
            limits: Limits::default(),
            settle: Duration::from_millis(500),
        }
    }
}

/// A running watcher. It stops when it is dropped, and leaves the graph as it is then.
#[derive(Debug)]
pub struct OvsdbWatcher {
    health: Arc<Mutex<WatcherHealth>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts to watch, on a thread of its own: reading a large database takes longer than a task may.
///
/// # Errors
/// The system's, if it has no room for another thread. A database that is not there is none.
pub fn start(graph: Arc<Graph>, options: OvsdbOptions) -> io::Result<OvsdbWatcher> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let health = Arc::new(Mutex::new(WatcherHealth {
        name: "ovsdb".to_owned(),
        ..WatcherHealth::default()
    }));
    let (stop, stopped) = oneshot::channel();
    let shown = Arc::clone(&health);
    let thread = std::thread::Builder::new()
        .name("ovsdb".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = Watcher::new(graph, options, shown).run() => {}
                    _dropped = stopped => {}
                }
            });
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        })?;
    Ok(OvsdbWatcher {
        health,
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl OvsdbWatcher {
    /// How it is.
    #[must_use]
    pub fn health(&self) -> WatcherHealth {
        lock(&self.health).clone()
    }
}

impl Drop for OvsdbWatcher {
    /// Waits for what is being written to be whole: some milliseconds.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, that has been said already.
            let _ended = thread.join();
        }
    }
}

fn lock(health: &Mutex<WatcherHealth>) -> MutexGuard<'_, WatcherHealth> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread works with.
struct Watcher {
    graph: Arc<Graph>,
    options: OvsdbOptions,
    health: Arc<Mutex<WatcherHealth>>,
    events: Subscription,
    devices: Devices,
    rows: Rows,
    placer: Placer,
    synchronized: bool,
}

impl Watcher {
    fn new(graph: Arc<Graph>, options: OvsdbOptions, health: Arc<Mutex<WatcherHealth>>) -> Self {
        let (snapshot, events) = graph.subscribe();
        Self {
            placer: Placer::new(Arc::clone(&graph)),
            devices: Devices::of(&snapshot, graph.host_name()),
            graph,
            options,
            health,
            events,
            rows: Rows::default(),
            synchronized: false,
        }
    }

    async fn run(mut self) {
        let mut follower = Follower::start(Follow {
            address: self.options.address.clone(),
            database: DATABASE,
            tables: TABLES,
            limits: self.options.limits,
        });
        loop {
            let mut dirty = Dirty::default();
            let mut whole = false;
            let due = self.placer.next_due();
            tokio::select! {
                event = follower.next() => whole = self.database(event, &mut dirty),
                event = self.events.next() => self.graph_changed(event, &mut dirty),
                () = until(due) => {}
            }
            for _ in 0..EVENTS_AT_ONCE {
                match self.events.try_next() {
                    Ok(Some(event)) => self.graph_changed(Ok(event), &mut dirty),
                    Ok(None) => break,
                    Err(lagged) => self.graph_changed(Err(lagged), &mut dirty),
                }
            }
            let now = Instant::now();
            if !whole && dirty.is_empty() && due.is_none_or(|due| due > now) {
                continue;
            }
            self.place(dirty, now);
            if whole {
                self.in_step();
            }
        }
    }

    fn place(&mut self, dirty: Dirty, now: Instant) {
        let around = Surroundings {
            rows: &self.rows,
            devices: &self.devices,
            aliases: self.options.aliases,
            now,
            settle: self.options.settle,
        };
        self.placer.place(dirty, &around);
        let refused = self.placer.refused();
        let text = refused.map(|error| format!("rows are missing in the graph: {error}"));
        let mut health = lock(&self.health);
        if text.is_some() && health.missing != text {
            warn!(error = ?text, "Open vSwitch is not in the graph as a whole");
            health.last_error.clone_from(&text);
        }
        health.missing = text;
    }

    /// Takes over what the database says. Returns whether all of it is known now.
    fn database(&mut self, event: FollowEvent, dirty: &mut Dirty) -> bool {
        match event {
            FollowEvent::Synchronized(changes) => {
                self.rows.apply(changes, dirty);
                return true;
            }
            FollowEvent::Changed(changes) => self.rows.apply(changes, dirty),
            FollowEvent::Lost(error) => self.lost(&error),
        }
        false
    }

    fn graph_changed(&mut self, event: Result<Arc<Event>, Lagged>, dirty: &mut Dirty) {
        let Ok(event) = event else {
            debug!("too slow for the graph's events: all interfaces are looked up anew");
            let (snapshot, events) = self.graph.subscribe();
            self.events = events;
            self.devices = Devices::of(&snapshot, self.graph.host_name());
            dirty.interfaces.extend(self.rows.interfaces());
            return;
        };
        for name in self
            .devices
            .apply(&event.change, &self.graph)
            .into_iter()
            .flatten()
        {
            dirty.interfaces.extend(self.rows.interfaces_named(&name));
        }
    }

    /// Notes that the graph shows all of the database.
    fn in_step(&mut self) {
        let again = std::mem::replace(&mut self.synchronized, true);
        let mut health = lock(&self.health);
        health.state = WatcherState::Running;
        health.resyncs += u64::from(again);
        info!(address = %self.options.address, again, "Open vSwitch is in the graph");
    }

    fn lost(&mut self, error: &OvsdbError) {
        let text = error.to_string();
        let mut health = lock(&self.health);
        let was = health.state;
        health.state = match error {
            OvsdbError::NoSocket(_) => WatcherState::Waiting,
            OvsdbError::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                WatcherState::Denied
            }
            _ => WatcherState::Retrying,
        };
        // It is tried again every second: said once.
        if was == health.state && health.last_error.as_ref() == Some(&text) {
            return;
        }
        match error {
            OvsdbError::NoSocket(path) => info!(path = %path.display(), "no Open vSwitch yet"),
            _ => warn!(address = %self.options.address, %error, "Open vSwitch is out of reach"),
        }
        health.last_error = Some(text);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

//! The first packets of new interfaces.
//!
//! A machine that boots may send before anything says whose interface it is, and a ring takes longer to set
//! up than a packet to come. So while a capture is declared that could take it, each network namespace is
//! watched for interfaces that do not exist yet, and each new interface gets a cheap socket at once, on a
//! thread that does nothing else. What the kernel queues there is handed to every capture that names the
//! interface within some seconds.

mod held;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flowtap_collectors::CaptureType;
use flowtap_topology::{Change, Event, Graph, Node, NodeId, Subscription, Waker};

use super::judge::{interface, is_up};
use crate::services::CaptureLimits;
pub use held::EarlyStats;
pub(crate) use held::Held;
use held::Table;
pub(crate) use source::{Kernel, Source};
use source::{Queue, Watches};

/// How long a capture that begins waits for the thread that opens sockets: it is some events behind at most.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long the first capture that is declared waits until all namespaces are watched: half a millisecond
/// each.
const SETTLING: Duration = Duration::from_secs(1);

/// So many sockets have a whole queue. Further ones have a small one: when many interfaces appear at once, as
/// when a host starts, each matters less, and all together must not take what the host needs.
const WHOLE_QUEUES: usize = 64;

/// Holds sockets of new interfaces.
pub(crate) struct Keeper<S: Source> {
    shared: Arc<Shared<S>>,
    waker: Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<S: Source> {
    graph: Arc<Graph>,
    source: S,
    limits: CaptureLimits,
    table: Mutex<Table<S::Socket>>,
    /// Rung when an event was looked at, and when what was asked for is so.
    progress: Condvar,
}

/// The right to what is held of a node, for whoever begins to capture there.
pub(crate) struct Claim<S: Source> {
    shared: Arc<Shared<S>>,
    node: NodeId,
    /// The node is there as of this event.
    sequence: u64,
}

impl<S: Source> Keeper<S> {
    /// Starts to look out for new nodes. Sockets are opened from [`Keeper::want`] on.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub(crate) fn start(graph: Arc<Graph>, limits: CaptureLimits, source: S) -> io::Result<Self> {
        let (snapshot, events) = graph.subscribe();
        let waker = events.waker();
        let shared = Arc::new(Shared {
            graph,
            source,
            limits,
            table: Mutex::new(Table::new(snapshot.sequence())),
            progress: Condvar::new(),
        });
        let on_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("early-packets".to_owned())
            .spawn(move || on_thread.run(events))?;
        Ok(Self {
            shared,
            waker,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Says whether a capture is declared that could take a new interface.
    pub(crate) fn want(&self, is_wanted: bool) {
        let now = self.shared.graph.snapshot().sequence();
        let mut table = self.shared.table();
        if is_wanted == table.wanted_since.is_some() {
            return;
        }
        table.wanted_since = is_wanted.then_some(now);
        table.is_settled = false;
        if !is_wanted {
            table.clear();
        }
        drop(table);
        self.waker.wake();
    }

    /// Waits until what was asked for is so, for a second at most.
    pub(crate) fn settle(&self) {
        let waiting = |table: &mut Table<S::Socket>| !table.is_settled && !table.is_stopped;
        let table = self.shared.table();
        let waited = self.shared.progress.wait_timeout_while(table, SETTLING, waiting);
        drop(waited);
    }

    /// The right to what is held of `node`, which is there as of the event `sequence`.
    pub(crate) fn claim(&self, node: &NodeId, sequence: u64) -> Claim<S> {
        Claim {
            shared: Arc::clone(&self.shared),
            node: node.clone(),
            sequence,
        }
    }

    /// How new interfaces were looked after.
    pub(crate) fn stats(&self) -> EarlyStats {
        self.shared.table().stats()
    }

    /// Closes all sockets and waits for the thread, which opens one at most meanwhile.
    pub(crate) fn close(&self) {
        let mut table = self.shared.table();
        table.is_stopped = true;
        table.clear();
        drop(table);
        self.waker.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // One that panicked is over too.
            let _ended = thread.join();
        }
    }
}

impl<S: Source> Drop for Keeper<S> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<S: Source> Claim<S> {
    /// What is held of the node. The thread that opens sockets may be behind by some events, and is waited
    /// for.
    pub(crate) fn take(self) -> Option<Held<S::Socket>> {
        let behind = |table: &mut Table<S::Socket>| table.seen < self.sequence && !table.is_stopped;
        let table = self.shared.table();
        let waited = self.shared.progress.wait_timeout_while(table, PATIENCE, behind);
        let (table, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        table.get(&self.node).cloned()
    }
}

impl<S: Source> Shared<S> {
    fn table(&self) -> MutexGuard<'_, Table<S::Socket>> {
        // Each change leaves it whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut events: Subscription) {
        let mut watches = Watches::new(self.limits.early_namespaces);
        loop {
            let timeout = self.table().until_expiry(self.limits.early_hold);
            match events.next_within(timeout) {
                Ok(Some(event)) => self.look(&event, &mut watches),
                Ok(None) => {}
                Err(lagged) => {
                    tracing::warn!(%lagged, "new interfaces were missed, their first packets are not held");
                    let (snapshot, anew) = self.graph.subscribe();
                    events = anew;
                    let mut table = self.table();
                    table.stats.failed += 1;
                    table.seen = snapshot.sequence();
                    // Namespaces were missed, too.
                    table.is_settled = false;
                }
            }
            self.settle(&mut watches);
            let mut table = self.table();
            if table.is_stopped {
                return;
            }
            table.stats.watched = watches.len();
            table.expire(self.limits.early_hold);
            drop(table);
            self.progress.notify_all();
        }
    }

    /// Watches all namespaces, or none any more.
    fn settle(&self, watches: &mut Watches<S::Watch>) {
        let table = self.table();
        if table.is_settled || table.is_stopped {
            return;
        }
        let is_wanted = table.wanted_since.is_some();
        drop(table);
        watches.clear();
        let mut failed = 0;
        if is_wanted {
            let graph = self.graph.snapshot();
            failed = watches.add_all(&graph, self.graph.host(), |path| self.source.watch(path));
        }
        let mut table = self.table();
        table.stats.failed += failed;
        // Unless it was asked for the contrary meanwhile.
        table.is_settled = table.wanted_since.is_some() == is_wanted;
    }

    fn look(&self, event: &Event, watches: &mut Watches<S::Watch>) {
        let wants = self.table().wants(event);
        let mut failed = false;
        let mut opened = None;
        match &event.change {
            Change::NodeAdded(node) if wants => {
                failed = !watches.add(node, self.graph.host(), |path| self.source.watch(path));
                opened = self.hold(node, watches);
            }
            // Its path may be another, as when a namespace gets a name.
            Change::NodeUpdated { node, .. } if wants => {
                failed = !watches.add(node, self.graph.host(), |path| self.source.watch(path));
            }
            Change::NodeDeleted(node) => watches.remove(&node.id),
            _ => {}
        }
        let mut table = self.table();
        table.stats.failed += u64::from(failed);
        match (&event.change, opened) {
            (Change::NodeDeleted(node), _) => table.remove(&node.id),
            (Change::NodeAdded(node), Some((socket, is_complete)))
                if table.wants(event) && !table.is_stopped =>
            {
                table.insert(node.id.clone(), socket, is_complete, self.limits.early_sockets);
            }
            _ => {}
        }
        table.seen = event.sequence;
    }

    /// Opens a socket for a new node, if it is an interface whose packets could be captured by themselves.
    /// True if nothing is missing that came before.
    fn hold(&self, node: &Node, watches: &Watches<S::Watch>) -> Option<(S::Socket, bool)> {
        let types = CaptureType::of_node(node.node_type()?);
        if types.first() != Some(&CaptureType::AfPacket) {
            return None;
        }
        let (interface, _) = interface(node, &self.graph.snapshot());
        if interface.index == 0 || *node.host != **self.graph.host_name() {
            return None;
        }
        let watch = watches.at(interface.netns.as_ref());
        let queue = if self.table().stats().held < WHOLE_QUEUES {
            Queue::Whole
        } else {
            Queue::Small
        };
        match self.source.socket(watch, &interface, queue) {
            Ok((socket, is_complete)) => {
                // Looked at again, for this thread may be some events behind.
                let now = self.graph.snapshot();
                let was_up = is_up(node) || now.node(&node.id).is_none_or(|now| is_up(now));
                Some((socket, is_complete || !was_up))
            }
            Err(reason) => {
                // An interface that is gone already, mostly.
                tracing::debug!(interface = interface.name, reason, "first packets are not held");
                self.table().stats.failed += 1;
                None
            }
        }
    }
}

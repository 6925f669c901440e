//! Changes of the graph, as subscribers receive them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::element::{Edge, Node};

/// Events that wait for one slow subscriber. Each keeps a version of its node alive, 11 KiB for an
/// interface, so a subscriber that stands still holds back some 180 MiB at most; then it misses the
/// oldest and is told so ([`Lagged`]). Enough for 2,000 interfaces to come and go at once.
pub(crate) const PENDING_EVENTS: usize = 16_384;

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A node came.
    NodeAdded(Arc<Node>),
    /// A node's metadata changed.
    NodeUpdated {
        /// As it is now.
        node: Arc<Node>,
        /// As it was.
        before: Arc<Node>,
    },
    /// A node went, with `deleted_at`. Its edges went before.
    NodeDeleted(Arc<Node>),
    /// An edge came.
    EdgeAdded(Arc<Edge>),
    /// An edge's metadata changed.
    EdgeUpdated {
        /// As it is now.
        edge: Arc<Edge>,
        /// As it was.
        before: Arc<Edge>,
    },
    /// An edge went, with `deleted_at`.
    EdgeDeleted(Arc<Edge>),
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// 1, 2, 3… since the start, without a gap.
    pub sequence: u64,
    /// When, in milliseconds since the Unix epoch. Events of one edit have one time.
    pub at: i64,
    /// What.
    pub change: Change,
}

/// The subscriber was too slow and missed events: it takes a new [`Graph::subscribe`] and goes on
/// from that snapshot.
///
/// [`Graph::subscribe`]: crate::Graph::subscribe
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missed} events were missed, subscribe anew")]
pub struct Lagged {
    /// How many events it missed.
    pub missed: u64,
}

/// Receives every event after the snapshot that it came with, in order.
///
/// It outlives the graph: then nothing comes any more.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<Event>>,
    bell: Arc<Bell>,
    /// How often it was woken from outside.
    woken: u64,
}

impl Subscription {
    /// Waits for the next event. May be dropped while it waits: no event is lost.
    ///
    /// # Errors
    /// [`Lagged`].
    pub async fn next(&mut self) -> Result<Arc<Event>, Lagged> {
        match self.receiver.recv().await {
            Ok(event) => Ok(event),
            Err(RecvError::Lagged(missed)) => Err(Lagged { missed }),
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The next event if it is there already.
    ///
    /// # Errors
    /// [`Lagged`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, Lagged> {
        match self.receiver.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(TryRecvError::Lagged(missed)) => Err(Lagged { missed }),
            Err(TryRecvError::Empty | TryRecvError::Closed) => Ok(None),
        }
    }

    /// Waits for the next event, on a thread of its own, for `timeout` at most: less if a [`Waker`] has
    /// rung since the last call.
    ///
    /// # Errors
    /// [`Lagged`].
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Arc<Event>>, Lagged> {
        let deadline = Instant::now() + timeout;
        loop {
            let rung = self.bell.count();
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || rung.woken != self.woken {
                self.woken = rung.woken;
                return Ok(None);
            }
            self.bell.wait(rung, left);
        }
    }

    /// What wakes [`Subscription::next_within`] from outside.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker {
            bell: Arc::clone(&self.bell),
        }
    }
}

/// Wakes every thread that waits for an event of one graph, so that it looks around: to stop, say.
#[derive(Clone, Debug)]
pub struct Waker {
    bell: Arc<Bell>,
}

impl Waker {
    /// Makes each [`Subscription::next_within`] return, once.
    pub fn wake(&self) {
        self.bell.ring(|rung| rung.woken += 1);
    }
}

/// Sends events to subscribers, and wakes those that wait on threads.
#[derive(Debug)]
pub(crate) struct Publisher {
    sender: broadcast::Sender<Arc<Event>>,
    bell: Arc<Bell>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(PENDING_EVENTS),
            bell: Arc::default(),
        }
    }
}

impl Publisher {
    pub(crate) fn publish(&self, events: impl Iterator<Item = Event>) {
        for event in events {
            // Without a subscriber it goes nowhere, and that is right.
            let _unheard = self.sender.send(Arc::new(event));
        }
        self.bell.ring(|rung| rung.published += 1);
    }

    /// Wakes every thread that waits for an event.
    pub(crate) fn wake(&self) {
        self.bell.ring(|rung| rung.woken += 1);
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription {
            receiver: self.sender.subscribe(),
            woken: self.bell.count().woken,
            bell: Arc::clone(&self.bell),
        }
    }
}

/// Where threads wait.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

/// How often a bell has rung, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rung {
    published: u64,
    woken: u64,
}

impl Bell {
    fn ring(&self, count: impl FnOnce(&mut Rung)) {
        count(&mut self.rung.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn count(&self) -> Rung {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has rung since it was at `before`.
    fn wait(&self, before: Rung, timeout: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(rung, timeout, |rung| *rung == before);
        drop(waited);
    }
}

//! The first packets of new interfaces.
//!
//! A machine that boots may send before anything says whose interface it is, and a ring takes longer to set
//! up than a packet to come. So while a capture is declared that could take it, each new interface gets a
//! cheap socket at once, on a thread that does nothing else; what the kernel queues there is handed to every
//! capture that names the interface within some seconds.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowtap_collectors::{CaptureType, Interface};
use flowtap_topology::{Change, Event, Graph, Node, NodeId, Subscription, Waker};

use super::judge::{interface, is_up};
use crate::services::CaptureLimits;

/// How long a capture that begins waits for the thread that opens sockets: it is some events behind at most.
const PATIENCE: Duration = Duration::from_millis(250);

/// Opens a socket that queues what comes in.
pub(crate) type Opener<S> = Box<dyn Fn(&Interface) -> Result<S, String> + Send + Sync>;

/// How new interfaces were looked after, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarlyStats {
    /// Sockets that are open now.
    pub held: usize,
    /// Sockets that were opened.
    pub opened: u64,
    /// Interfaces that got none: the socket could not be opened, or there were too many events.
    pub failed: u64,
    /// Sockets that were closed before their time, for newer ones.
    pub given_up: u64,
}

/// Holds sockets of new interfaces. `S` is shared by all who take it.
pub(crate) struct Keeper<S> {
    shared: Arc<Shared<S>>,
    waker: Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<S> {
    graph: Arc<Graph>,
    open: Opener<S>,
    limits: CaptureLimits,
    state: Mutex<State<S>>,
    /// Rung when [`State::seen`] has grown.
    progress: Condvar,
}

struct State<S> {
    held: HashMap<NodeId, Held<S>>,
    /// Oldest first. One that is held no more stays until its turn, or until there are many.
    order: VecDeque<(u64, NodeId)>,
    /// The last event that was looked at.
    seen: u64,
    /// The last event before sockets were asked for; `None` while they are not.
    wanted_since: Option<u64>,
    is_stopped: bool,
    stats: EarlyStats,
}

/// What is held of one interface.
#[derive(Clone, Debug)]
pub(crate) struct Held<S> {
    pub(crate) socket: S,
    /// Whether the interface was up when it appeared: then it may have carried packets before.
    pub(crate) was_up: bool,
    opened: Instant,
    /// Which socket of all.
    number: u64,
}

/// The right to what is held of a node, for whoever begins to capture there.
pub(crate) struct Claim<S> {
    shared: Arc<Shared<S>>,
    node: NodeId,
    /// The node is there as of this event.
    sequence: u64,
}

impl<S: Clone + Send + 'static> Keeper<S> {
    /// Starts to look out for new nodes. Sockets are opened from [`Keeper::want`] on.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub(crate) fn start(graph: Arc<Graph>, limits: CaptureLimits, open: Opener<S>) -> io::Result<Self> {
        let (snapshot, events) = graph.subscribe();
        let waker = events.waker();
        let shared = Arc::new(Shared {
            graph,
            open,
            limits,
            state: Mutex::new(State {
                held: HashMap::new(),
                order: VecDeque::new(),
                seen: snapshot.sequence(),
                wanted_since: None,
                is_stopped: false,
                stats: EarlyStats::default(),
            }),
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
        let mut state = self.shared.state();
        if is_wanted {
            state.wanted_since.get_or_insert(now);
        } else {
            state.wanted_since = None;
            state.held.clear();
            state.order.clear();
        }
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
        let state = self.shared.state();
        EarlyStats {
            held: state.held.len(),
            ..state.stats
        }
    }
}

impl<S> Keeper<S> {
    /// Closes all sockets and waits for the thread, which opens one at most meanwhile.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state();
        state.is_stopped = true;
        state.held.clear();
        drop(state);
        self.waker.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // One that panicked is over too.
            let _ended = thread.join();
        }
    }
}

impl<S> Drop for Keeper<S> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<S: Clone> Claim<S> {
    /// What is held of the node. The thread that opens sockets may be behind by some events, and is waited
    /// for.
    pub(crate) fn take(self) -> Option<Held<S>> {
        let state = self.shared.state();
        let behind = |state: &mut State<S>| state.seen < self.sequence && !state.is_stopped;
        let waited = self.shared.progress.wait_timeout_while(state, PATIENCE, behind);
        let (state, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        state.held.get(&self.node).cloned()
    }
}

impl<S> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State<S>> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Shared<S> {
    fn run(&self, mut events: Subscription) {
        loop {
            let timeout = self.state().until_expiry(self.limits.early_hold);
            match events.next_within(timeout) {
                Ok(Some(event)) => self.look(&event),
                Ok(None) => {}
                Err(lagged) => {
                    tracing::warn!(%lagged, "new interfaces were missed, their first packets are not held");
                    let (snapshot, anew) = self.graph.subscribe();
                    events = anew;
                    let mut state = self.state();
                    state.stats.failed += 1;
                    state.seen = snapshot.sequence();
                }
            }
            let mut state = self.state();
            if state.is_stopped {
                return;
            }
            state.expire(self.limits.early_hold);
            drop(state);
            self.progress.notify_all();
        }
    }

    fn look(&self, event: &Event) {
        let opened = match &event.change {
            Change::NodeAdded(node) if self.state().wants(event) => self.hold(node),
            _ => None,
        };
        let mut state = self.state();
        if let Change::NodeDeleted(node) = &event.change {
            state.held.remove(&node.id);
        }
        if let (Change::NodeAdded(node), Some((socket, was_up))) = (&event.change, opened)
            && state.wants(event)
            && !state.is_stopped
        {
            state.insert(node.id.clone(), socket, was_up, self.limits.early_sockets);
        }
        state.seen = event.sequence;
    }

    /// Opens a socket for a new node, if it is an interface whose packets could be captured by themselves.
    fn hold(&self, node: &Node) -> Option<(S, bool)> {
        let types = CaptureType::of_node(node.node_type()?);
        if types.first() != Some(&CaptureType::AfPacket) {
            return None;
        }
        let (interface, _) = interface(node, &self.graph.snapshot());
        if interface.index == 0 || *node.host != **self.graph.host_name() {
            return None;
        }
        match (self.open)(&interface) {
            // Looked at again, for this thread may be some events behind.
            Ok(socket) => {
                let now = self.graph.snapshot();
                let was_up = is_up(node) || now.node(&node.id).is_none_or(|now| is_up(now));
                Some((socket, was_up))
            }
            Err(reason) => {
                // An interface that is gone already, mostly.
                tracing::debug!(interface = interface.name, reason, "first packets are not held");
                self.state().stats.failed += 1;
                None
            }
        }
    }
}

impl<S> State<S> {
    /// Whether a node that came with `event` is to be held: one that was there before the first capture is
    /// not, however late it is looked at.
    fn wants(&self, event: &Event) -> bool {
        self.wanted_since.is_some_and(|since| event.sequence > since)
    }

    fn insert(&mut self, node: NodeId, socket: S, was_up: bool, limit: usize) {
        while self.held.len() >= limit {
            let Some((number, oldest)) = self.order.pop_front() else {
                break;
            };
            if self.held.get(&oldest).is_some_and(|held| held.number == number) {
                self.held.remove(&oldest);
                self.stats.given_up += 1;
                tracing::warn!(
                    limit,
                    "more new interfaces than are looked after at once, the packets of the oldest are given up"
                );
            }
        }
        if self.order.len() > 2 * limit {
            let held = &self.held;
            self.order
                .retain(|(number, node)| held.get(node).is_some_and(|held| held.number == *number));
        }
        self.stats.opened += 1;
        let number = self.stats.opened;
        self.order.push_back((number, node.clone()));
        let opened = Instant::now();
        self.held.insert(
            node,
            Held {
                socket,
                was_up,
                opened,
                number,
            },
        );
    }

    /// Closes what nobody asked for in time.
    fn expire(&mut self, hold: Duration) {
        while let Some((number, node)) = self.order.front() {
            match self.held.get(node) {
                Some(held) if held.number == *number => {
                    if held.opened.elapsed() < hold {
                        break;
                    }
                    self.held.remove(&node.clone());
                }
                _ => {}
            }
            self.order.pop_front();
        }
    }

    fn until_expiry(&self, hold: Duration) -> Duration {
        let oldest = self.order.front().and_then(|(_, node)| self.held.get(node));
        oldest.map_or(Duration::from_secs(60), |held| {
            hold.saturating_sub(held.opened.elapsed())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use flowtap_topology::NodeSpec;

    use super::*;

    /// A keeper whose sockets are numbers, and whose opener waits until it is let go.
    fn keeper(graph: &Arc<Graph>, limits: CaptureLimits) -> (Keeper<u32>, Sender<()>) {
        let (release, gate): (Sender<()>, Receiver<()>) = channel();
        let gate = Mutex::new(gate);
        let open: Opener<u32> = Box::new(move |interface| {
            gate.lock().unwrap().recv().unwrap();
            Ok(interface.index)
        });
        let keeper = Keeper::start(Arc::clone(graph), limits, open).unwrap();
        keeper.want(true);
        (keeper, release)
    }

    fn add(graph: &Graph, name: &str, index: u32) -> (NodeId, u64) {
        let host = graph.host().clone();
        let spec = NodeSpec::new(&host, "veth", name).with("IfIndex", index);
        let node = graph.upsert_node(spec).unwrap();
        (node, graph.snapshot().sequence())
    }

    #[test]
    fn whoever_claims_waits_for_the_thread_and_all_get_the_same() {
        let graph = Arc::new(Graph::new("here"));
        let (keeper, release) = keeper(&graph, CaptureLimits::default());
        let (node, sequence) = add(&graph, "tap0", 7);
        let claims = [keeper.claim(&node, sequence), keeper.claim(&node, sequence)];
        std::thread::scope(|scope| {
            let taken = claims.map(|claim| scope.spawn(|| claim.take()));
            release.send(()).unwrap();
            for held in taken {
                let held = held.join().unwrap().unwrap();
                assert_eq!((held.socket, held.was_up), (7, false));
            }
        });
        // What is not held is not waited for.
        assert!(keeper.claim(&NodeId::from("nobody"), sequence).take().is_none());
        assert!(graph.edit(|edit| edit.remove_node(&node)));
        let gone = graph.snapshot().sequence();
        assert!(keeper.claim(&node, gone).take().is_none());
    }

    #[test]
    fn a_node_that_was_there_before_the_first_capture_is_not_held() {
        let graph = Arc::new(Graph::new("here"));
        let (keeper, release) = keeper(&graph, CaptureLimits::default());
        keeper.want(false);
        let (before, _) = add(&graph, "tap0", 7);
        keeper.want(true);
        let (after, sequence) = add(&graph, "tap1", 8);
        release.send(()).unwrap();
        assert_eq!(keeper.claim(&after, sequence).take().unwrap().socket, 8);
        assert!(keeper.claim(&before, sequence).take().is_none());
        keeper.want(false);
        assert!(keeper.claim(&after, sequence).take().is_none());
        assert_eq!(keeper.stats().opened, 1);
    }

    #[test]
    fn an_interface_that_comes_up_while_its_socket_is_opened_may_have_sent_before() {
        let graph = Arc::new(Graph::new("here"));
        let (keeper, release) = keeper(&graph, CaptureLimits::default());
        let (node, _) = add(&graph, "tap0", 7);
        graph.set_metadata(&node, "State", "UP").unwrap();
        release.send(()).unwrap();
        let sequence = graph.snapshot().sequence();
        assert!(keeper.claim(&node, sequence).take().unwrap().was_up);
    }

    #[test]
    fn a_thousand_nodes_leave_no_trace() {
        let limits = CaptureLimits {
            early_sockets: 2,
            ..CaptureLimits::default()
        };
        let graph = Arc::new(Graph::new("here"));
        let (keeper, release) = keeper(&graph, limits);
        let mut last = 0;
        for index in 1..=1_000 {
            release.send(()).unwrap();
            let (node, _) = add(&graph, "tap0", index);
            assert!(graph.edit(|edit| edit.remove_node(&node)));
            last = graph.snapshot().sequence();
        }
        let (node, _) = add(&graph, "tap1", 1);
        release.send(()).unwrap();
        let held = keeper.claim(&node, graph.snapshot().sequence());
        while keeper.shared.state().seen <= last {
            std::thread::yield_now();
        }
        assert_eq!(held.take().unwrap().socket, 1);
        assert!(keeper.shared.state().order.len() <= 5);
    }
}

//! What is held, and for how long.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use flowtap_topology::{Event, NodeId};

/// How new interfaces were looked after, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarlyStats {
    /// Sockets that are open now.
    pub held: usize,
    /// Network namespaces that are watched now for interfaces that do not exist yet.
    pub watched: usize,
    /// Sockets that were opened.
    pub opened: u64,
    /// Interfaces and namespaces that got none: it could not be opened, or there were too many events.
    pub failed: u64,
    /// Sockets that were closed before their time, for newer ones.
    pub given_up: u64,
}

/// What is held of one interface.
#[derive(Clone, Debug)]
pub(crate) struct Held<S> {
    pub(crate) socket: S,
    /// Whether nothing that came in before is missing.
    pub(crate) is_complete: bool,
    opened: Instant,
    /// Which socket of all.
    number: u64,
}

/// What is held of all interfaces.
#[derive(Debug)]
pub(super) struct Table<S> {
    held: HashMap<NodeId, Held<S>>,
    /// Oldest first. One that is held no more stays until its turn, or until there are many.
    order: VecDeque<(u64, NodeId)>,
    /// The last event that was looked at.
    pub(super) seen: u64,
    /// The last event before sockets were asked for; `None` while they are not.
    pub(super) wanted_since: Option<u64>,
    /// Whether what was asked for last is so: namespaces are watched, or not.
    pub(super) is_settled: bool,
    pub(super) is_stopped: bool,
    pub(super) stats: EarlyStats,
}

impl<S> Table<S> {
    /// Nothing is held, nor wanted. The graph's last event is `seen`.
    pub(super) fn new(seen: u64) -> Self {
        Self {
            held: HashMap::new(),
            order: VecDeque::new(),
            seen,
            wanted_since: None,
            is_settled: true,
            is_stopped: false,
            stats: EarlyStats::default(),
        }
    }

    /// Whether a node that came with `event` is to be held: one that was there before the first capture is
    /// not, however late it is looked at.
    pub(super) fn wants(&self, event: &Event) -> bool {
        self.wanted_since.is_some_and(|since| event.sequence > since)
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Held<S>> {
        self.held.get(node)
    }

    pub(super) fn remove(&mut self, node: &NodeId) {
        self.held.remove(node);
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.order.clear();
    }

    pub(super) fn stats(&self) -> EarlyStats {
        EarlyStats {
            held: self.held.len(),
            ..self.stats
        }
    }

    /// Holds one more; if there are `limit` already, the oldest goes.
    pub(super) fn insert(&mut self, node: NodeId, socket: S, is_complete: bool, limit: usize) {
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
        let held = Held {
            socket,
            is_complete,
            opened: Instant::now(),
            number,
        };
        self.held.insert(node, held);
    }

    /// Closes what nobody asked for in time.
    pub(super) fn expire(&mut self, hold: Duration) {
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

    /// How long until the oldest is closed.
    pub(super) fn until_expiry(&self, hold: Duration) -> Duration {
        let oldest = self.order.front().and_then(|(_, node)| self.held.get(node));
        oldest.map_or(Duration::from_secs(60), |held| {
            hold.saturating_sub(held.opened.elapsed())
        })
    }

    /// How many entries it takes to know the order of what is held.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.order.len()
    }
}

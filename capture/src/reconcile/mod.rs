//! Makes it so: compares what is declared with what runs, whenever the graph or the list has changed, and
//! starts and stops sources.
//!
//! One thread decides. It is woken by events of the graph, by the list of captures, and by the threads of
//! sources, one each, that open, read and end; it never waits for any of them. Another thread holds the
//! first packets of new interfaces ([`early`]).

mod act;
mod coverage;
mod early;
mod exclude;
mod expiry;
mod judge;
mod link;
mod matching;
mod metadata;
mod reader;
mod running;
mod slot;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use flowtap_collectors::CaptureType;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{Change, Event, NodeId, Snapshot, Subscription};

use crate::captures::Captures;
use crate::entry::Entry;
use crate::services::CaptureServices;
use coverage::Coverages;
pub use early::EarlyStats;
pub(crate) use early::{Keeper, Kernel};
pub(crate) use judge::{Verdict, judge, namespace_of};
pub(crate) use link::Link;
use matching::Matching;
use metadata::Written;
use reader::{Opened, Report};
pub use running::RunningCaptures;
use slot::Slot;

/// A node and the number of a capture.
type Key = (NodeId, u64);

/// Events that are taken together: what a machine that boots says in one go, and no more than some ms of
/// work.
const MAX_EVENTS: usize = 4_096;
/// How often counters are written at nodes.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// How long nothing may happen.
const IDLE: Duration = Duration::from_secs(60);

/// What the reconciler is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The list of captures has changed.
    Declared,
    /// A source is open.
    Opened {
        /// Where.
        key: Key,
        /// Which reader.
        reader: u64,
        /// What is known of it now.
        opened: Opened,
    },
    /// The first packet of a source came.
    FirstPacket {
        /// Where.
        key: Key,
        /// Which reader.
        reader: u64,
        /// When this was, in ms since the Unix epoch.
        at: i64,
        /// The time of the packet itself.
        packet: Timestamp,
    },
    /// A source has ended; its thread says nothing more.
    Ended {
        /// Where.
        key: Key,
        /// Which reader.
        reader: u64,
        /// The error if it failed.
        result: Result<(), String>,
    },
    /// All sources shall end, until then.
    Stop(Instant),
}

/// What has to be looked at.
#[derive(Default)]
struct Round {
    /// Nodes that came, went or changed.
    nodes: HashSet<NodeId>,
    /// Nodes that went, with the event that told so.
    deleted: Vec<(NodeId, u64)>,
    edges_changed: bool,
    /// Nodes whose list of captures may not be what it should be.
    to_write: HashSet<NodeId>,
    /// Pairs of capture and node, the oldest capture first; true if the node has changed.
    pairs: BTreeMap<(u64, NodeId), bool>,
    /// Captures to sum up.
    captures: BTreeSet<u64>,
}

impl Round {
    fn add(&mut self, number: u64, node: NodeId, has_changed: bool) {
        *self.pairs.entry((number, node)).or_default() |= has_changed;
    }

    fn event(&mut self, event: &Event, written: &Written) {
        match &event.change {
            Change::NodeAdded(node) => {
                self.nodes.insert(node.id.clone());
            }
            Change::NodeUpdated { node, before } => {
                if !metadata::is_ours(node, before) {
                    self.nodes.insert(node.id.clone());
                } else if !written.is_at(node) {
                    self.to_write.insert(node.id.clone());
                }
            }
            Change::NodeDeleted(node) => {
                self.nodes.insert(node.id.clone());
                self.deleted.push((node.id.clone(), event.sequence));
            }
            Change::EdgeAdded(_) | Change::EdgeUpdated { .. } | Change::EdgeDeleted(_) => {
                self.edges_changed = true;
            }
        }
    }
}

/// The thread's state.
struct Reconciler {
    captures: Captures,
    services: Arc<CaptureServices>,
    inbox: Receiver<Message>,
    report: Report,
    events: Subscription,
    keeper: Arc<Keeper<Kernel>>,
    matching: Matching,
    /// One for each capture and node that it names and that can be captured.
    slots: BTreeMap<Key, Slot>,
    coverages: Coverages,
    /// When to look at a slot again. One for each failure.
    timers: BTreeSet<(Instant, Key)>,
    /// Slots that wait for another source to end.
    roomless: BTreeSet<(u64, NodeId)>,
    /// Captures of which nodes were left out.
    overfull: BTreeSet<u64>,
    written: Written,
    /// Sources whose threads run.
    readers: usize,
    last_reader: u64,
    /// When this began, in ms since the Unix epoch.
    started_at: i64,
    counted_at: Instant,
}

impl Reconciler {
    /// Works until it is told to stop. Returns the sources that did not end in time.
    fn run(mut self) -> Vec<String> {
        let mut round = Round::default();
        self.refresh_list(&mut round);
        loop {
            self.work(round);
            round = Round::default();
            self.listen(&mut round);
            while let Ok(message) = self.inbox.try_recv() {
                match message {
                    Message::Declared => self.refresh_list(&mut round),
                    Message::Opened { key, reader, opened } => self.opened(key, reader, opened, &mut round),
                    Message::FirstPacket {
                        key,
                        reader,
                        at,
                        packet,
                    } => self.first_packet(&key, reader, at, packet),
                    Message::Ended { key, reader, result } => self.ended(&key, reader, result, &mut round),
                    Message::Stop(deadline) => return self.stop(deadline),
                }
            }
        }
    }

    /// Waits for something to do, and takes all events that are there.
    fn listen(&mut self, round: &mut Round) {
        let now = Instant::now();
        let mut timeout = IDLE;
        let mut until = |at: Instant| timeout = timeout.min(at.saturating_duration_since(now));
        if let Some((at, _)) = self.timers.first() {
            until(*at);
        }
        if let Some(at) = self.matching.due(now) {
            until(at);
        }
        if !self.written.is_empty() {
            until(self.counted_at + COUNT_INTERVAL);
        }
        if self.has_room_again() {
            until(now);
        }
        let mut next = self.events.next_within(timeout);
        for _ in 0..MAX_EVENTS {
            match next {
                Ok(Some(event)) => round.event(&event, &self.written),
                Ok(None) => break,
                Err(lagged) => {
                    tracing::warn!(%lagged, "captures look at the whole topology anew");
                    self.start_over(round);
                    break;
                }
            }
            next = self.events.try_next();
        }
    }

    /// Events were missed: everything is looked at as it is now.
    fn start_over(&mut self, round: &mut Round) {
        let (graph, events) = self.services.graph.subscribe();
        self.events = events;
        self.matching.forget_all();
        for ((node, number), slot) in &mut self.slots {
            if let Some(running) = &mut slot.running {
                let there = graph.node(node);
                running.is_orphan |= there.is_none_or(|there| there.created_at != running.created_at);
            }
            round.add(*number, node.clone(), true);
        }
    }

    /// Takes the list of captures as it is now.
    fn refresh_list(&mut self, round: &mut Round) {
        let entries = self.captures.entries();
        self.captures.want_early(&self.keeper);
        for (number, nodes) in self.matching.follow(&entries) {
            self.overfull.remove(&number);
            for node in nodes {
                round.add(number, node, false);
            }
        }
    }

    /// Does what a round asks for.
    fn work(&mut self, mut round: Round) {
        let now = Instant::now();
        let graph = self.services.graph.snapshot();
        for (node, sequence) in std::mem::take(&mut round.deleted) {
            self.orphan(&node, sequence, &mut round);
        }
        if !round.nodes.is_empty() {
            let nodes = std::mem::take(&mut round.nodes);
            self.take(&mut round, true, |matching| {
                matching.nodes_changed(&nodes, &graph)
            });
        }
        if round.edges_changed {
            self.matching.edges_changed();
        }
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            round.add(key.1, key.0.clone(), false);
            self.timers.remove(&(at, key));
        }
        if self.has_room_again() {
            for number in std::mem::take(&mut self.overfull) {
                round.captures.insert(number);
                for node in self.matching.nodes(number) {
                    round.add(number, node.clone(), false);
                }
            }
        }
        // What is known by now comes before what has to be searched for.
        self.make_so(&mut round, &graph, now);
        if self.matching.due(now).is_some_and(|at| at <= now) {
            self.take(&mut round, false, |matching| matching.ask_one(&graph));
            self.make_so(&mut round, &graph, now);
        }
        self.tell(round, &graph);
        if self.counted_at.elapsed() >= COUNT_INTERVAL {
            self.written.count(&self.services.graph);
            self.counted_at = Instant::now();
        }
    }

    /// Whether nodes were left out that may be taken in now.
    fn has_room_again(&self) -> bool {
        !self.overfull.is_empty() && self.slots.len() < self.services.limits.pairs
    }

    fn take(
        &mut self,
        round: &mut Round,
        has_changed: bool,
        ask: impl FnOnce(&mut Matching) -> matching::Changed,
    ) {
        let changed = ask(&mut self.matching);
        round.captures.extend(changed.captures);
        for (number, node) in changed.pairs {
            round.add(number, node, has_changed);
        }
    }

    /// Judges and moves the pairs of a round.
    fn make_so(&mut self, round: &mut Round, graph: &Snapshot, now: Instant) {
        // Stopping one may make room for another; that is a later round.
        for ((number, node), has_changed) in std::mem::take(&mut round.pairs) {
            let key = (node, number);
            self.judge(&key, has_changed, graph);
            self.step(&key, graph, now);
            round.captures.insert(number);
            round.to_write.insert(key.0);
        }
    }

    /// Says what is new: in the list, and at the nodes.
    fn tell(&mut self, round: Round, graph: &Snapshot) {
        let mut is_new = false;
        for number in round.captures {
            let (Some(entry), Some((named, problem))) =
                (self.matching.entry(number), self.matching.count(number))
            else {
                continue;
            };
            let note = match (&entry.declared.expression, problem) {
                (Err(reason), _) => reason.as_str(),
                (Ok(_), Some(problem)) => problem,
                (Ok(_), None) if self.overfull.contains(&number) => {
                    "more nodes than are followed at once, some are left out"
                }
                (Ok(_), None) => "",
            };
            let mut status = entry.status();
            status.named = Some(named);
            is_new |= status.sum_up(note, entry.declared.expression.is_err() || problem.is_some());
        }
        if is_new {
            self.captures.changed();
        }
        let to_write = round.to_write.into_iter().filter_map(|node| {
            let there = graph.node(&node)?;
            let lines: Vec<_> = self
                .slots
                .range((node.clone(), 0)..=(node.clone(), u64::MAX))
                .filter_map(|(_, slot)| metadata::line(&slot.entry, &slot.seen))
                .collect();
            let is_nothing =
                lines.is_empty() && !self.written.is_anything_at(&node) && self.written.is_at(there);
            (!is_nothing).then_some((node, lines))
        });
        let to_write: HashMap<_, _> = to_write.collect();
        self.written.write(&self.services.graph, to_write);
    }
}

/// Whether a capture could take a new interface that nothing is known of yet.
pub(crate) fn wants_early(entry: &Entry) -> bool {
    let declared = &entry.declared;
    declared.expression.is_ok()
        && declared
            .capture_type
            .is_none_or(|kind| kind == CaptureType::AfPacket)
}

fn now_ms() -> i64 {
    Timestamp::now().millis()
}

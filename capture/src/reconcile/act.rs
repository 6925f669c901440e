//! What the reconciler does with one capture at one node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtap_collectors::{CaptureRequest, CaptureType, ReaderContext};
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{NodeId, Snapshot};
use tokio_util::sync::CancellationToken;

use super::exclude::own_traffic;
use super::judge::{Verdict, judge};
use super::reader::{Job, Opened, spawn};
use super::slot::{Next, Running, Since, Slot, Trouble};
use super::watch::{Watch, WatchedPoints};
use super::{Key, Message, Reconciler, Round, now_ms};
use crate::declare::capability;
use crate::document::{EventKind, FirstPackets, NodeState};
use crate::journal::Place;

/// A source that ran so long has recovered from what went wrong before.
const STEADY: Duration = Duration::from_secs(10);

impl Slot {
    fn place(&self) -> Place<'_> {
        Place {
            node_tid: &self.seen.node.node_tid,
            node_name: &self.seen.node.name,
        }
    }

    fn note(&self, event: EventKind, detail: impl Into<String>) {
        self.entry.note(now_ms(), event, self.place(), detail);
    }
}

impl Reconciler {
    /// Says what shall be of a capture at a node.
    pub(super) fn judge(&mut self, key: &Key, has_changed: bool, graph: &Snapshot) {
        let (node, number) = key;
        let there = graph.node(node).filter(|_| self.matching.names(*number, node));
        let entry = self.matching.entry(*number);
        let want = match (there, entry) {
            (Some(there), Some(entry)) => judge(there, graph, entry.declared.capture_type, &self.services),
            _ => None,
        };
        if let (Some(want), Some(entry)) = (&want, entry)
            && !self.slots.contains_key(key)
        {
            if self.slots.len() >= self.services.limits.pairs {
                self.overfull.insert(*number);
                return;
            }
            let mut slot = Slot::new(Arc::clone(entry), now_ms());
            slot.want = Some(want.clone());
            slot.describe(node.as_str());
            let detail = match (&want.verdict, want.capture_type) {
                (Verdict::Refused(reason), _) => reason.clone(),
                (_, Some(kind)) if !want.why.is_empty() => format!("{kind}: {}", want.why),
                _ => String::new(),
            };
            slot.note(EventKind::Matched, detail);
            self.slots.insert(key.clone(), slot);
        }
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.want = want;
        slot.describe(node.as_str());
        if let Some(trouble) = slot.trouble.as_mut().filter(|_| has_changed) {
            trouble.hasten();
            self.timers.insert((trouble.retry_at, key.clone()));
        }
    }

    /// Takes the next step of a slot, and writes down where it stands.
    pub(super) fn step(&mut self, key: &Key, graph: &Snapshot, now: Instant) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        match slot.next(now) {
            Next::Nothing => {}
            Next::Stop => {
                if let Some(running) = &slot.running {
                    running.stop.cancel();
                }
            }
            Next::Start => self.start(key, graph, now),
            Next::Forget => {
                slot.note(EventKind::Unmatched, "");
                let entry = Arc::clone(&slot.entry);
                self.slots.remove(key);
                entry.status().forget(&key.0);
                return;
            }
        }
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let (state, reason) = slot.settle();
        let node = &slot.seen.node;
        if (node.state, &node.reason) != (state, &reason) && !slot.seen.is_refused {
            match node.state {
                NodeState::Error => slot.note(EventKind::Error, node.reason.clone()),
                NodeState::Waiting => slot.note(EventKind::Waiting, node.reason.clone()),
                // Told when they began.
                NodeState::Starting | NodeState::Active | NodeState::Done => {}
            }
        }
        let mut status = slot.entry.status();
        status.nodes.insert(key.0.clone(), slot.seen.clone());
    }

    /// Starts a source, unless another one is in the way.
    fn start(&mut self, key: &Key, graph: &Snapshot, now: Instant) {
        let hold = self.in_the_way(key);
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let (Some(want), Some(node)) = (slot.want.clone(), graph.node(&key.0)) else {
            return;
        };
        let Some(capture_type) = want.capture_type else {
            return;
        };
        let Some(collector) = self.services.collector(capture_type).map(Arc::clone) else {
            return;
        };
        slot.hold = hold;
        let place = (key.1, key.0.clone());
        let is_full = self.readers >= self.services.limits.readers;
        if is_full {
            self.roomless.insert(place);
        } else {
            self.roomless.remove(&place);
        }
        if slot.hold.is_some() {
            return;
        }
        let limits = &self.services.limits;
        let recent = i64::try_from(limits.early_hold.as_millis()).unwrap_or(i64::MAX);
        let declared = &slot.entry.declared;
        let began = declared.created.max(self.started_at);
        let since = Since::of(node.created_at, began, slot.named_at, recent);
        slot.since = since;

        let interface = want.interface;
        self.last_reader += 1;
        let (reader, report, place) = (self.last_reader, self.report.clone(), key.clone());
        let on_first = move |packet| {
            report.send(Message::FirstPacket {
                key: place.clone(),
                reader,
                at: now_ms(),
                packet,
            });
        };
        let watch = Arc::new(Watch::new(Arc::clone(&interface.node_tid), Box::new(on_first)));
        let mut options = declared.point_options(capture_type, &self.services.defaults);
        // Each further node of a capture gets a smaller share: 256 of them have six budgets, not 256.
        options.raw_budget_bytes /= slot.entry.status().running() + 1;
        let points = (self.services.points)(options, Arc::clone(&slot.seen.ledger));
        let stop = CancellationToken::new();
        let takes_early = capture_type == CaptureType::AfPacket;
        let claim = takes_early.then(|| self.keeper.claim(&key.0, graph.sequence()));
        let coverage = self.coverages.of(key, limits.early_hold, now);
        let job = Job {
            key: key.clone(),
            reader,
            collector,
            request: CaptureRequest {
                interface: interface.clone(),
                filter: declared.filter(),
                snaplen: declared.snaplen(),
                exclude: own_traffic(&self.services.exclude, graph, self.services.graph.host()),
                port: declared.port(),
                early: None,
            },
            context: ReaderContext {
                points: Arc::new(WatchedPoints::new(points, Arc::clone(&watch))),
                ledger: Arc::clone(&slot.seen.ledger),
                stop: stop.clone(),
            },
            claim,
            coverage,
            report: self.report.clone(),
        };
        slot.note(EventKind::Starting, capture_type.as_str());
        match spawn(job) {
            Ok(thread) => {
                self.readers += 1;
                slot.running = Some(Running {
                    reader,
                    index: interface.index,
                    capture_type,
                    sequence: graph.sequence(),
                    created_at: node.created_at,
                    is_orphan: false,
                    stop,
                    opened: None,
                    watch,
                    thread,
                });
            }
            Err(error) => {
                let failed = Err(format!("failed to start a thread: {error}"));
                let trouble = Trouble::after(slot.trouble.as_ref(), failed, now);
                self.timers.insert((trouble.retry_at, key.clone()));
                slot.trouble = Some(trouble);
            }
        }
    }

    /// Why a source cannot begin now, though its node could be captured.
    fn in_the_way(&self, (node, number): &Key) -> Option<String> {
        let limit = self.services.limits.readers;
        if self.readers >= limit {
            return Some(format!("{limit} sources are open already, which is the limit"));
        }
        let slot = self.slots.get(&(node.clone(), *number))?;
        let kind = slot.want.as_ref()?.capture_type?;
        if capability::is_multiple(Some(kind)) {
            return None;
        }
        let at_node = self.slots.range((node.clone(), 0)..=(node.clone(), u64::MAX));
        let mut others = at_node.filter(|((_, other), _)| other != number);
        let (_, other) = others.find(|(_, other)| {
            let running = other.running.as_ref();
            running.is_some_and(|running| running.capture_type == kind)
        })?;
        let name = other.entry.declared.label();
        Some(format!(
            "{kind} runs once on a node, and capture {name} has it there"
        ))
    }

    /// A source is open.
    pub(super) fn opened(&mut self, key: Key, reader: u64, opened: Opened, round: &mut Round) {
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        if slot
            .running
            .as_ref()
            .is_none_or(|running| running.reader != reader)
        {
            return;
        }
        slot.opened(opened);
        let delay = slot.since.until(opened.at);
        if !slot.is_counted {
            slot.is_counted = true;
            self.captures.started(Duration::from_millis(delay));
        }
        let complete = if slot.seen.node.first_packets == Some(FirstPackets::Complete) {
            "its packets are here from the first"
        } else {
            "packets before that are possible, and are missing"
        };
        let after = slot.since.words();
        let detail = format!("{delay} ms after {after}; {complete}");
        slot.entry
            .note(opened.at, EventKind::Capturing, slot.place(), detail);
        round.add(key.1, key.0, false);
    }

    /// The first packet of a source came.
    pub(super) fn first_packet(&self, key: &Key, reader: u64, at: i64, packet: Timestamp) {
        let Some(slot) = self.slots.get(key) else { return };
        let Some(running) = slot.running.as_ref().filter(|running| running.reader == reader) else {
            return;
        };
        let detail = match running.capture_type {
            CaptureType::AfPacket | CaptureType::Pcap => {
                let delay = slot.since.until(packet.millis());
                format!("{delay} ms after {}", slot.since.words())
            }
            // Others send what they have kept, with the times of then.
            _ => String::new(),
        };
        slot.entry.note(at, EventKind::FirstPacket, slot.place(), detail);
    }

    /// A source has ended.
    pub(super) fn ended(&mut self, key: &Key, reader: u64, result: Result<(), String>, round: &mut Round) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Some(running) = slot.running.take_if(|running| running.reader == reader) else {
            return;
        };
        // It has said its last word, and is gone in a moment.
        let _ended = running.thread.join();
        self.readers -= 1;
        let was_told = running.stop.is_cancelled();
        let detail = match (&result, was_told) {
            (Err(reason), _) => reason.clone(),
            (Ok(()), true) => String::new(),
            (Ok(()), false) => "its source has ended".to_owned(),
        };
        if running.opened.is_some() || was_told {
            slot.note(EventKind::Stopped, detail);
        }
        if was_told || running.is_orphan {
            slot.trouble = None;
        } else {
            let now = Instant::now();
            let steady = running.opened.is_some_and(|opened| {
                u128::try_from(now_ms() - opened.at).is_ok_and(|ran| ran >= STEADY.as_millis())
            });
            let before = slot.trouble.take().filter(|_| !steady);
            let trouble = Trouble::after(before.as_ref(), result, now);
            self.timers.insert((trouble.retry_at, key.clone()));
            slot.trouble = Some(trouble);
        }
        let node = key.0.clone();
        let at_node = self.slots.range((node.clone(), 0)..=(node.clone(), u64::MAX));
        for (_, number) in at_node.map(|(key, _)| key) {
            round.add(*number, node.clone(), false);
        }
        let free = self.services.limits.readers.saturating_sub(self.readers);
        for (number, node) in self.roomless.iter().take(free) {
            round.add(*number, node.clone(), false);
        }
    }

    /// A node is gone: what reads from it reads from nothing, whatever has taken its place.
    pub(super) fn orphan(&mut self, node: &NodeId, sequence: u64, round: &mut Round) {
        self.coverages.forget(node);
        let at_node = self.slots.range_mut((node.clone(), 0)..=(node.clone(), u64::MAX));
        for ((_, number), slot) in at_node {
            if let Some(running) = &mut slot.running {
                running.is_orphan |= running.sequence < sequence;
            }
            // If it is there again, it is another one.
            slot.named_at = now_ms();
            slot.is_counted = false;
            slot.trouble = None;
            round.add(*number, node.clone(), true);
        }
    }

    /// Ends all sources. Returns those that are still not done at `deadline`.
    pub(super) fn stop(mut self, deadline: Instant) -> Vec<String> {
        self.keeper.close();
        for slot in self.slots.values() {
            if let Some(running) = &slot.running {
                running.stop.cancel();
            }
        }
        while self.readers > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left) {
                Ok(Message::Ended { key, reader, result }) => {
                    self.ended(&key, reader, result, &mut Round::default());
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let mut late = Vec::new();
        let mut to_write = std::collections::HashMap::new();
        for ((node, _), slot) in &mut self.slots {
            if slot.running.is_some() {
                let seen = &slot.seen.node;
                late.push(format!("{} on {}", slot.entry.declared.label(), seen.name));
            }
            to_write.insert(node.clone(), Vec::new());
            let (state, reason) = if slot.running.is_some() {
                (NodeState::Error, "its source did not end in time")
            } else {
                (NodeState::Done, "flowtap stops")
            };
            slot.seen.node.state = state;
            reason.clone_into(&mut slot.seen.node.reason);
            slot.entry.status().nodes.insert(node.clone(), slot.seen.clone());
        }
        self.written.write(&self.services.graph, to_write);
        for entry in self.captures.entries() {
            entry.status().sum_up("", false);
        }
        self.captures.changed();
        late
    }
}

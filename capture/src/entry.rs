//! A declared capture in the list: what was declared, and what it is doing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowtap_collectors::CaptureType;
use flowtap_flow::ledger::{Ledger, LedgerSnapshot};
use flowtap_topology::{NodeId, Snapshot};

use crate::declare::Declared;
use crate::document::{Capture, CapturedNode, EventKind, NodeState, State, add};
use crate::explain;
use crate::journal::{Journal, Place};
use crate::summary::summarize;

/// Nodes that a document lists. All are counted.
const LISTED_NODES: usize = 1_000;

/// One declared capture. The reconciler writes its status; everybody reads it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The order of declaration: of two captures that want the same, the one with the lower number has it.
    pub(crate) number: u64,
    pub(crate) declared: Declared,
    status: Mutex<Status>,
    why_none: Mutex<Option<WhyNone>>,
}

/// What a capture is doing.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) state: State,
    pub(crate) reason: String,
    /// How many nodes the expression names, whether they can be captured or not; `None` until it was
    /// asked.
    pub(crate) named: Option<usize>,
    /// By node, in the order in which nodes are shown.
    pub(crate) nodes: BTreeMap<NodeId, Seen>,
    /// What was counted at nodes that are gone.
    past: LedgerSnapshot,
    journal: Journal,
}

/// A capture at one node.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// All but the ledger.
    pub(crate) node: CapturedNode,
    /// The node can never have what was declared: it is shown, and is no failure of the capture.
    pub(crate) is_refused: bool,
    pub(crate) ledger: Arc<Ledger>,
}

/// What an expression that names nothing is explained by. That costs as much as some queries.
pub(crate) struct Hints<'a> {
    graph: &'a Snapshot,
    /// After that, what was said of an older graph is said again.
    until: Instant,
}

impl<'a> Hints<'a> {
    pub(crate) fn new(graph: &'a Snapshot, patience: Duration) -> Self {
        Self {
            graph,
            until: Instant::now() + patience,
        }
    }
}

/// Why an expression names nothing, as of one version of the graph.
#[derive(Debug)]
struct WhyNone {
    sequence: u64,
    text: String,
}

impl Entry {
    pub(crate) fn new(number: u64, declared: Declared) -> Self {
        let status = Status {
            state: State::Waiting,
            reason: "its nodes are being looked for".to_owned(),
            named: None,
            nodes: BTreeMap::new(),
            past: LedgerSnapshot::default(),
            journal: Journal::default(),
        };
        Self {
            number,
            declared,
            status: Mutex::new(status),
            why_none: Mutex::default(),
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.declared.id
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        // Each change leaves it whole.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happened, here and in flowtap's log.
    pub(crate) fn note(&self, time: i64, event: EventKind, place: Place<'_>, detail: impl Into<String>) {
        let detail = detail.into();
        let (capture, node) = (self.declared.label(), place.node_name);
        match event {
            EventKind::Error => {
                tracing::warn!(capture, node, detail, "capture: {}", event.as_str());
            }
            _ => tracing::info!(capture, node, detail, "capture: {}", event.as_str()),
        }
        self.status().journal.write(time, event, place, detail);
    }

    /// Its log.
    pub(crate) fn events(&self) -> Vec<crate::document::CaptureEvent> {
        self.status().journal.events()
    }

    /// The document. If nothing is named, `hints` tell why.
    pub(crate) fn read(&self, hints: Option<&Hints<'_>>) -> Capture {
        let mut document = self.declared.document();
        let status = self.status();
        document.state = status.state;
        document.reason.clone_from(&status.reason);
        document.count = u32::try_from(status.active()).unwrap_or(u32::MAX);
        document.ledger = status.ledger().into();
        let nodes = status.nodes.values().take(LISTED_NODES);
        document.nodes = nodes.map(Seen::document).collect();
        let place = |node: &CapturedNode| (node.namespace.clone(), node.name.clone());
        document.nodes.sort_by_cached_key(place);
        for node in &document.nodes {
            if document.pcap_socket.is_empty() {
                document.pcap_socket.clone_from(&node.pcap_socket);
            }
            if document.sflow_socket.is_empty() {
                document.sflow_socket.clone_from(&node.sflow_socket);
            }
        }
        let names_none = status.named == Some(0) && status.state == State::Waiting;
        drop(status);
        if names_none && let Some(text) = hints.and_then(|hints| self.why_none(hints)) {
            document.reason = text;
        }
        document
    }

    /// Why the expression names nothing. Asked anew when the graph has changed and there is time for it.
    fn why_none(&self, hints: &Hints<'_>) -> Option<String> {
        let expression = self.declared.expression.as_ref().ok()?;
        let mut known = self.why_none.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = hints.graph.sequence();
        if let Some(known) = known.as_ref().filter(|known| known.sequence == sequence) {
            return Some(known.text.clone());
        }
        if Instant::now() > hints.until {
            return known.as_ref().map(|known| known.text.clone());
        }
        let text = explain::why_none(expression, hints.graph)?;
        *known = Some(WhyNone {
            sequence,
            text: text.clone(),
        });
        Some(text)
    }
}

impl Status {
    /// At how many nodes it is active.
    pub(crate) fn active(&self) -> usize {
        let states = self.nodes.values().map(|seen| seen.node.state);
        states.filter(|state| *state == NodeState::Active).count()
    }

    /// At how many nodes it has a source, or begins to.
    pub(crate) fn running(&self) -> u64 {
        let states = self.nodes.values().map(|seen| seen.node.state);
        let running = states.filter(|state| matches!(state, NodeState::Active | NodeState::Starting));
        running.count() as u64
    }

    /// Forgets a node; what was counted there stays counted.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        if let Some(seen) = self.nodes.remove(node) {
            add(&mut self.past, &seen.ledger.snapshot());
        }
    }

    /// Says what the capture is doing as a whole. Returns whether that is new.
    /// With `is_broken` the note tells of an error of the whole capture.
    pub(crate) fn sum_up(&mut self, note: &str, is_broken: bool) -> bool {
        let (mut state, mut reason) = summarize(&self.nodes, self.named, note);
        if is_broken {
            state = State::Error;
            note.clone_into(&mut reason);
        }
        let is_new = (state, &reason) != (self.state, &self.reason);
        self.state = state;
        self.reason = reason;
        is_new
    }

    /// How many nodes are in which state.
    pub(crate) fn interfaces(&self) -> Vec<(&'static str, usize)> {
        let mut counts = BTreeMap::new();
        for seen in self.nodes.values() {
            *counts.entry(seen.node.state.as_str()).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    /// Its counters: at all nodes that are and were.
    pub(crate) fn ledger(&self) -> LedgerSnapshot {
        let mut sum = self.past;
        for seen in self.nodes.values() {
            add(&mut sum, &seen.ledger.snapshot());
        }
        sum
    }
}

impl Seen {
    fn document(&self) -> CapturedNode {
        CapturedNode {
            ledger: self.ledger.snapshot().into(),
            ..self.node.clone()
        }
    }

    /// Where it listens.
    pub(crate) fn listens(&mut self, capture_type: CaptureType, address: String) {
        match capture_type {
            CaptureType::PcapSocket => self.node.pcap_socket = address,
            CaptureType::Sflow | CaptureType::OvsSflow => self.node.sflow_socket = address,
            _ => {}
        }
    }
}

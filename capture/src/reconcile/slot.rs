//! One capture at one node: what shall be, what is, and what to do next.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowtap_collectors::CaptureType;
use flowtap_flow::ledger::Ledger;
use tokio_util::sync::CancellationToken;

use super::judge::{Judgement, Verdict};
use super::reader::Opened;
use super::watch::Watch;
use crate::document::{CapturedNode, FirstPackets, NodeState};
use crate::entry::{Entry, Seen};

/// The pause before the second try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The least pause where a node's change asks for a try at once: some nodes change all the time.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// One capture at one node.
pub(super) struct Slot {
    pub(super) entry: Arc<Entry>,
    /// What shall be; `None`: nothing.
    pub(super) want: Option<Judgement>,
    /// The source that is open, or being opened or closed.
    pub(super) running: Option<Running>,
    /// What went wrong with the last one.
    pub(super) trouble: Option<Trouble>,
    /// Why it does not begin although it could.
    pub(super) hold: Option<String>,
    /// When the expression named the node, in ms since the Unix epoch.
    pub(super) named_at: i64,
    /// Since when the delay of the start counts.
    pub(super) since: Since,
    /// Whether the delay was counted.
    pub(super) is_counted: bool,
    pub(super) seen: Seen,
}

/// Since when a start could have been, in ms since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// The interface appeared.
    Appeared(i64),
    /// The capture was declared, or flowtap started.
    Declared(i64),
    /// The expression named the node, which had been there for long.
    Matched(i64),
}

impl Since {
    /// Of a node that appeared at `appeared` and was named at `matched`, by a capture declared at
    /// `declared`. Within `recent` ms of its appearance it is the appearance that counts: what is named
    /// late then is what metadata names that comes late.
    pub(super) fn of(appeared: i64, declared: i64, matched: i64, recent: i64) -> Self {
        if appeared < declared && matched - declared <= recent {
            Self::Declared(declared)
        } else if appeared >= declared && matched - appeared <= recent {
            Self::Appeared(appeared)
        } else {
            Self::Matched(matched)
        }
    }

    /// Milliseconds from then to `at`.
    pub(super) fn until(self, at: i64) -> u64 {
        let (Self::Appeared(since) | Self::Declared(since) | Self::Matched(since)) = self;
        u64::try_from(at - since).unwrap_or(0)
    }

    /// What it was, to stand after `after`.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Appeared(_) => "the interface appeared",
            Self::Declared(_) => "the capture began",
            Self::Matched(_) => "the expression named it",
        }
    }
}

/// A source and its thread.
pub(super) struct Running {
    /// Which of all readers.
    pub(super) reader: u64,
    /// The interface's index: another one is another interface.
    pub(super) index: u32,
    pub(super) capture_type: CaptureType,
    /// The graph's last event when it was started.
    pub(super) sequence: u64,
    /// When the node was made: one made later is another interface.
    pub(super) created_at: i64,
    /// Its interface is gone, whatever stands in its place.
    pub(super) is_orphan: bool,
    pub(super) stop: CancellationToken,
    pub(super) opened: Option<Opened>,
    pub(super) watch: Arc<Watch>,
    pub(super) thread: JoinHandle<()>,
}

/// Why a source ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// It ended by itself, without an error.
    is_end: bool,
    tries: u32,
    at: Instant,
    pub(super) retry_at: Instant,
}

impl Trouble {
    /// After the trouble before it.
    pub(super) fn after(before: Option<&Self>, result: Result<(), String>, now: Instant) -> Self {
        let tries = before.map_or(0, |before| before.tries) + 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(16));
        Self {
            is_end: result.is_ok(),
            reason: result.err().unwrap_or_else(|| "its source has ended".to_owned()),
            tries,
            at: now,
            retry_at: now + pause.min(LONGEST_PAUSE),
        }
    }

    /// The node has changed: what was wrong may be right now.
    pub(super) fn hasten(&mut self) {
        self.retry_at = self.retry_at.min(self.at + LEAST_PAUSE);
    }
}

/// What to do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Start,
    Stop,
    Forget,
}

impl Slot {
    pub(super) fn new(entry: Arc<Entry>, named_at: i64) -> Self {
        Self {
            entry,
            want: None,
            running: None,
            trouble: None,
            hold: None,
            named_at,
            since: Since::Matched(named_at),
            is_counted: false,
            seen: Seen {
                node: CapturedNode::default(),
                is_refused: false,
                ledger: Arc::new(Ledger::default()),
            },
        }
    }

    /// What to do next.
    pub(super) fn next(&self, now: Instant) -> Next {
        match (&self.running, &self.want) {
            (Some(running), _) if running.stop.is_cancelled() => Next::Nothing,
            (Some(running), Some(want)) if running.is_for(want) => Next::Nothing,
            (Some(_), _) => Next::Stop,
            (None, None) => Next::Forget,
            (None, Some(want)) if want.verdict == Verdict::Ready => match &self.trouble {
                Some(trouble) if now < trouble.retry_at => Next::Nothing,
                _ => Next::Start,
            },
            (None, Some(_)) => Next::Nothing,
        }
    }

    /// Notes which node it is now, as its metadata says.
    pub(super) fn describe(&mut self, node_id: &str) {
        let Some(want) = &self.want else { return };
        let node = &mut self.seen.node;
        node_id.clone_into(&mut node.node_id);
        (*want.interface.node_tid).clone_into(&mut node.node_tid);
        node.name.clone_from(&want.interface.name);
        node.namespace.clone_from(&want.namespace);
        node.node_type.clone_from(&want.interface.node_type);
        node.r#type = want
            .capture_type
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default();
        node.type_reason.clone_from(&want.why);
        if let Some(running) = &self.running {
            running.watch.set_tid(&want.interface.node_tid);
        }
    }

    /// Notes what it is doing. Returns the state before, with its reason.
    pub(super) fn settle(&mut self) -> (NodeState, String) {
        let (state, reason) = self.state();
        self.seen.is_refused = self
            .want
            .as_ref()
            .is_some_and(|want| matches!(want.verdict, Verdict::Refused(_)));
        let node = &mut self.seen.node;
        if state != NodeState::Active {
            node.pcap_socket.clear();
            node.sflow_socket.clear();
        }
        (
            std::mem::replace(&mut node.state, state),
            std::mem::replace(&mut node.reason, reason),
        )
    }

    fn state(&self) -> (NodeState, String) {
        let because = |state, reason: &str| (state, reason.to_owned());
        if let Some(running) = &self.running {
            return if running.stop.is_cancelled() {
                because(NodeState::Starting, "its last source is being closed")
            } else if running.opened.is_some() {
                because(NodeState::Active, "")
            } else {
                because(NodeState::Starting, "")
            };
        }
        match self.want.as_ref().map(|want| &want.verdict) {
            None => because(NodeState::Done, ""),
            Some(Verdict::Wait(reason)) => because(NodeState::Waiting, reason),
            Some(Verdict::Refused(reason) | Verdict::Failed(reason)) => because(NodeState::Error, reason),
            Some(Verdict::Ready) => match (&self.hold, &self.trouble) {
                (Some(hold), _) => because(NodeState::Waiting, hold),
                (None, Some(trouble)) if trouble.is_end => because(NodeState::Done, &trouble.reason),
                (None, Some(trouble)) => because(NodeState::Error, &trouble.reason),
                (None, None) => because(NodeState::Starting, ""),
            },
        }
    }

    /// Notes that its source is open.
    pub(super) fn opened(&mut self, opened: Opened) {
        let Some(running) = &mut self.running else { return };
        running.opened = Some(opened);
        let capture_type = running.capture_type;
        let node = &mut self.seen.node;
        node.start_delay_ms = Some(self.since.until(opened.at));
        node.first_packets = Some(if opened.early == Some(true) {
            FirstPackets::Complete
        } else {
            FirstPackets::Unknown
        });
        if let Some(address) = opened.listens {
            self.seen.listens(capture_type, address.to_string());
        }
    }
}

impl Running {
    /// Whether it is what is wanted. What keeps a source from being opened does not end one that is open:
    /// it ends by itself if it cannot go on.
    fn is_for(&self, want: &Judgement) -> bool {
        !self.is_orphan && self.index == want.interface.index && Some(self.capture_type) == want.capture_type
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_counts_from_what_it_waited_for() {
        // Declared long before; named when it appeared, or when its metadata came.
        assert_eq!(Since::of(1_000, 10, 1_000, 10_000), Since::Appeared(1_000));
        assert_eq!(Since::of(1_000, 10, 4_000, 10_000), Since::Appeared(1_000));
        // There for an hour before anything named it.
        assert_eq!(Since::of(1_000, 10, 3_600_000, 10_000), Since::Matched(3_600_000));
        // There before the capture.
        assert_eq!(Since::of(1_000, 5_000, 5_001, 10_000), Since::Declared(5_000));
        assert_eq!(Since::of(1_000, 5_000, 500_000, 10_000), Since::Matched(500_000));
        assert_eq!(Since::Appeared(1_000).until(1_034), 34);
        // A clock that was set back.
        assert_eq!(Since::Matched(1_000).until(900), 0);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_a_change_shortens_them() {
        let start = Instant::now();
        let mut trouble = None;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let next = Trouble::after(trouble.as_ref(), Err("no rights".into()), start);
            pauses.push((next.retry_at - start).as_millis());
            trouble = Some(next);
        }
        assert_eq!(
            pauses,
            [
                250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000, 30_000
            ]
        );
        let mut trouble = trouble.unwrap();
        trouble.hasten();
        assert_eq!(trouble.retry_at - start, LEAST_PAUSE);
        let mut many = Trouble::after(None, Ok(()), start);
        many.tries = u32::MAX - 1;
        assert_eq!(
            Trouble::after(Some(&many), Ok(()), start).retry_at - start,
            LONGEST_PAUSE
        );
    }
}

//! Questions about flows, and who answers them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::filter::FlowFilter;
use crate::flow::{Flow, FlowId, FlowMetric};
use crate::kept::PacketChunk;
use crate::packet::RawPacket;
use crate::timestamp::Timestamp;

/// A closed stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Its first instant.
    pub from: Timestamp,
    /// Its last instant.
    pub to: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        from: Timestamp::ZERO,
        to: Timestamp::MAX,
    };

    /// True if `start..=last` and this range share an instant.
    #[must_use]
    pub fn overlaps(&self, start: Timestamp, last: Timestamp) -> bool {
        start <= self.to && last >= self.from
    }

    /// The stretch from the first instant of either to the last.
    #[must_use]
    pub fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Self {
                from: a.from.min(b.from),
                to: a.to.max(b.to),
            }),
            (one, other) => one.or(other),
        }
    }

    /// True if `instant` lies in this range.
    #[must_use]
    pub fn contains(&self, instant: Timestamp) -> bool {
        (self.from..=self.to).contains(&instant)
    }
}

/// Which flows: those that overlap `time` and match `filter`.
#[derive(Clone, Debug)]
pub struct FlowQuery {
    /// Flows with a packet in it (`Start ≤ to` and `Last ≥ from`).
    pub time: TimeRange,
    /// What they must look like.
    pub filter: FlowFilter,
}

impl FlowQuery {
    /// Every flow there is.
    #[must_use]
    pub fn all() -> Self {
        Self {
            time: TimeRange::ALL,
            filter: FlowFilter::All,
        }
    }

    /// True if the query wants `flow`.
    #[must_use]
    pub fn wants(&self, flow: &Flow) -> bool {
        self.time.overlaps(flow.start, flow.last) && self.filter.matches(flow)
    }
}

/// What may end a query early: its caller has gone, or its time is up. Cheap to clone and share.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// One that also fires at `deadline`.
    #[must_use]
    pub fn at(deadline: Instant) -> Self {
        Self {
            flag: Arc::default(),
            deadline: Some(deadline),
        }
    }

    /// This one, firing at `deadline` too, or at its own if that comes first. Both share one flag.
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |own| own.min(deadline));
        Self {
            flag: Arc::clone(&self.flag),
            deadline: Some(deadline),
        }
    }

    /// Ends the query.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Says whether to go on.
    ///
    /// # Errors
    /// [`ReadError::Cancelled`] or [`ReadError::TimedOut`].
    pub fn check(&self) -> Result<(), ReadError> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(ReadError::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ReadError::TimedOut);
        }
        Ok(())
    }
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The caller went away.
    #[error("the query was cancelled")]
    Cancelled,
    /// The time limit ran out.
    #[error("the query took longer than its time limit; narrow it by time or by a filter")]
    TimedOut,
    /// A store failed.
    #[error("failed to read {what}: {source}")]
    Store {
        /// The file, segment or server.
        what: String,
        /// Its own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Takes flows one by one; `Break` says that no more are wanted.
pub type FlowVisitor<'a> = dyn FnMut(Flow) -> ControlFlow<()> + 'a;
/// Takes raw packets one by one, each with its flow's UUID.
pub type PacketVisitor<'a> = dyn FnMut(FlowId, RawPacket) -> ControlFlow<()> + 'a;
/// Takes metric intervals one by one, each with its flow's UUID.
pub type MetricVisitor<'a> = dyn FnMut(FlowId, FlowMetric) -> ControlFlow<()> + 'a;

/// Answers questions about flows: the live table does, so does every store, and so does their union.
///
/// Calls block (disk, locks); run them off the async runtime. A reader that holds several versions
/// of a flow hands out the newest only.
pub trait FlowReader: Send + Sync {
    /// Visits each flow that `query` wants, in no particular order, each UUID once.
    ///
    /// # Errors
    /// See [`ReadError`]; flows already visited stay visited.
    fn flows(&self, query: &FlowQuery, cancel: &Cancel, visit: &mut FlowVisitor<'_>)
    -> Result<(), ReadError>;

    /// Visits each flow that `query` wants and that got a packet within the last `within` by this
    /// machine's clock (to about a second), however old the packet's own time is. Only the live table
    /// knows that.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn active(
        &self,
        _within: Duration,
        _query: &FlowQuery,
        _cancel: &Cancel,
        _visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        Ok(())
    }

    /// Visits the UUID of each flow with a packet in `time`, whatever else it looks like. Who merges
    /// readers asks this: a version that the query does not want still outdates one that it does.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn uuids(
        &self,
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut dyn FnMut(FlowId),
    ) -> Result<(), ReadError> {
        let every = FlowQuery {
            time,
            filter: FlowFilter::All,
        };
        self.flows(&every, cancel, &mut |flow| {
            visit(flow.uuid);
            ControlFlow::Continue(())
        })
    }

    /// Visits the raw packets of `flows` (pairs of UUID and the flow's time range, which tells a
    /// store where to look) whose time lies in `time`, in no particular order.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError>;

    /// Visits the update intervals of `flows` that lie in `time` as a whole. A flow that lived for
    /// less than one update interval has one: its totals.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError>;
}

/// A flow as a store can find it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowRef {
    /// Which one.
    pub uuid: FlowId,
    /// Its first packet.
    pub start: Timestamp,
    /// Its last packet, as far as known.
    pub last: Timestamp,
}

impl From<&Flow> for FlowRef {
    fn from(flow: &Flow) -> Self {
        Self {
            uuid: flow.uuid,
            start: flow.start,
            last: flow.last,
        }
    }
}

/// What leaves the flow table for the store: a flow as it stands, and what is new about it.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowUpdate {
    /// Totals until now; [`Flow::finish_type`] says whether it is the last word.
    pub flow: Flow,
    /// What came since the previous update of this flow: the metric row of this interval.
    pub interval: FlowMetric,
    /// True for a flow's first update: no store has it yet.
    pub first: bool,
}

/// What goes to the store together. Packets come as they are kept, before or after the updates of
/// their flows.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Updates of one flow are in order.
    pub updates: Vec<FlowUpdate>,
    /// Kept packets.
    pub kept: Vec<Arc<PacketChunk>>,
}

impl Batch {
    /// How many updates go together where that can be chosen: 50 KiB.
    pub const UPDATES: usize = 128;

    /// True if there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.kept.is_empty()
    }
}

impl From<Vec<FlowUpdate>> for Batch {
    fn from(updates: Vec<FlowUpdate>) -> Self {
        Self {
            updates,
            kept: Vec::new(),
        }
    }
}

/// Takes batches; a bounded queue in front of a store.
pub trait UpdateSink: Send + Sync {
    /// Takes all that is in `batch`, which readers behind this sink see from now on, and leaves its memory to
    /// the sender. Does not block.
    fn send(&self, batch: &mut Batch);

    /// Blocks while more is held than the bounds allow. Senders call it after [`Self::send`], when
    /// they hold no lock: nothing is lost, and the pressure shows where the kernel or the peer
    /// counts it.
    fn wait(&self) {}

    /// As [`Self::wait`], for one who is in no hurry: it leaves most of the room to those who read packets.
    fn wait_in_background(&self) {
        self.wait();
    }

    /// Asks that what is held be stored now: somebody waits for its memory.
    fn hasten(&self) {}
}

//! The thread that follows the graph and writes its history.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flowtap_topology::{Event, Graph, Interval, IntervalLog, Subscription, Waker};

use super::Retention;
use super::revisions::Revisions;
use crate::error::StoreError;

/// How long events wait for others to be written with, unless somebody asks: a commit is a few
/// milliseconds of disk, and the graph changes in bursts.
const LINGER: Duration = Duration::from_millis(200);
/// Events, and intervals of metrics, in one transaction, at some 30 µs each.
const BATCH: usize = 4_096;
/// How often it is written down that nothing happened. After a crash, what was there ends that much
/// too early at most.
const BEAT: Duration = Duration::from_secs(5);
/// How often old revisions are removed, and after how many new ones.
const RETAIN: Duration = Duration::from_secs(60);
const RETAIN_AFTER: usize = 20_000;
/// How long to wait after a failed write: a full disk does not empty itself at once.
const RETRY: Duration = Duration::from_secs(1);
/// How long a question waits for what happened before it to be written, and how often it asks whether
/// anybody still wants the answer.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
const FLUSH_LOOK: Duration = Duration::from_millis(50);

/// Follows one graph until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    graph: Arc<Graph>,
    /// What nodes count.
    log: IntervalLog,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// What is on disk.
    written: Position,
    /// What somebody waits for.
    wanted: Position,
    stop: bool,
    /// The thread has ended.
    ended: bool,
    /// Why the last write failed.
    failure: Option<Arc<StoreError>>,
}

/// How far something has come.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// The number of an event.
    event: u64,
    /// How many intervals of metrics have come since the start.
    intervals: u64,
}

impl Position {
    fn is_behind(self, other: Self) -> bool {
        self.event < other.event || self.intervals < other.intervals
    }

    fn max(self, other: Self) -> Self {
        Self {
            event: self.event.max(other.event),
            intervals: self.intervals.max(other.intervals),
        }
    }
}

impl Progress {
    /// Whether somebody waits.
    fn is_wanted(&self) -> bool {
        self.written.is_behind(self.wanted)
    }
}

impl Recorder {
    pub(super) fn start(
        graph: Arc<Graph>,
        revisions: Revisions,
        retention: Retention,
    ) -> std::io::Result<Self> {
        let waker = graph.subscribe().1.waker();
        let log = graph.intervals();
        let shared = Arc::new(Shared {
            graph,
            log,
            progress: Mutex::default(),
            changed: Condvar::new(),
        });
        let work = Work {
            shared: Arc::clone(&shared),
            revisions,
            retention,
            retained: None,
            since_retained: 0,
            counted: Vec::new(),
            intervals: 0,
        };
        let thread = std::thread::Builder::new()
            .name("topology-history".to_owned())
            .spawn(move || work.run())?;
        Ok(Self {
            shared,
            waker,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits until everything that has happened is written, or until nobody wants it any more. After a
    /// stop, that is what it will be.
    pub(super) fn flush(&self, is_wanted: impl Fn() -> bool) -> Result<(), StoreError> {
        let until = Instant::now() + FLUSH_TIMEOUT;
        let wanted = Position {
            event: self.shared.graph.snapshot().sequence(),
            intervals: self.shared.log.pushed(),
        };
        let mut progress = self.shared.progress();
        progress.wanted = progress.wanted.max(wanted);
        let has_intervals = progress.written.intervals < wanted.intervals;
        drop(progress);
        self.shared.changed.notify_all();
        if has_intervals {
            // No event wakes it for these.
            self.waker.wake();
        }
        let enough = |progress: &Progress| {
            !progress.written.is_behind(wanted) || progress.ended || progress.failure.is_some()
        };
        while is_wanted() && Instant::now() < until && !enough(&self.shared.progress()) {
            self.shared.wait(FLUSH_LOOK, enough);
        }
        let progress = self.shared.progress();
        match &progress.failure {
            _ if !progress.written.is_behind(wanted) => Ok(()),
            Some(failure) => Err(StoreError::HistoryBehind {
                reason: failure.to_string(),
            }),
            None if Instant::now() >= until => Err(StoreError::HistoryBehind {
                reason: format!("the disk took more than {} s", FLUSH_TIMEOUT.as_secs()),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn stop(&self, timeout: Duration) -> Result<(), StoreError> {
        self.signal_stop();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.progress(), timeout, |progress| !progress.ended);
        let (progress, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        match &progress.failure {
            Some(failure) => Err(StoreError::HistoryBehind {
                reason: failure.to_string(),
            }),
            None if timed_out.timed_out() => Err(StoreError::HistoryBehind {
                reason: format!("the disk took more than {} ms", timeout.as_millis()),
            }),
            None => Ok(()),
        }
    }

    fn signal_stop(&self) {
        self.shared.progress().stop = true;
        self.shared.changed.notify_all();
        self.waker.wake();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.signal_stop();
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by its own hook.
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `timeout`, or until `enough`.
    fn wait(&self, timeout: Duration, enough: impl Fn(&Progress) -> bool) {
        let waited = self
            .changed
            .wait_timeout_while(self.progress(), timeout, |progress| !enough(progress));
        drop(waited);
    }
}

/// What the thread owns.
struct Work {
    shared: Arc<Shared>,
    revisions: Revisions,
    retention: Retention,
    /// When old revisions were last removed.
    retained: Option<Instant>,
    /// Events and intervals written since.
    since_retained: usize,
    /// Intervals that were taken and are not written yet.
    counted: Vec<Interval>,
    /// How many have been written, or lost.
    intervals: u64,
}

/// Why the thread no longer follows a subscription.
enum End {
    /// It was stopped, and everything is written.
    Stopped,
    /// It was too slow and missed events.
    Missed,
}

/// However the thread ends, nobody waits for it any more.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.progress().ended = true;
        self.0.changed.notify_all();
    }
}

impl Work {
    fn run(mut self) {
        let _ended = Ended(Arc::clone(&self.shared));
        loop {
            match self.follow() {
                Ok(End::Stopped) => return,
                // Once more, from a new snapshot.
                Ok(End::Missed) => {}
                Err(error) => {
                    self.note_failure(error);
                    self.shared.wait(RETRY, |progress| progress.stop);
                    if self.stopped() {
                        return;
                    }
                }
            }
        }
    }

    /// Writes the graph, and what happens to it until the stop, or until events are missed.
    fn follow(&mut self) -> Result<End, StoreError> {
        let (snapshot, mut events) = self.shared.graph.subscribe();
        let sequence = snapshot.sequence();
        self.revisions.reconcile(&snapshot, now_ms())?;
        // A version of the graph that nobody reads need not be kept apart from the next.
        drop(snapshot);
        self.note_written(sequence);
        loop {
            // Asked after the subscription: a stop, or a question, before it is seen here, one after it wakes.
            if self.stopped() {
                return self.finish(events);
            }
            let patience = if self.shared.progress().is_wanted() {
                Duration::ZERO
            } else {
                BEAT
            };
            let first = match events.next_within(patience) {
                Err(_missed) => return Ok(End::Missed),
                Ok(None) => None,
                Ok(Some(first)) => {
                    self.shared
                        .wait(LINGER, |progress| progress.stop || progress.is_wanted());
                    Some(first)
                }
            };
            if self.write(first, &mut events)? {
                return Ok(End::Missed);
            }
            self.retain()?;
        }
    }

    /// Writes `first` and what has come after it, and what was counted. Returns whether events were missed
    /// behind these.
    fn write(&mut self, first: Option<Arc<Event>>, events: &mut Subscription) -> Result<bool, StoreError> {
        let mut batch = Vec::from_iter(first);
        let mut missed = false;
        while batch.len() < BATCH {
            match events.try_next() {
                Ok(Some(event)) => batch.push(event),
                Ok(None) => break,
                Err(_missed) => {
                    missed = true;
                    break;
                }
            }
        }
        loop {
            // What a failed write left comes first.
            if self.counted.is_empty() {
                self.counted = self.shared.log.take(BATCH);
            }
            self.revisions.record(&batch, &self.counted, now_ms())?;
            let (events, counted) = (batch.len(), self.counted.len());
            self.since_retained += events + counted;
            self.counted.clear();
            let lost = self.shared.log.take_lost();
            if lost > 0 {
                tracing::warn!(lost, "metrics of nodes came faster than they could be written");
            }
            self.intervals += counted as u64 + lost;
            let last = batch.last().map(|last| last.sequence);
            self.note_written(last.unwrap_or_else(|| self.shared.progress().written.event));
            batch.clear();
            if counted < BATCH {
                return Ok(missed);
            }
        }
    }

    /// Writes what was sent before the stop.
    fn finish(&mut self, mut events: Subscription) -> Result<End, StoreError> {
        loop {
            let first = match events.try_next() {
                Ok(first) => first,
                Err(_missed) => return Ok(End::Missed),
            };
            let is_last = first.is_none();
            if self.write(first, &mut events)? {
                return Ok(End::Missed);
            }
            if is_last {
                return Ok(End::Stopped);
            }
        }
    }

    fn stopped(&self) -> bool {
        self.shared.progress().stop
    }

    fn retain(&mut self) -> Result<(), StoreError> {
        let due = self.retained.is_none_or(|last| last.elapsed() >= RETAIN);
        if due || self.since_retained >= RETAIN_AFTER {
            self.revisions.retain(now_ms(), self.retention)?;
            self.retained = Some(Instant::now());
            self.since_retained = 0;
        }
        Ok(())
    }

    fn note_written(&self, sequence: u64) {
        let mut progress = self.shared.progress();
        progress.written = Position {
            event: sequence,
            intervals: self.intervals,
        };
        if progress.failure.take().is_some() {
            tracing::info!("the topology's history is written again");
        }
        drop(progress);
        self.shared.changed.notify_all();
    }

    fn note_failure(&self, error: StoreError) {
        let mut progress = self.shared.progress();
        // Once, not at every try.
        if progress.failure.is_none() {
            tracing::error!(%error, "the topology's history cannot be written, trying on");
        }
        progress.failure = Some(Arc::new(error));
        drop(progress);
        self.shared.changed.notify_all();
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

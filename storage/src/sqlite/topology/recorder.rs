//! The thread that follows the graph and writes its history.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flowtap_topology::{Event, Graph, Subscription, Waker};

use super::Retention;
use super::revisions::Revisions;
use crate::error::StoreError;

/// How long events wait for others to be written with, unless somebody asks: a commit is a few
/// milliseconds of disk, and the graph changes in bursts.
const LINGER: Duration = Duration::from_millis(200);
/// Events in one transaction, at some 30 µs each.
const BATCH: usize = 4_096;
/// How often it is written down that nothing happened. After a crash, what was there ends that much
/// too early at most.
const BEAT: Duration = Duration::from_secs(5);
/// How often old revisions are removed, and after how many new ones.
const RETAIN: Duration = Duration::from_secs(60);
const RETAIN_AFTER: usize = 20_000;
/// How long to wait after a failed write: a full disk does not empty itself at once.
const RETRY: Duration = Duration::from_secs(1);
/// How long a question waits for what happened before it to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

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
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// The number of the last event that is on disk.
    written: u64,
    /// The number of the event that somebody waits for.
    wanted: u64,
    stop: bool,
    /// The thread has ended.
    ended: bool,
    /// Why the last write failed.
    failure: Option<Arc<StoreError>>,
}

impl Recorder {
    pub(super) fn start(
        graph: Arc<Graph>,
        revisions: Revisions,
        retention: Retention,
    ) -> std::io::Result<Self> {
        let waker = graph.subscribe().1.waker();
        let shared = Arc::new(Shared {
            graph,
            progress: Mutex::default(),
            changed: Condvar::new(),
        });
        let work = Work {
            shared: Arc::clone(&shared),
            revisions,
            retention,
            retained: None,
            since_retained: 0,
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

    /// Waits until everything that has happened is written. After a stop, that is what it will be.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let wanted = self.shared.graph.snapshot().sequence();
        let mut progress = self.shared.progress();
        progress.wanted = progress.wanted.max(wanted);
        self.shared.changed.notify_all();
        let behind = |progress: &mut Progress| {
            progress.written < wanted && !progress.ended && progress.failure.is_none()
        };
        let waited = self
            .shared
            .changed
            .wait_timeout_while(progress, FLUSH_TIMEOUT, behind);
        let (progress, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match &progress.failure {
            _ if progress.written >= wanted => Ok(()),
            Some(failure) => Err(StoreError::HistoryBehind {
                reason: failure.to_string(),
            }),
            None if timeout.timed_out() => Err(StoreError::HistoryBehind {
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
    /// Events written since.
    since_retained: usize,
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
            // Asked after the subscription: a stop before it was seen here, one after it wakes.
            if self.stopped() {
                return self.finish(events);
            }
            match events.next_within(BEAT) {
                Err(_missed) => return Ok(End::Missed),
                Ok(None) => self.revisions.beat(now_ms())?,
                Ok(Some(first)) => {
                    self.shared.wait(LINGER, |progress| {
                        progress.stop || progress.wanted > progress.written
                    });
                    if self.write(first, &mut events)? {
                        return Ok(End::Missed);
                    }
                }
            }
            self.retain()?;
        }
    }

    /// Writes `first` and what has come after it. Returns whether events were missed behind these.
    fn write(&mut self, first: Arc<Event>, events: &mut Subscription) -> Result<bool, StoreError> {
        let mut batch = vec![first];
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
        self.revisions.record(&batch, now_ms())?;
        self.since_retained += batch.len();
        if let Some(last) = batch.last() {
            self.note_written(last.sequence);
        }
        Ok(missed)
    }

    /// Writes what was sent before the stop.
    fn finish(&mut self, mut events: Subscription) -> Result<End, StoreError> {
        loop {
            match events.try_next() {
                Ok(Some(first)) => {
                    if self.write(first, &mut events)? {
                        return Ok(End::Missed);
                    }
                }
                Ok(None) => break,
                Err(_missed) => return Ok(End::Missed),
            }
        }
        self.revisions.beat(now_ms())?;
        Ok(End::Stopped)
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
        progress.written = sequence;
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

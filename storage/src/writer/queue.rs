//! The bounded queue of batches on their way to the store.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowtap_flow::query::{Batch, FlowUpdate};

use super::{WriterOptions, WriterStats};
use crate::error::StoreError;

/// Updates, and bytes of kept packets, in one transaction at most, if batches are small: two commits' worth. What
/// has waited for a disk that was full goes to it in such pieces, and each finds room by itself.
const COMMIT_FACTOR: usize = 2;
/// Chunks of kept packets at which no more is added to a batch.
const JOINED_CHUNKS: usize = 16;

const ENDED: &str = "the writing thread has ended";

/// What was sent and is not yet durable, oldest first; readers look at them here. Senders wait while
/// it holds more than its bounds by number or by bytes (see [`WriterOptions`]). The batch that goes
/// over them is let in first, for it has left the flow table and must not be invisible while its
/// sender waits: the queue holds its bounds and one batch per sender.
#[derive(Debug)]
pub(super) struct Queue {
    options: WriterOptions,
    state: Mutex<State>,
    /// For the writing thread: there is something to do.
    work: Condvar,
    /// For senders and those who flush: something was stored, or nothing will be any more.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Queued>,
    updates: usize,
    /// Of updates and kept packets.
    bytes: usize,
    /// Of kept packets alone.
    kept_bytes: usize,
    /// Batches ever queued, and ever stored.
    sent: u64,
    stored: u64,
    /// Somebody waits for `stored` to reach this: no use in waiting for a fuller batch.
    flush_to: u64,
    /// No more batches are taken; the thread ends at this instant, or once the queue is empty.
    closed: Option<Instant>,
    /// The writing thread sleeps. To wake one that does not is a system call for nothing, with each batch.
    sleeps: bool,
    ended: bool,
    error: Option<String>,
    retention_error: Option<String>,
    refused_updates: u64,
    refused_packets: u64,
    /// Lists whose updates were stored, empty: memory that the system need not give anew.
    spare: Vec<Vec<FlowUpdate>>,
}

#[derive(Debug)]
struct Queued {
    batch: Arc<Batch>,
    since: Instant,
}

/// Every state is whole whenever the lock is free, so a panic elsewhere does no harm to it.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    pub(super) fn new(options: WriterOptions) -> Self {
        Self {
            options,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        }
    }

    pub(super) fn options(&self) -> &WriterOptions {
        &self.options
    }

    /// Takes what is in `batch`.
    pub(super) fn send(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let (updates, kept_bytes) = (batch.updates.len(), kept_bytes(batch));
        let mut state = locked(&self.state);
        if state.is_closed() {
            state.refused_updates += updates as u64;
            state.refused_packets += packets(batch);
            *batch = Batch::default();
            return;
        }
        state.updates += updates;
        state.kept_bytes += kept_bytes;
        state.bytes += updates * UPDATE_BYTES + kept_bytes;
        let joins = state.join_last(batch);
        if !joins {
            state.sent += 1;
            let batch = Arc::new(state.roomy(batch));
            let since = Instant::now();
            state.batches.push_back(Queued { batch, since });
        }
        // The thread sleeps without a deadline while the queue is empty, and else until a commit is due.
        let is_first = !joins && state.batches.len() == 1;
        if state.sleeps && (is_first || self.is_commit_full(&state)) {
            state.sleeps = false;
            self.work.notify_one();
        }
    }

    fn is_commit_full(&self, state: &State) -> bool {
        state.updates >= self.options.commit_updates || state.kept_bytes >= self.options.commit_bytes
    }

    /// Waits while there is more than one of so many `parts` of the bounds allows.
    pub(super) fn wait_for_room(&self, parts: usize) {
        let mut state = locked(&self.state);
        while self.exceeds(&state, parts) && !state.is_closed() {
            state = wait(&self.progress, state);
        }
    }

    fn exceeds(&self, state: &State, parts: usize) -> bool {
        state.updates > self.options.queue_updates / parts || state.bytes > self.options.queue_bytes / parts
    }

    /// For the writing thread: waits until a commit is due and lends its batches, or `None` once
    /// there is nothing left to do. Empty at `idle_until`, if no commit was due before.
    pub(super) fn next(&self, idle_until: Instant) -> Option<Vec<Arc<Batch>>> {
        let mut state = locked(&self.state);
        loop {
            let now = Instant::now();
            if state
                .closed
                .is_some_and(|deadline| state.batches.is_empty() || now >= deadline)
            {
                return None;
            }
            let due = match state.batches.front() {
                None => idle_until,
                Some(_) if state.is_closed() || state.flush_to > state.stored => now,
                Some(_) if self.is_commit_full(&state) => now,
                Some(oldest) => oldest.since + self.options.commit_interval,
            };
            if due <= now {
                let WriterOptions {
                    commit_updates,
                    commit_bytes,
                    ..
                } = self.options;
                let [updates, kept_bytes] =
                    [commit_updates, commit_bytes].map(|limit| limit.saturating_mul(COMMIT_FACTOR));
                return Some(state.front(updates, kept_bytes));
            }
            state = self.sleep_until(state, due);
        }
    }

    /// For the writing thread.
    fn sleep_until<'a>(&self, mut state: MutexGuard<'a, State>, instant: Instant) -> MutexGuard<'a, State> {
        state.sleeps = true;
        let mut state = wait_until(&self.work, state, instant);
        state.sleeps = false;
        state
    }

    /// The first `count` batches are durable.
    pub(super) fn stored(&self, count: usize) {
        let mut state = locked(&self.state);
        let stored: Vec<Queued> = state.batches.drain(..count).collect();
        for Queued { batch, .. } in &stored {
            let (updates, kept_bytes) = (batch.updates.len(), kept_bytes(batch));
            state.updates -= updates;
            state.kept_bytes -= kept_bytes;
            state.bytes -= updates * UPDATE_BYTES + kept_bytes;
            state.stored += 1;
        }
        state.error = None;
        // Before the batches go: to free ten thousand updates takes a millisecond, and senders wait for the lock.
        drop(state);
        self.progress.notify_all();
        let spare: Vec<_> = stored.into_iter().filter_map(emptied).collect();
        let mut state = locked(&self.state);
        state.spare.extend(spare);
        state.spare.truncate(MOST_SPARE);
    }

    /// The store refused; true if it took the batch before that.
    pub(super) fn refused(&self, error: &StoreError) -> bool {
        locked(&self.state).error.replace(error.to_string()).is_none()
    }

    pub(super) fn retained(&self, error: Option<StoreError>) {
        if let Some(error) = &error {
            tracing::warn!(%error, "retention failed");
        }
        locked(&self.state).retention_error = error.map(|error| error.to_string());
    }

    /// For the writing thread: waits before the next attempt; false if there shall be none.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = locked(&self.state);
        loop {
            let now = Instant::now();
            if state.closed.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            if now >= until {
                return true;
            }
            let wake = state.closed.map_or(until, |deadline| deadline.min(until));
            state = self.sleep_until(state, wake);
        }
    }

    /// Waits until what was sent before is durable.
    pub(super) fn flush(&self, deadline: Instant) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        let goal = state.sent;
        state.flush_to = state.flush_to.max(goal);
        self.work.notify_one();
        while state.stored < goal {
            if state.ended || Instant::now() >= deadline {
                return Err(state.unfinished());
            }
            state = wait_until(&self.progress, state, deadline);
        }
        Ok(())
    }

    /// Has what was sent before stored without waiting for more.
    pub(super) fn hasten(&self) {
        let mut state = locked(&self.state);
        if state.flush_to < state.sent {
            state.flush_to = state.sent;
            self.work.notify_one();
        }
    }

    /// Takes no more batches. The thread goes on until the queue is empty, but not past `deadline`.
    pub(super) fn close(&self, deadline: Instant) {
        let mut state = locked(&self.state);
        state.closed = Some(state.closed.map_or(deadline, |before| before.min(deadline)));
        drop(state);
        self.work.notify_all();
        self.progress.notify_all();
    }

    /// Ends the thread's attempts now.
    pub(super) fn abandon(&self) {
        self.close(Instant::now());
    }

    pub(super) fn is_empty(&self) -> bool {
        locked(&self.state).batches.is_empty()
    }

    pub(super) fn unfinished(&self) -> StoreError {
        locked(&self.state).unfinished()
    }

    /// What is queued now, oldest first.
    pub(super) fn pending(&self) -> Vec<Arc<Batch>> {
        locked(&self.state).front(usize::MAX, usize::MAX)
    }

    pub(super) fn stats(&self) -> WriterStats {
        let state = locked(&self.state);
        WriterStats {
            queued_updates: state.updates,
            queued_bytes: state.bytes,
            error: state.error.clone(),
            retention_error: state.retention_error.clone(),
            refused_updates: state.refused_updates,
            refused_packets: state.refused_packets,
            ..WriterStats::default()
        }
    }

    /// A guard that tells everybody when the writing thread ends, by return or by panic.
    pub(super) fn ends_with_this(&self) -> Ended<'_> {
        Ended(self)
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.closed.is_some() || self.ended
    }

    /// Adds what is in `batch` to the batch sent last; false, with nothing done, if that is full or lent.
    fn join_last(&mut self, batch: &mut Batch) -> bool {
        let last = self.batches.back_mut();
        let Some(last) = last.and_then(|last| Arc::get_mut(&mut last.batch)) else {
            return false;
        };
        // Readers of packets send few at a time, and each batch by itself would cost its sender more than its
        // updates. What is long is not copied.
        let is_full = last.updates.len() + batch.updates.len() > Batch::UPDATES
            || last.kept.len() + batch.kept.len() > JOINED_CHUNKS;
        if is_full || is_long(batch) {
            return false;
        }
        last.updates.append(&mut batch.updates);
        last.kept.append(&mut batch.kept);
        true
    }

    /// What is in `batch`, with room for more. The sender's list stays where it is, and with the sender; but what
    /// is long is not copied.
    fn roomy(&mut self, batch: &mut Batch) -> Batch {
        let spare = self.spare.pop();
        let mut updates = spare.unwrap_or_else(|| Vec::with_capacity(Batch::UPDATES));
        if is_long(batch) {
            std::mem::swap(&mut updates, &mut batch.updates);
        } else {
            updates.append(&mut batch.updates);
        }
        let kept = std::mem::take(&mut batch.kept);
        Batch { updates, kept }
    }

    /// Batches from the front: at least one, then as many as keep within so many updates and bytes of kept packets.
    fn front(&self, most_updates: usize, most_kept_bytes: usize) -> Vec<Arc<Batch>> {
        let (mut first, mut updates, mut bytes) = (true, 0, 0);
        let fits = |queued: &&Queued| {
            updates += queued.batch.updates.len();
            bytes += kept_bytes(&queued.batch);
            std::mem::take(&mut first) || updates <= most_updates && bytes <= most_kept_bytes
        };
        self.batches
            .iter()
            .take_while(fits)
            .map(|queued| Arc::clone(&queued.batch))
            .collect()
    }

    fn unfinished(&self) -> StoreError {
        let reason = if self.ended {
            ENDED
        } else {
            "the time was too short"
        };
        let reason = self.error.clone().unwrap_or_else(|| reason.to_owned());
        StoreError::Unfinished {
            updates: self.updates,
            packets: self.batches.iter().map(|queued| packets(&queued.batch)).sum(),
            reason,
        }
    }
}

pub(super) struct Ended<'a>(&'a Queue);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        state.ended = true;
        if state.closed.is_none() {
            state.error = Some(ENDED.to_owned());
        }
        drop(state);
        self.0.progress.notify_all();
    }
}

/// Spare lists at most: 7 MiB, those of a commit and a half.
const MOST_SPARE: usize = 128;

/// Bytes that an update holds in memory. Its texts are shared, and its rare extras are not counted.
const UPDATE_BYTES: usize = size_of::<FlowUpdate>();

fn is_long(batch: &Batch) -> bool {
    batch.updates.len() > Batch::UPDATES / 2
}

/// The list of a batch that nobody looks at any more, if it is one that [`State::roomy`] made.
fn emptied(stored: Queued) -> Option<Vec<FlowUpdate>> {
    let mut updates = Arc::into_inner(stored.batch)?.updates;
    updates.clear();
    (updates.capacity() == Batch::UPDATES).then_some(updates)
}

fn kept_bytes(batch: &Batch) -> usize {
    batch.kept.iter().map(|chunk| chunk.bytes().len()).sum()
}

fn packets(batch: &Batch) -> u64 {
    batch.kept.iter().map(|chunk| chunk.packets()).sum()
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait(state).unwrap_or_else(PoisonError::into_inner)
}

fn wait_until<'a>(
    condition: &Condvar,
    state: MutexGuard<'a, State>,
    until: Instant,
) -> MutexGuard<'a, State> {
    let time = until.saturating_duration_since(Instant::now());
    condition
        .wait_timeout(state, time)
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

//! The queue in front of a store, and the one thread that writes.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowtap_flow::query::{
    Batch, Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError,
    TimeRange, UpdateSink,
};
use flowtap_flow::timestamp::Timestamp;
use serde::Serialize;

use crate::error::StoreError;
use crate::stats::StoreStats;
use crate::store::FlowStore;

mod pending;
mod queue;

use queue::{Queue, locked};

/// When a [`StoreWriter`] commits, and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// Updates are durable at most this long after they were sent, while the store keeps up.
    pub commit_interval: Duration,
    /// As many updates are committed at once, without waiting for the interval.
    pub commit_updates: usize,
    /// So many bytes of kept packets are committed at once, too.
    pub commit_bytes: usize,
    /// Updates held, about 600 bytes each: 3 s at 20,000 updates a second.
    pub queue_updates: usize,
    /// Bytes held, updates and kept packets.
    pub queue_bytes: usize,
    /// How often the store's retention is looked after.
    pub retention_interval: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_millis(250),
            commit_updates: 10_000,
            commit_bytes: 8 << 20,
            queue_updates: 65_536,
            queue_bytes: 128 << 20,
            retention_interval: Duration::from_secs(60),
        }
    }
}

/// What a store holds, and how its writer fares.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WriterStats {
    /// What is durable.
    pub store: StoreStats,
    /// Updates sent and not yet durable.
    pub queued_updates: usize,
    /// Bytes sent and not yet durable, kept packets included.
    pub queued_bytes: usize,
    /// Why the store refuses batches now, or `None` if it takes them. Nothing is lost: the writer
    /// keeps the batch and tries again, and senders wait once the queue is full.
    pub error: Option<String>,
    /// Why retention failed when it was last tried.
    pub retention_error: Option<String>,
    /// Updates refused because they came after [`StoreWriter::stop`].
    pub refused_updates: u64,
    /// Kept packets refused for the same reason.
    pub refused_packets: u64,
}

/// The queue in front of a store, and the thread that writes to it.
///
/// As the flow table's [`UpdateSink`] it takes batches and lets senders wait while it is full: nothing is
/// lost, and the pressure shows where the kernel or the peer counts it. As a [`FlowReader`] it answers
/// over queued and stored updates together.
#[derive(Debug)]
pub struct StoreWriter {
    queue: Arc<Queue>,
    store: Arc<dyn FlowStore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for dyn FlowStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowStore")
    }
}

impl StoreWriter {
    /// Starts the thread that owns all writing to `store`.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn start(store: Arc<dyn FlowStore>, options: WriterOptions) -> std::io::Result<Arc<Self>> {
        let queue = Arc::new(Queue::new(options));
        let (theirs, target) = (Arc::clone(&queue), Arc::clone(&store));
        let thread = std::thread::Builder::new()
            .name("store-write".to_owned())
            .spawn(move || run(&theirs, &*target))?;
        Ok(Arc::new(Self {
            queue,
            store,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Waits until everything sent before is durable.
    ///
    /// # Errors
    /// [`StoreError::Unfinished`] when `timeout` is over; the writer goes on all the same.
    pub fn flush(&self, timeout: Duration) -> Result<(), StoreError> {
        self.queue.flush(Instant::now() + timeout)
    }

    /// Takes no more updates, writes what is queued, and ends the thread. A second call does nothing.
    ///
    /// # Errors
    /// [`StoreError::Unfinished`] if `timeout` was too short, with what was not stored and why.
    pub fn stop(&self, timeout: Duration) -> Result<(), StoreError> {
        let Some(thread) = locked(&self.thread).take() else {
            return Ok(());
        };
        let deadline = Instant::now() + timeout;
        self.queue.close(deadline);
        let flushed = self.queue.flush(deadline);
        self.queue.abandon();
        // Ends after the attempt under way, which SQLite does not let us interrupt half-way.
        if thread.join().is_err() {
            return Err(self.queue.unfinished());
        }
        // The last attempt may have made it after all.
        flushed.or_else(|error| if self.queue.is_empty() { Ok(()) } else { Err(error) })
    }

    /// What is durable, what is queued, and whether the store takes it.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        let mut stats = self.queue.stats();
        stats.store = self.store.stats();
        stats
    }
}

impl UpdateSink for StoreWriter {
    fn send(&self, batch: &mut Batch) {
        self.queue.send(batch);
    }

    fn wait(&self) {
        self.queue.wait_for_room(1);
    }

    fn wait_in_background(&self) {
        self.queue.wait_for_room(4);
    }

    fn hasten(&self) {
        self.queue.hasten();
    }
}

/// Pending before stored: a batch leaves the queue only when it is durable, so that in this order no
/// flow can slip through; what is found twice counts once.
impl FlowReader for StoreWriter {
    fn flows(
        &self,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        pending::flows(&self.queue.pending(), &*self.store, query, cancel, visit)
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        pending::raw_packets(&self.queue.pending(), &*self.store, flows, time, cancel, visit)
    }

    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        pending::metrics(&self.queue.pending(), &*self.store, flows, time, cancel, visit)
    }
}

impl Drop for StoreWriter {
    /// Writes what is queued, but gives a store that fails no more than a moment: who wants to know
    /// calls [`StoreWriter::stop`].
    fn drop(&mut self) {
        self.queue.close(Instant::now() + Duration::from_secs(1));
        if let Some(thread) = locked(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

/// The writing thread.
fn run(queue: &Queue, store: &dyn FlowStore) {
    // Whatever ends this thread, nobody waits for it in vain.
    let _ended = queue.ends_with_this();
    let mut retention_due = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        // Also while the store refuses: it may lack just the space that retention gives back.
        if Instant::now() >= retention_due {
            retention_due = Instant::now() + queue.options().retention_interval;
            queue.retained(store.retain(Timestamp::now()).err());
        }
        let Some(batches) = queue.next(retention_due) else {
            return;
        };
        if batches.is_empty() {
            continue;
        }
        let lent: Vec<&Batch> = batches.iter().map(|batch| &**batch).collect();
        match store.append(Timestamp::now(), &lent) {
            Ok(()) => {
                let count = batches.len();
                drop(batches);
                queue.stored(count);
                backoff = Backoff::default();
            }
            Err(error) => {
                if queue.refused(&error) {
                    tracing::error!(%error, "the store refuses updates; trying again until it takes them");
                }
                if !queue.pause(backoff.next()) {
                    return;
                }
            }
        }
    }
}

/// Time between two attempts: 250 ms, doubled up to 5 s.
struct Backoff(Duration);

impl Backoff {
    const MAX: Duration = Duration::from_secs(5);

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::MAX);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(250))
    }
}

#[cfg(test)]
mod tests;

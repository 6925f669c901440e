//! Sealing: a segment that is written no more gets its indexes, on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle};

use super::catalog::Catalog;
use super::schema;
use super::segment::Segment;
use crate::error::StoreError;

/// The sealing thread. About 4 µs a flow, a few seconds for a busy hour; the writer does not wait for
/// it. A segment whose sealing is cut short stays readable, and is sealed after the next start.
#[derive(Debug)]
pub(super) struct Sealer {
    /// Segments to seal: one an hour, so its lack of a bound is none in practice. `None` once stopping.
    jobs: Option<Sender<Arc<Segment>>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    /// Interrupts the index build that is under way.
    interrupt: Mutex<Option<InterruptHandle>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("stopping", &self.stopping)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    pub(super) fn start(catalog: Arc<Catalog>) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-seal".to_owned())
            .spawn(move || run(&queue, &theirs, &catalog))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            shared,
        })
    }

    /// Has `segment` sealed soon. Nobody may write to it any more.
    pub(super) fn seal(&self, segment: Arc<Segment>) {
        if let Some(jobs) = &self.jobs {
            // Fails only if the thread has panicked; then the next start seals it.
            let _ = jobs.send(segment);
        }
    }
}

impl Sealer {
    /// Waits until all that was given is sealed; takes no more.
    #[cfg(test)]
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        self.thread.take().map(JoinHandle::join).transpose().unwrap();
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.jobs = None;
        if let Some(handle) = &*self
            .shared
            .interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            handle.interrupt();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(queue: &Receiver<Arc<Segment>>, shared: &Shared, catalog: &Catalog) {
    while let Ok(segment) = queue.recv() {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        if segment.is_removed() {
            continue;
        }
        if let Err(error) = seal(&segment, shared, catalog)
            && !shared.stopping.load(Ordering::Acquire)
        {
            tracing::warn!(segment = %segment.name, %error, "sealing failed; queries on it are slower");
        }
    }
}

fn seal(segment: &Segment, shared: &Shared, catalog: &Catalog) -> Result<(), StoreError> {
    let connection = schema::open(&segment.path, schema::SEGMENT)?;
    *shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(connection.get_interrupt_handle());
    let built = if shared.stopping.load(Ordering::Acquire) {
        Ok(())
    } else {
        build(&connection)
    };
    *shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = None;
    built.map_err(|source| StoreError::database("seal", &segment.path, source))?;
    // Closing the last connection moves the WAL into the file.
    drop(connection);
    let mut totals = segment.totals();
    totals.sealed = true;
    segment.set_totals(totals);
    catalog.add(segment)
}

fn build(connection: &Connection) -> rusqlite::Result<()> {
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(schema::SEAL)?;
    transaction.commit()
}

//! Runs blocking questions beside the async runtime, a bounded number at once, within a time limit,
//! and ends them when their caller has gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtap_flow::query::Cancel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::{Code, Failure};
use crate::services::Limits;

/// How long past its limit a question may take to notice that its time is up.
const GRACE: Duration = Duration::from_secs(1);
/// Answers are counted in units of this many bytes.
const UNIT: usize = 1024;

pub(crate) struct Runner {
    running: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    answer_units: u32,
    time_limit: Duration,
}

/// The right to hold an answer in memory until its last byte is sent.
pub(crate) type Held = OwnedSemaphorePermit;

/// Ends the question when the handler's future is dropped: hyper does so when the client goes away.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Runner {
    pub(crate) fn new(limits: &Limits) -> Self {
        let answer_units = u32::try_from(limits.answer_bytes / UNIT).unwrap_or(u32::MAX);
        Self {
            running: Arc::new(Semaphore::new(limits.queries)),
            answers: Arc::new(Semaphore::new(answer_units as usize)),
            answer_units,
            time_limit: limits.query_time,
        }
    }

    /// Runs `job` on a blocking thread. It must look at [`Cancel::check`] every few milliseconds.
    ///
    /// More questions than the limit are refused, not queued: the caller hears it at once, and
    /// nobody waits behind a queue of slow ones.
    pub(crate) async fn run<T, E, J>(&self, job: J) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Into<Failure> + Send + 'static,
        J: FnOnce(&Cancel) -> Result<T, E> + Send + 'static,
    {
        let permit = self
            .running
            .clone()
            .try_acquire_owned()
            .map_err(|_| Failure::busy("queries"))?;
        let cancel = Cancel::at(Instant::now() + self.time_limit);
        let _guard = CancelOnDrop(cancel.clone());
        let task = tokio::task::spawn_blocking(move || {
            let answer = job(&cancel);
            // Given back by the job itself: a late one keeps its place although nobody waits for it.
            drop(permit);
            answer
        });
        match tokio::time::timeout(self.time_limit + GRACE, task).await {
            Ok(Ok(answer)) => answer.map_err(Into::into),
            Ok(Err(error)) => {
                tracing::error!(%error, "a query panicked");
                Err(Failure::new(
                    Code::Internal,
                    "the query failed inside flowtap",
                    "see the log",
                ))
            }
            Err(_) => Err(flowtap_flow::query::ReadError::TimedOut.into()),
        }
    }

    /// Takes room for an answer of `bytes` until it is sent. A client that reads slowly, or not at
    /// all, holds memory and nothing else; with all of it held, new answers are refused.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, Failure> {
        let units = u32::try_from(bytes.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .min(self.answer_units);
        self.answers
            .clone()
            .try_acquire_many_owned(units)
            .map_err(|_| Failure::busy("unread answers"))
    }
}

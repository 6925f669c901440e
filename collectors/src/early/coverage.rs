//! Where a source leaves off, and the next one goes on.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use flowtap_flow::timestamp::Timestamp;

use super::Shared;

/// How far the sources of one capture have come at one interface, one after another: a machine that is
/// plugged in again ends a source and begins another. What is held of the interface is handed to each, and
/// each takes what came behind the one before.
#[derive(Clone, Debug, Default)]
pub struct Coverage(Arc<Mutex<Covered>>);

/// What was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Covered {
    /// All up to this time; and so many packets were lost that will never come.
    Until { time: Timestamp, dropped: u64 },
    /// All, and what is to come: a source is running, or has not said how far it came.
    All,
}

impl Default for Covered {
    fn default() -> Self {
        Self::Until {
            time: Timestamp::ZERO,
            dropped: 0,
        }
    }
}

impl Coverage {
    /// Says that nothing is left to take: a source runs that does not tell how far it comes.
    pub fn close(&self) {
        self.begin();
    }

    /// A source begins to take everything. Returns what was taken before.
    pub(super) fn begin(&self) -> Covered {
        std::mem::replace(&mut *self.lock(), Covered::All)
    }

    fn end(&self, covered: Covered) {
        *self.lock() = covered;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Covered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source that has begun.
#[derive(Debug)]
pub(crate) struct Covering {
    coverage: Coverage,
    /// It does not keep the socket open.
    packets: Weak<Shared>,
}

impl Covering {
    pub(super) fn new(coverage: Coverage, packets: Weak<Shared>) -> Self {
        Self { coverage, packets }
    }

    /// The source has taken everything up to `time`, and takes nothing more.
    pub(crate) fn end(self, time: Timestamp) {
        // What the socket had no room for up to now the source had in its ring.
        let packets = self.packets.upgrade();
        let dropped = packets.and_then(|packets| packets.drain().ok());
        self.coverage.end(Covered::Until {
            time,
            dropped: dropped.unwrap_or_default(),
        });
    }
}

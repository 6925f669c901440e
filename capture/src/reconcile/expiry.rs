//! Deletes captures whose time is up, and has the store forget what it could not at first.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::now_ms;
use crate::captures::Captures;
use crate::error::CaptureError;

/// How often the clock is looked at, at least: it may be set.
const LOOK: Duration = Duration::from_secs(60);
/// The pause after the store did not forget a capture.
const PAUSE: Duration = Duration::from_secs(10);

/// The thread that deletes, beside the reconciler, since a store may take its time. Ends when dropped.
#[derive(Debug)]
pub(super) struct Expiry {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    /// Something was declared that may expire first.
    is_new: bool,
    is_stopped: bool,
}

impl Bell {
    /// Says that a capture with an end was declared.
    pub(crate) fn ring(&self) {
        self.rung().is_new = true;
        self.changed.notify_all();
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expiry {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, if it gives none.
    pub(super) fn start(captures: Captures) -> io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let on_thread = Arc::clone(&bell);
        let thread = std::thread::Builder::new()
            .name("capture-ttl".to_owned())
            .spawn(move || run(&on_thread, &captures))?;
        Ok(Self {
            bell,
            thread: Some(thread),
        })
    }

    /// What wakes it.
    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        self.bell.rung().is_stopped = true;
        self.bell.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // One that panicked is over too.
            let _ended = thread.join();
        }
    }
}

fn run(bell: &Bell, captures: &Captures) {
    let mut timeout = Duration::ZERO;
    loop {
        let waiting = |rung: &mut Rung| !rung.is_new && !rung.is_stopped;
        let waited = bell.changed.wait_timeout_while(bell.rung(), timeout, waiting);
        let (mut rung, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_stopped = rung.is_stopped;
        rung.is_new = false;
        drop(rung);
        if is_stopped {
            // The last chance before the next start takes up what is still there.
            captures.forget_rest();
            return;
        }
        timeout = expire(captures);
    }
}

/// Deletes what is to be deleted. Returns how long nothing will be.
fn expire(captures: &Captures) -> Duration {
    let now = now_ms();
    let mut timeout = if captures.forget_rest() { LOOK } else { PAUSE };
    for entry in captures.entries() {
        let Some(left) = entry.declared.expires.map(|expires| expires - now) else {
            continue;
        };
        if let Ok(left @ 1..) = u64::try_from(left) {
            timeout = timeout.min(Duration::from_millis(left));
            continue;
        }
        match captures.remove(entry.id(), "its time was up") {
            // Somebody else was faster, or flowtap is about to stop: the next start deletes it. What could not
            // be forgotten is in the log, and has rung.
            Ok(())
            | Err(CaptureError::Unknown(_) | CaptureError::NotRunning | CaptureError::Unforgotten { .. }) => {
            }
            Err(error) => {
                tracing::warn!(capture = entry.declared.label(), %error, "a capture's time is up, and it is still there");
                timeout = timeout.min(PAUSE);
            }
        }
    }
    timeout
}

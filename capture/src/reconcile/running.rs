//! Start and stop.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowtap_topology::Waker;

use super::early::{Keeper, Kernel};
use super::expiry::Expiry;
use super::matching::Matching;
use super::metadata::Written;
use super::reader::Report;
use super::{Link, Message, Reconciler, now_ms};
use crate::captures::Captures;
use crate::declare::Declared;
use crate::error::CaptureError;
use crate::services::CaptureServices;

/// Captures at work. Dropped, they stop as well, but nobody waits for them.
#[derive(Debug)]
pub struct RunningCaptures {
    captures: Captures,
    inbox: Sender<Message>,
    waker: Waker,
    thread: Option<JoinHandle<Vec<String>>>,
    expiry: Option<Expiry>,
}

impl Captures {
    /// Takes up the captures that were declared before, and makes captures so from now on.
    ///
    /// Blocks while the store is read.
    ///
    /// # Errors
    /// [`CaptureError::Store`] if it cannot be read, [`CaptureError::Thread`].
    pub fn start(&self, services: CaptureServices) -> Result<RunningCaptures, CaptureError> {
        let services = Arc::new(services);
        let listed = services.store.list();
        let kept = listed.map_err(|reason| CaptureError::Store {
            action: "list",
            reason,
        })?;
        let now = now_ms();
        let mut declared = Vec::with_capacity(kept.len());
        for (id, document) in kept {
            match Declared::restore(&id, document, &services.defaults) {
                // One that the store does not forget now is listed, and ends a little later.
                Ok(old)
                    if old.expires.is_some_and(|expires| expires <= now)
                        && services.store.delete(&id).is_ok() => {}
                Ok(restored) => declared.push(restored),
                // It stays in the store: a version that can read it may come.
                Err(reason) => tracing::error!(id, reason, "a capture that was kept can't be read"),
            }
        }
        let thread_failed = |error: std::io::Error| CaptureError::Thread(error.to_string());

        let graph = Arc::clone(&services.graph);
        let keeper = Keeper::start(Arc::clone(&graph), services.limits, Kernel).map_err(thread_failed)?;
        let keeper = Arc::new(keeper);
        let (sender, inbox) = channel();
        let (_, events) = graph.subscribe();
        let waker = events.waker();
        let reconciler = Reconciler {
            captures: self.clone(),
            services: Arc::clone(&services),
            inbox,
            report: Report {
                inbox: sender.clone(),
                waker: waker.clone(),
            },
            events,
            keeper: Arc::clone(&keeper),
            matching: Matching::default(),
            slots: Default::default(),
            coverages: Default::default(),
            timers: Default::default(),
            roomless: Default::default(),
            overfull: Default::default(),
            written: Written::default(),
            readers: 0,
            last_reader: 0,
            started_at: now_ms(),
            counted_at: Instant::now(),
        };
        let expiry = Expiry::start(self.clone()).map_err(thread_failed)?;
        self.restore(declared);
        self.set_link(Some(Link {
            services,
            inbox: sender.clone(),
            waker: waker.clone(),
            keeper,
            expiry: expiry.bell(),
        }));
        expiry.bell().ring();
        let thread = std::thread::Builder::new()
            .name("captures".to_owned())
            .spawn(move || reconciler.run());
        let thread = thread
            .inspect_err(|_| self.set_link(None))
            .map_err(thread_failed)?;
        Ok(RunningCaptures {
            captures: self.clone(),
            inbox: sender,
            waker,
            thread: Some(thread),
            expiry: Some(expiry),
        })
    }
}

impl RunningCaptures {
    /// Takes nothing in any more, and waits until every source has handed on what it had, for `deadline`
    /// at most. Returns those that were late. What is declared stays declared.
    ///
    /// Blocks.
    #[must_use]
    pub fn stop(mut self, deadline: Duration) -> Vec<String> {
        self.expiry = None;
        self.tell_to_stop(Instant::now() + deadline);
        let thread = self.thread.take().map(JoinHandle::join);
        match thread {
            Some(Ok(late)) => late,
            _ => vec!["the reconciler, which panicked".to_owned()],
        }
    }

    fn tell_to_stop(&self, deadline: Instant) {
        self.captures.set_link(None);
        // One that has ended has stopped.
        let _told = self.inbox.send(Message::Stop(deadline));
        self.waker.wake();
    }
}

impl Drop for RunningCaptures {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.tell_to_stop(Instant::now());
        }
    }
}

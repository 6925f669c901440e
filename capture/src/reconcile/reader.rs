//! The thread of one open source.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use flowtap_collectors::{CaptureRequest, CollectError, Collector, Coverage, ReaderContext};
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Waker;

use super::early::{Claim, Kernel};
use super::{Key, Message};

/// What a thread is to do.
pub(super) struct Job {
    pub(super) key: Key,
    /// Which of all readers.
    pub(super) reader: u64,
    pub(super) collector: Arc<dyn Collector>,
    pub(super) request: CaptureRequest,
    pub(super) context: ReaderContext,
    /// What is held of the interface from before.
    pub(super) claim: Option<Claim<Kernel>>,
    /// What of it sources before have taken.
    pub(super) coverage: Coverage,
    pub(super) report: Report,
}

/// The way back to the reconciler.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) inbox: Sender<Message>,
    pub(super) waker: Waker,
}

impl Report {
    /// Tells the reconciler.
    pub(super) fn send(&self, message: Message) {
        // Nobody listens any more when flowtap has given up on this thread.
        if self.inbox.send(message).is_ok() {
            self.waker.wake();
        }
    }
}

/// A source that was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// When it was, in ms since the Unix epoch.
    pub(super) at: i64,
    pub(super) listens: Option<SocketAddr>,
    /// `Some` if packets were held from before; true if none that came in before is missing.
    pub(super) early: Option<bool>,
}

/// Starts the thread, which tells of itself by [`Message::Opened`] and [`Message::Ended`].
///
/// # Errors
/// The system's, if it gives no thread.
pub(super) fn spawn(job: Job) -> io::Result<JoinHandle<()>> {
    // Linux shows 15 bytes of a name.
    let name: String = format!("cap-{}", job.request.interface.name)
        .chars()
        .filter(|char| *char != '\0')
        .take(15)
        .collect();
    std::thread::Builder::new().name(name).spawn(move || {
        let (key, reader, report) = (job.key.clone(), job.reader, job.report.clone());
        let result = catch_unwind(AssertUnwindSafe(|| run(job)));
        let result = result.unwrap_or_else(|_| Err("it panicked, which is a fault of flowtap".to_owned()));
        report.send(Message::Ended { key, reader, result });
    })
}

fn run(job: Job) -> Result<(), String> {
    let mut request = job.request;
    let early = job.claim.and_then(Claim::take);
    let is_complete = early.as_ref().map(|held| held.is_complete);
    match early {
        Some(held) => request.early = Some(held.socket.after(job.coverage)),
        None => job.coverage.close(),
    }
    if job.context.stop.is_cancelled() {
        return Ok(());
    }
    job.collector.support()?;
    let text = |error: CollectError| error.to_string();
    let reader = job.collector.open(request).map_err(text)?;
    let opened = Opened {
        at: Timestamp::now().millis(),
        listens: reader.listens(),
        early: is_complete,
    };
    job.report.send(Message::Opened {
        key: job.key,
        reader: job.reader,
        opened,
    });
    reader.run(job.context).map_err(text)
}

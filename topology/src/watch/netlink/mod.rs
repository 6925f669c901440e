//! The watcher of one network namespace: links, addresses, neighbours, forwarding entries and routes,
//! over rtnetlink.
//!
//! A thread opens its sockets inside the namespace and then waits on them. It subscribes before it
//! lists, so that nothing falls between; whatever it hears twice changes nothing the second time. Links
//! and addresses are taken from the events themselves, at once. Of neighbours and routes the events only
//! say that something changed: the kernel tells neither of IPv4 routes that go with their interface nor
//! of all neighbour states, so the lists are read anew, a moment later, and not for each event.

mod counters;
mod describe;
mod details;
mod ethtool;
mod interfaces;
mod link;
mod lists;
mod numbers;
mod parts;
mod peers;
mod routes;
mod session;
mod socket;
mod sockets;
mod wire;
mod writer;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::identity::NodeId;

use super::health::Reporter;
use super::netns::NamespaceId;
use super::shared::{Mailbox, Shared};
use super::wake::wait;

use interfaces::Interfaces;
use session::Session;
use sockets::Sockets;

pub use lists::LIST_LIMIT;
pub(super) use sockets::holds_something;

/// How long a failed watcher waits before it tries again, at first and at most. A namespace that was
/// just made can often not be entered yet, and half a millisecond later it can.
const RETRY: (Duration, Duration) = (Duration::from_micros(500), Duration::from_secs(30));

/// A watcher that went on for this long before it failed begins with the short wait again.
const SETTLED: Duration = Duration::from_secs(10);

/// What a watcher is about.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) shared: Arc<Shared>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) namespace: NamespaceId,
    /// Where to enter; `None` for the namespace that flowtap runs in.
    pub(super) path: Option<PathBuf>,
    /// What owns the interfaces.
    pub(super) owner: NodeId,
    pub(super) reporter: Reporter,
}

impl Watcher {
    /// Starts the thread. It ends soon after its mailbox is stopped; the nodes it made stay.
    ///
    /// # Errors
    /// Those of making a thread.
    pub(super) fn spawn(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("netlink".to_owned())
            // Most of it is never touched.
            .stack_size(512 * 1024)
            .spawn(move || self.run())
    }

    fn run(self) {
        let mut interfaces = Interfaces::new(self.namespace, self.owner.clone(), self.path.is_none());
        let mut pause = RETRY.0;
        while !self.mailbox.is_stopped() {
            let began = Instant::now();
            match self.session(&mut interfaces) {
                Ok(()) => break,
                Err((what, error)) => self.reporter.failed(&what, &error),
            }
            if began.elapsed() > SETTLED {
                pause = RETRY.0;
            }
            if wait(&[self.mailbox.bell.as_fd()], Some(pause)).is_err() {
                std::thread::sleep(pause);
            }
            self.mailbox.bell.quiet();
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Watches until it is stopped or something fails: what was done then, and why it failed.
    fn session(&self, interfaces: &mut Interfaces) -> Result<(), (String, io::Error)> {
        let queue = self.shared.options.receive_buffer;
        let sockets = Sockets::open(self.path.as_deref(), self.namespace, queue).map_err(|error| {
            let place = self.path.as_deref().map(|path| path.display().to_string());
            (
                format!("entering {}", place.as_deref().unwrap_or("netlink")),
                error,
            )
        })?;
        Session::new(self, interfaces, sockets)
            .run()
            .map_err(|error| ("watching".to_owned(), error))
    }
}

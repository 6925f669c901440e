//! The way from the list to the reconciler.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use flowtap_topology::Waker;

use super::Message;
use super::early::{Keeper, Kernel};
use super::expiry::Bell;
use crate::services::CaptureServices;

/// What the list needs of the reconciler.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) services: Arc<CaptureServices>,
    pub(crate) inbox: Sender<Message>,
    pub(crate) waker: Waker,
    pub(crate) keeper: Arc<Keeper<Kernel>>,
    pub(crate) expiry: Arc<Bell>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Tells the reconciler. One that has ended has nothing to do with it any more.
    pub(crate) fn tell(&self, message: Message) {
        if self.inbox.send(message).is_ok() {
            self.waker.wake();
        }
    }
}

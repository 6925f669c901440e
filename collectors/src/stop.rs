//! A stop signal that poll(2) sees, and poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use rustix::event::{EventfdFlags, PollFd, Timespec, eventfd, poll};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A descriptor that is readable from the moment a token is cancelled. No runtime is needed: the token
/// calls a waker, and this one writes to an eventfd.
pub(crate) struct StopEvent {
    token: CancellationToken,
    bell: Arc<Bell>,
    /// As long as it lives, the token knows the waker.
    _wait: Pin<Box<WaitForCancellationFutureOwned>>,
}

struct Bell(OwnedFd);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Fails only when the count is full already, and then it is readable.
        let _written = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl StopEvent {
    /// # Errors
    /// The system's, if there is no descriptor left.
    pub(crate) fn new(token: &CancellationToken) -> io::Result<Self> {
        let bell = Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        let waker = Waker::from(Arc::clone(&bell));
        let mut wait = Box::pin(token.clone().cancelled_owned());
        if wait.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            Arc::clone(&bell).wake();
        }
        Ok(Self {
            token: token.clone(),
            bell,
            _wait: wait,
        })
    }

    pub(crate) fn has_fired(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl AsFd for StopEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.0.as_fd()
    }
}

/// Waits until one of `fds` is ready, or `timeout` is over; what they are is in them.
pub(crate) fn wait_for(fds: &mut [PollFd<'_>], timeout: &Timespec) -> io::Result<()> {
    match poll(fds, Some(timeout)) {
        Err(rustix::io::Errno::INTR) => Ok(()),
        polled => Ok(polled.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::PollFlags;

    use super::*;

    fn readable(event: &StopEvent, timeout: Option<&Timespec>) -> bool {
        poll(&mut [PollFd::new(event, PollFlags::IN)], timeout).unwrap() == 1
    }

    #[test]
    fn it_is_readable_once_the_token_is_cancelled_and_stays_so() {
        let (token, now) = (CancellationToken::new(), Timespec::default());
        let (before, other) = (StopEvent::new(&token).unwrap(), StopEvent::new(&token).unwrap());
        assert!(!before.has_fired() && !readable(&before, Some(&now)));
        let canceller = token.clone();
        let thread = std::thread::spawn(move || canceller.cancel());
        assert!(readable(&before, None) && before.has_fired());
        thread.join().unwrap();
        assert!(readable(&before, Some(&now)) && readable(&other, Some(&now)));
        assert!(readable(&StopEvent::new(&token).unwrap(), Some(&now)));
    }
}

//! How long to wait before another try.

use std::time::Duration;

/// First pause: a server that restarts is away for about that long.
const FIRST: Duration = Duration::from_millis(50);
/// Longest pause: a try at a unix socket costs a few microseconds, and so much is the most that the
/// return of a server goes unnoticed.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that double.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause before the next try.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause
    }

    /// Says that the last try went well for `lasted`. One that did not outlast the longest pause does
    /// not count, or a server that fails at once would be tried without end.
    pub(super) fn worked(&mut self, lasted: Duration) {
        if lasted > LONGEST {
            self.next = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_second_and_start_again() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..7).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        backoff.worked(Duration::from_millis(10));
        assert_eq!(backoff.pause(), LONGEST);
        backoff.worked(Duration::from_secs(60));
        assert_eq!(backoff.pause(), FIRST);
    }
}

//! A limit on log lines that peers can cause.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that pass in one window.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Lets ten lines through in ten seconds and counts the others.
#[derive(Debug, Default)]
pub(super) struct LogGate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    passed: u32,
    suppressed: u64,
}

impl LogGate {
    /// Says whether a line may be written at `now`; if so, how many were not since the last that was.
    pub(super) fn pass(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window
            .began
            .is_none_or(|began| now.duration_since(began) >= WINDOW)
        {
            window.began = Some(now);
            window.passed = 0;
        }
        if window.passed == LINES {
            window.suppressed += 1;
            return None;
        }
        window.passed += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_pass_and_the_next_window_tells_how_many_did_not() {
        let (gate, start) = (LogGate::default(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(gate.pass(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(gate.pass(start + WINDOW / 2), None);
        }
        assert_eq!(gate.pass(start + WINDOW), Some(7));
        assert_eq!(gate.pass(start + WINDOW), Some(0));
    }
}

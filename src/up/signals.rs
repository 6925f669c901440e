//! Signals that ask for an ordered stop.

use std::future::pending;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT, and SIGHUP, which a terminal sends that is closed.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` if whoever started this wants it to outlive its terminal, as nohup(1) does.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// From here on none of them ends the process by itself.
    pub(super) fn listen() -> Result<Self> {
        // To listen is to ignore no more: looked at before.
        let hangup = (!ignores_hangup()).then(SignalKind::hangup);
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?,
            hangup: hangup
                .map(signal)
                .transpose()
                .context("failed to listen for SIGHUP")?,
        })
    }

    /// Waits for one of them, and gives its name.
    pub(super) async fn recv(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
        }
    }
}

/// What sigaction(2) would tell, without `unsafe`.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, SignalKind::hangup()))
}

/// Reads proc(5)'s `SigIgn`: a bit for each signal, the lowest for signal 1.
fn ignores(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_its_bit() {
        let status = "Name:\tflowtap\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert!(ignores(status, SignalKind::hangup()));
        assert!(ignores(status, SignalKind::pipe()));
        assert!(!ignores(status, SignalKind::terminate()));
        assert!(!ignores("", SignalKind::hangup()));
    }
}

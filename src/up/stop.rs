//! An ordered stop: each part has its time, and who takes longer is named.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Shares one deadline among the parts, and remembers who was late or failed.
pub(super) struct Stop {
    deadline: Instant,
    incomplete: Vec<String>,
}

impl Stop {
    /// A stop that shall take no longer than `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            incomplete: Vec::new(),
        }
    }

    /// The time that a part may take if the parts after it need `reserve`.
    pub(super) fn time_left(&self, reserve: Duration) -> Duration {
        self.deadline
            .saturating_duration_since(Instant::now())
            .saturating_sub(reserve)
    }

    /// Waits for `work`, the end of the part called `name`, but leaves `reserve` for those after it.
    pub(super) async fn part<E: fmt::Display>(
        &mut self,
        name: &str,
        reserve: Duration,
        work: impl Future<Output = Result<(), E>>,
    ) {
        match tokio::time::timeout(self.time_left(reserve), work).await {
            Ok(Ok(())) => tracing::debug!(part = name, "stopped"),
            Ok(Err(error)) => self.incomplete.push(format!("{name}: {error:#}")),
            Err(_) => self.incomplete.push(format!("{name}: not done in time")),
        }
    }

    /// # Errors
    /// Names everyone who was late or failed, and therefore may have lost something.
    pub(super) fn finish(self) -> Result<()> {
        if self.incomplete.is_empty() {
            return Ok(());
        }
        bail!(
            "stopped, but not everything was done: {}",
            self.incomplete.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_late_or_fails_is_named_and_others_go_on() {
        let mut stop = Stop::new(Duration::from_secs(60));
        stop.part("inputs", Duration::ZERO, async { Ok::<_, String>(()) })
            .await;
        let never = std::future::pending::<Result<(), String>>();
        // All the time is reserved: there is none for this one.
        stop.part("flow table", Duration::from_secs(60), never).await;
        stop.part("store", Duration::ZERO, async { Err("disk full") })
            .await;
        let error = stop.finish().expect_err("two did not make it").to_string();
        assert!(
            error.ends_with(": flow table: not done in time; store: disk full"),
            "{error}"
        );
        Stop::new(Duration::ZERO).finish().expect("nobody was late");
    }
}

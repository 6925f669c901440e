//! An ordered stop: each part has its time, and who takes longer is named.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

/// Remembers who was late or failed.
#[derive(Default)]
pub(super) struct Stop {
    incomplete: Vec<String>,
}

impl Stop {
    /// Waits for `work`, the end of the part called `name`, but no longer than `limit`.
    pub(super) async fn part<E: fmt::Display>(
        &mut self,
        name: &str,
        limit: Duration,
        work: impl Future<Output = Result<(), E>>,
    ) {
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(())) => tracing::debug!(part = name, "stopped"),
            Ok(Err(error)) => self.incomplete.push(format!("{name}: {error}")),
            Err(_) => self.incomplete.push(format!("{name}: not done within {limit:?}")),
        }
    }

    /// # Errors
    /// Names everyone who was late or failed, and therefore may have lost something.
    pub(super) fn finish(self) -> Result<()> {
        if self.incomplete.is_empty() {
            return Ok(());
        }
        bail!(
            "stopped, but not everything was saved: {}",
            self.incomplete.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_late_or_fails_is_named_and_others_go_on() {
        let mut stop = Stop::default();
        stop.part("inputs", Duration::from_secs(5), async { Ok::<_, String>(()) })
            .await;
        stop.part(
            "flow table",
            Duration::from_millis(1),
            std::future::pending::<Result<(), String>>(),
        )
        .await;
        stop.part("store", Duration::from_secs(5), async { Err("disk full") })
            .await;
        let error = stop.finish().expect_err("two did not make it").to_string();
        assert!(
            error.ends_with("flow table: not done within 1ms; store: disk full"),
            "{error}"
        );
        assert!(!error.contains("inputs"), "{error}");
        Stop::default().finish().expect("nobody was late");
    }
}

//! Doing something again whenever the graph has changed.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::event::Subscription;
use crate::graph::Graph;

/// A burst of changes is over when nothing has changed for this long.
const QUIET: Duration = Duration::from_millis(20);

/// A burst that does not end is one piece of work every so often.
const LONGEST_BURST: Duration = Duration::from_millis(200);

/// Calls `apply` now, and again whenever the graph has changed: once for a burst of changes, and once for all
/// that has changed since the last call began. Its own changes count, so it must come to rest by itself.
/// Never returns.
///
/// It runs on a thread where it may take its time.
pub(crate) async fn follow(graph: &Graph, apply: impl Fn() + Clone + Send + 'static) {
    let (_, mut events) = graph.subscribe();
    loop {
        if let Err(error) = tokio::task::spawn_blocking(apply.clone()).await {
            tracing::error!(%error, "could not follow a change of the topology, waiting for the next");
        }
        // Whether events were seen or missed: the graph has changed.
        let _changed = events.next().await;
        burst(&mut events).await;
    }
}

/// Waits for the end of a burst that has begun.
async fn burst(events: &mut Subscription) {
    let end = Instant::now() + LONGEST_BURST;
    loop {
        while !matches!(events.try_next(), Ok(None)) {}
        let quiet = Instant::now() + QUIET;
        if timeout_at(quiet.min(end), events.next()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_burst_is_one_piece_of_work_and_an_endless_one_is_not_waited_for() {
        let graph = Arc::new(Graph::new("h"));
        let calls = Arc::new(AtomicUsize::new(0));
        let following = tokio::spawn({
            let (graph, calls) = (Arc::clone(&graph), Arc::clone(&calls));
            async move {
                let apply = move || {
                    calls.fetch_add(1, Ordering::SeqCst);
                };
                follow(&graph, apply).await;
            }
        });
        let count = || calls.load(Ordering::SeqCst);
        while count() == 0 {
            tokio::task::yield_now().await;
        }
        let mut changes = 0;
        // Without a pause of its own: only the bound ends the burst.
        while count() < 3 {
            changes += 1;
            graph.set_metadata(graph.host(), "Number", changes).unwrap();
            tokio::task::yield_now().await;
        }
        assert!(changes > 20, "{changes} changes were {} pieces of work", count());
        following.abort();
    }
}

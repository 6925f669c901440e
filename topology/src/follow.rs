//! Doing something again whenever the graph has changed.

use crate::graph::Graph;

/// Calls `apply` now, and again whenever the graph has changed: once for all that has changed since the
/// last call began. Its own changes count, so it must come to rest by itself. Never returns.
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
        while !matches!(events.try_next(), Ok(None)) {}
    }
}

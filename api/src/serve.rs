//! Accepts connections and lets them go.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::add_extension::AddExtension;

use crate::connection::Connection;

/// Connections at once: about 20 KB each with their buffers, so 10 MB. Further ones wait in the
/// kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// How long a client may take to send a request's head, and how long a connection may idle.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long answers that are under way may take after the stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which otherwise fails again at once (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown` fires; then accepts nothing more, lets requests
/// under way finish for up to five seconds, and closes what is left.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            () = shutdown.cancelled() => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let known = Connection {
                    peer: Some(peer),
                    stopping: shutdown.clone(),
                    work: connections.clone(),
                };
                let router = AddExtension::new(router.clone(), known);
                let connection = connection(stream, router, shutdown.clone(), abort.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "closing HTTP connections that are still busy"
        );
        abort.cancel();
        connections.wait().await;
    }
}

async fn connection(
    stream: TcpStream,
    router: AddExtension<Router, Connection>,
    shutdown: CancellationToken,
    abort: CancellationToken,
) {
    // Answers are short or are written in large pieces: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "HTTP connection ended early");
                }
                return;
            }
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = abort.cancelled() => return,
        }
    }
}

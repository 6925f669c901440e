//! What a handler knows of the connection that its request came over.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The connection of a request. Requests that came over none (in tests) have the default one, which
/// nobody stops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// Who asks.
    pub(crate) peer: Option<SocketAddr>,
    /// Fires when the server stops: answers that have no end of their own end then.
    pub(crate) stopping: CancellationToken,
    /// The server waits for what this counts: connections that became WebSockets.
    pub(crate) work: TaskTracker,
}

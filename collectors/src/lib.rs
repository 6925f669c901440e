//! One module per capture type: each opens a source and lends its packets to a sink.
//!
//! A collector knows nothing of who declared the capture or where flows end. Opening and reading
//! are apart: once a reader is open the kernel queues what arrives, and only then may a capture say
//! that it is active.

pub mod bpf;
pub mod pcapsocket;
pub mod sflow;

use std::net::SocketAddr;
use std::sync::Arc;

use flowtap_flow::ledger::Ledger;
use flowtap_flow::point::Points;
use tokio_util::sync::CancellationToken;

/// What a running reader works with.
#[derive(Clone)]
pub struct ReaderContext {
    /// Opens sinks, one for each node that packets are seen of.
    pub points: Arc<dyn Points>,
    /// The capture's counters: a reader counts what it received, filtered, and what was lost before
    /// a sink had it; sinks count what they kept and could not decode.
    pub ledger: Arc<Ledger>,
    /// Fires when the reader shall stop taking in, hand on what it has, flush its sinks and return.
    pub stop: CancellationToken,
}

/// Why a source could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A socket could not be bound.
    #[error("failed to listen on {protocol} {address}: {source}{hint}")]
    Listen {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
        /// What to do about it, beginning with `; `, or nothing.
        hint: &'static str,
    },
    /// Reading failed for good.
    #[error("failed to read {what}: {source}")]
    Read {
        /// From what.
        what: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl CollectError {
    /// [`CollectError::Listen`], with a hint where the system's error has a usual cause.
    pub(crate) fn listen(protocol: &'static str, address: SocketAddr, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
        let hint = match source.kind() {
            AddrInUse => "; another program listens there: stop it or choose another port",
            AddrNotAvailable => "; no interface of this host has that address",
            PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            _ => "",
        };
        Self::Listen {
            protocol,
            address,
            source,
            hint,
        }
    }
}

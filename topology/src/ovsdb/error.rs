//! What can go wrong with a database.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;

/// Why the database gave no answer, or not the one that was hoped for.
///
/// It can be cloned, because one lost connection is the end of every request on it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OvsdbError {
    /// The text names no place.
    #[error("`{0}` is no OVSDB address, write unix:PATH or tcp:HOST:PORT")]
    Address(String),
    /// Nothing was ever there, or the server has stopped: not a fault where no Open vSwitch runs.
    #[error("waiting for {}", .0.display())]
    NoSocket(PathBuf),
    /// The server could not be reached.
    #[error("failed to connect to OVSDB at {address}: {source}{}", hint(.source))]
    Connect {
        /// Where.
        address: Address,
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// The connection broke.
    #[error("lost the connection to OVSDB: {0}")]
    Io(Arc<io::Error>),
    /// The server ended the connection.
    #[error("OVSDB closed the connection")]
    Closed,
    /// Neither data nor the answer to an echo request came in time.
    #[error("OVSDB has been silent for {0:?}, its server hangs or cannot be reached")]
    Silent(Duration),
    /// The server is there but did not answer this request in time.
    #[error("OVSDB has not answered `{method}` for {after:?}")]
    Unanswered {
        /// The method asked for.
        method: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// What came is not RFC 7047. The connection is closed, since what follows cannot be read either.
    #[error("what answers is no OVSDB server: {0}")]
    Protocol(String),
    /// The server refused a method as a whole.
    #[error("OVSDB refused `{method}`: {error}")]
    Refused {
        /// The method asked for.
        method: &'static str,
        /// The server's word for it, with its explanation: `unknown database`.
        error: String,
    },
    /// A transaction failed. Nothing of it was written.
    #[error("OVSDB refused the transaction{}: {error}{}", at(.operation), explained(.details))]
    Transaction {
        /// Which operation, counted from 0; `None` if it was the commit.
        operation: Option<usize>,
        /// RFC 7047 §3.1 error code: `constraint violation`, `referential integrity violation`.
        error: String,
        /// What the server says about it; may be empty.
        details: String,
    },
}

impl OvsdbError {
    /// True if the server does not know a method, so that an older one may do.
    pub(super) fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error.starts_with("unknown method"))
    }
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        ", run as root or as the owner of the socket"
    } else {
        ""
    }
}

fn at(operation: &Option<usize>) -> String {
    operation.map_or_else(String::new, |index| format!(" at operation {index}"))
}

fn explained(details: &str) -> String {
    if details.is_empty() {
        String::new()
    } else {
        format!(" ({details})")
    }
}

//! Why a store refused.

use std::io::ErrorKind;
use std::path::PathBuf;

/// What went wrong in a store. Whatever a store refuses it has not written: the caller still owns it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the directory.
    #[error("the data directory {} is in use by another flowtap; stop it, or give another --data-dir", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be made or written.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `create`, `lock`, `list`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: std::io::Error,
    },
    /// A file of the store comes from a later version of flowtap.
    #[error("{} has schema {found}, this flowtap knows up to {known}; use a newer flowtap", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
        /// The highest number known here.
        known: i64,
    },
    /// There is no room left for the batch; it was refused whole.
    #[error("no space left for {}; free some, or lower the retention", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// The database's or the system's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed; the batch, if there was one, was refused whole.
    #[error("failed to {action} {}: {source}", path.display())]
    Database {
        /// What was tried: `open`, `write`, …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The database's own error.
        #[source]
        source: rusqlite::Error,
    },
    /// What happened last in the topology is not written.
    #[error("the topology's history is behind: {reason}")]
    HistoryBehind {
        /// What keeps it.
        reason: String,
    },
    /// There are as many of this kind as there may be.
    #[error("there are {max} resources of kind {kind} already, delete some")]
    TooManyResources {
        /// Which kind.
        kind: String,
        /// How many there may be.
        max: u32,
    },
    /// The writer ended before everything was stored.
    #[error("{updates} flow updates and {packets} kept packets were not stored in time: {reason}")]
    Unfinished {
        /// How many updates are not durable.
        updates: usize,
        /// How many kept packets are not durable.
        packets: u64,
        /// What kept them.
        reason: String,
    },
}

impl StoreError {
    /// Names the action and the file of a database error, and tells a full disk from the rest.
    pub(crate) fn database(action: &'static str, path: &std::path::Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full {
                path,
                source: Box::new(source),
            },
            _ => Self::Database { action, path, source },
        }
    }

    /// Names the action and the path of an I/O error, and tells a full disk from the rest.
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full {
                path,
                source: Box::new(source),
            },
            _ => Self::Io { action, path, source },
        }
    }
}

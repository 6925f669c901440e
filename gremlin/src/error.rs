//! Why a query has no answer.

use flowtap_flow::query::ReadError;
use flowtap_topology::HistoryError;

/// What kind of failure it is, for callers that pick a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The query is wrong, or asks for what this host cannot answer: the user must change it.
    Query,
    /// The answer would be larger than the limits allow: the user must narrow the query.
    TooLarge,
    /// The caller went away.
    Cancelled,
    /// The time limit ran out.
    TimedOut,
    /// A store failed: not the user's fault.
    Store,
    /// The answer exists but not in the form asked for (dot, pcap).
    Format,
}

/// Why a query has no answer, in words for the user, and where in the query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .column.map(|column| format!("column {column}: ")).unwrap_or_default())]
pub struct QueryError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// Where in the text, counted in characters from 1, if one place is to blame.
    pub column: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl QueryError {
    pub(crate) fn at(column: usize, message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Query,
            column: Some(column),
            message: message.into(),
        }
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            column: None,
            message: message.into(),
        }
    }
}

impl From<HistoryError> for QueryError {
    fn from(error: HistoryError) -> Self {
        let kind = match &error {
            HistoryError::NotKept => ErrorKind::Query,
            HistoryError::TooMany { .. } | HistoryError::TooLarge { .. } => ErrorKind::TooLarge,
            HistoryError::Cancelled => ErrorKind::Cancelled,
            HistoryError::Store(_) => ErrorKind::Store,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Cancelled => ErrorKind::Cancelled,
            ReadError::TimedOut => ErrorKind::TimedOut,
            ReadError::Store { .. } => ErrorKind::Store,
        };
        Self::new(kind, error.to_string())
    }
}

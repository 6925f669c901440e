//! The graph as it is, and as it was.

use std::error::Error;
use std::sync::Arc;

use crate::graph::Graph;
use crate::snapshot::Snapshot;

/// A piece of the past, both ends included. One instant has `from == to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// In milliseconds since the Unix epoch.
    pub from: i64,
    /// In milliseconds since the Unix epoch.
    pub to: i64,
}

impl Slice {
    /// The instant `at`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(at: i64) -> Self {
        Self { from: at, to: at }
    }
}

/// Why the past cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Nothing keeps the graph's history.
    #[error("the topology's history is not kept here, ask without At or Context")]
    NotKept,
    /// More elements than an answer may hold.
    #[error("more than {max} nodes and edges were there in that time, ask for a shorter one")]
    TooMuch {
        /// How many it may hold.
        max: usize,
    },
    /// The store could not answer.
    #[error("failed to read the topology's history: {0}")]
    Store(#[source] Box<dyn Error + Send + Sync>),
}

/// Remembers what the graph was.
pub trait History: Send + Sync {
    /// The elements that were there within `slice`, each in its newest revision of that time. What
    /// changed before the call is in it, whether it is written down already or not. It may block for
    /// as long as the disk takes.
    ///
    /// # Errors
    /// [`HistoryError::TooMuch`], [`HistoryError::Store`].
    fn slice(&self, slice: Slice) -> Result<Snapshot, HistoryError>;
}

/// The graph and its history: what queries run over.
#[derive(Clone)]
pub struct Topology {
    graph: Arc<Graph>,
    history: Option<Arc<dyn History>>,
}

impl Topology {
    /// `graph`, with what remembers it.
    #[must_use]
    pub fn new(graph: Arc<Graph>, history: Option<Arc<dyn History>>) -> Self {
        Self { graph, history }
    }

    /// The graph that changes.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The graph as it is now.
    #[must_use]
    pub fn live(&self) -> Arc<Snapshot> {
        self.graph.snapshot()
    }

    /// The graph as it was.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn at(&self, slice: Slice) -> Result<Arc<Snapshot>, HistoryError> {
        let history = self.history.as_ref().ok_or(HistoryError::NotKept)?;
        history.slice(slice).map(Arc::new)
    }
}

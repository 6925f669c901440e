//! The graph as it is, and as it was.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::element::{Edge, Node};
use crate::graph::Graph;
use crate::identity::NodeId;
use crate::interval::{Interval, NodeMetric};
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
    /// More than whoever asked wants to have.
    #[error("more than {max} {what} match; narrow the time")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it may be.
        max: u64,
    },
    /// More memory than whoever asked wants to give.
    #[error("the {what} that match take more than {max} bytes; narrow the time")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many bytes it may take.
        max: u64,
    },
    /// Nobody waits for the answer any more.
    #[error("the question about the topology's past was given up")]
    Cancelled,
    /// The store could not answer.
    #[error("failed to read the topology's history: {0}")]
    Store(#[source] Box<dyn Error + Send + Sync>),
}

/// What one look into the past may cost, and whether anybody still waits for it.
#[derive(Clone)]
pub struct Budget {
    max_rows: u64,
    max_bytes: u64,
    wanted: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Budget {
    /// An answer may have `max_rows` elements, or intervals, that take `max_bytes` of memory. `wanted` is
    /// asked again and again, from the thread that looks; once it says no, the look ends.
    #[must_use]
    pub fn new(max_rows: u64, max_bytes: u64, wanted: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            max_rows,
            max_bytes,
            wanted: Arc::new(wanted),
        }
    }

    /// Whether somebody still waits for the answer.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        (self.wanted)()
    }

    /// The same in the words of [`History`].
    ///
    /// # Errors
    /// [`HistoryError::Cancelled`].
    pub fn check(&self) -> Result<(), HistoryError> {
        if self.is_wanted() {
            Ok(())
        } else {
            Err(HistoryError::Cancelled)
        }
    }

    /// Counts what one place holds: `what`, a plural such as `nodes and edges`.
    #[must_use]
    pub fn spending(&self, what: &'static str) -> Spending<'_> {
        Spending {
            budget: self,
            what,
            rows: 0,
            bytes: 0,
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("max_rows", &self.max_rows)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// What has been taken of a [`Budget`] for one place.
#[derive(Clone, Debug)]
pub struct Spending<'b> {
    budget: &'b Budget,
    what: &'static str,
    rows: u64,
    bytes: u64,
}

impl Spending<'_> {
    /// Counts one row more, and `bytes` of memory.
    ///
    /// # Errors
    /// [`HistoryError::TooMany`], [`HistoryError::TooLarge`].
    pub fn add(&mut self, bytes: u64) -> Result<(), HistoryError> {
        self.rows = self.rows.saturating_add(1);
        self.hold(bytes)?;
        let (what, max) = (self.what, self.budget.max_rows);
        if self.rows > max {
            return Err(HistoryError::TooMany { what, max });
        }
        Ok(())
    }

    /// Counts memory of rows that are counted already.
    ///
    /// # Errors
    /// [`HistoryError::TooLarge`].
    pub fn hold(&mut self, bytes: u64) -> Result<(), HistoryError> {
        self.bytes = self.bytes.saturating_add(bytes);
        let (what, max) = (self.what, self.budget.max_bytes);
        if self.bytes > max {
            return Err(HistoryError::TooLarge { what, max });
        }
        Ok(())
    }
}

/// Which revision of an element that had several within a [`Slice`] is asked for.
#[derive(Clone, Copy)]
pub enum Wanted<'w> {
    /// The newest.
    Newest,
    /// Of a node, the newest that meets this; the newest if none does. Of an edge, the newest.
    Node(&'w dyn Fn(&Node) -> bool),
    /// Of an edge, the newest that meets this; the newest if none does. Of a node, the newest.
    Edge(&'w dyn Fn(&Edge) -> bool),
}

/// Remembers what the graph was.
pub trait History: Send + Sync {
    /// The elements that were there within `slice`, each in the `wanted` revision of that time. What
    /// changed before the call is in it, whether it is written down already or not. It may block for
    /// as long as the disk takes and `budget` allows.
    ///
    /// # Errors
    /// All of [`HistoryError`] but [`HistoryError::NotKept`].
    fn slice(&self, slice: Slice, wanted: Wanted<'_>, budget: &Budget) -> Result<Snapshot, HistoryError>;

    /// What `nodes` counted: each interval that lies in `slice` as a whole, in no particular order. For
    /// the rest see [`History::slice`].
    ///
    /// # Errors
    /// As [`History::slice`].
    fn intervals(
        &self,
        metric: NodeMetric,
        nodes: &HashSet<NodeId>,
        slice: Slice,
        budget: &Budget,
    ) -> Result<Vec<Interval>, HistoryError>;
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
    pub fn at(
        &self,
        slice: Slice,
        wanted: Wanted<'_>,
        budget: &Budget,
    ) -> Result<Arc<Snapshot>, HistoryError> {
        self.history()?.slice(slice, wanted, budget).map(Arc::new)
    }

    /// What nodes counted: see [`History::intervals`].
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn intervals(
        &self,
        metric: NodeMetric,
        nodes: &HashSet<NodeId>,
        slice: Slice,
        budget: &Budget,
    ) -> Result<Vec<Interval>, HistoryError> {
        self.history()?.intervals(metric, nodes, slice, budget)
    }

    fn history(&self) -> Result<&dyn History, HistoryError> {
        self.history.as_deref().ok_or(HistoryError::NotKept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_by_number_and_by_size() {
        let budget = Budget::new(2, 100, || true);
        let mut spending = budget.spending("nodes");
        spending.add(10).unwrap();
        spending.add(90).unwrap();
        let error = spending.add(0).unwrap_err();
        assert_eq!(error.to_string(), "more than 2 nodes match; narrow the time");
        let error = budget.spending("nodes").add(101).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the nodes that match take more than 100 bytes; narrow the time"
        );
        assert!(budget.check().is_ok());
        let given_up = Budget::new(2, 100, || false).check();
        assert!(matches!(given_up, Err(HistoryError::Cancelled)));
    }
}

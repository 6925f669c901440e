//! The topology's history in `catalog.db`.
//!
//! Each revision of a node or edge is a row, valid from the time of the event that made it to the time
//! of the one that ended it. One thread (see `recorder`) follows the graph and writes its events in
//! batches; a question first has everything written that happened before it. Metrics change without
//! an event, so that a revision shows them as they were when it began; what was counted from look to look
//! is kept beside the revisions (see `intervals`).

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flowtap_topology::{
    Budget, Graph, History, HistoryError, Interval, NodeId, NodeMetric, Slice, Snapshot, Wanted,
};

use super::lock::DirectoryLock;
use crate::error::StoreError;

mod intervals;
mod read;
mod recorder;
mod revisions;
#[cfg(test)]
mod tests;

use recorder::Recorder;
use revisions::Revisions;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    /// Revisions that ended longer ago go; `None` keeps them.
    pub(super) age: Option<Duration>,
    /// The oldest that have ended go while there are more rows.
    pub(super) revisions: u64,
    /// The oldest intervals of metrics go while there are more rows.
    pub(super) intervals: u64,
}

/// What the topology was, for [`History`]. It follows its graph until [`SqliteHistory::stop`].
#[derive(Debug)]
pub struct SqliteHistory {
    path: PathBuf,
    recorder: Recorder,
    _lock: Arc<DirectoryLock>,
}

impl SqliteHistory {
    pub(super) fn start(
        path: PathBuf,
        graph: Arc<Graph>,
        retention: Retention,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        let revisions = Revisions::open(&path)?;
        let recorder = Recorder::start(graph, revisions, retention)
            .map_err(|source| StoreError::io("start the history thread of", &path, source))?;
        Ok(Self {
            path,
            recorder,
            _lock: lock,
        })
    }

    /// Writes what has happened until now, and no more from then on. What was written can still be
    /// asked for.
    ///
    /// # Errors
    /// Why the last events could not be written, or that they were not within `timeout`.
    pub fn stop(&self, timeout: Duration) -> Result<(), StoreError> {
        self.recorder.stop(timeout)
    }

    /// Waits until everything that has happened is written.
    fn flush(&self, budget: &Budget) -> Result<(), HistoryError> {
        let flushed = self.recorder.flush(|| budget.is_wanted());
        flushed.map_err(failed)?;
        budget.check()
    }
}

impl History for SqliteHistory {
    fn slice(&self, slice: Slice, wanted: Wanted<'_>, budget: &Budget) -> Result<Snapshot, HistoryError> {
        self.flush(budget)?;
        read::slice(&self.path, slice, wanted, budget)
    }

    fn intervals(
        &self,
        metric: NodeMetric,
        nodes: &HashSet<NodeId>,
        slice: Slice,
        budget: &Budget,
    ) -> Result<Vec<Interval>, HistoryError> {
        self.flush(budget)?;
        read::intervals(&self.path, metric, nodes, slice, budget)
    }
}

fn failed(error: StoreError) -> HistoryError {
    HistoryError::Store(Box::new(error))
}

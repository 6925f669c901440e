//! The topology's history in `catalog.db`.
//!
//! Each revision of a node or edge is a row, valid from the time of the event that made it to the time
//! of the one that ended it. One thread (see `recorder`) follows the graph and writes its events in
//! batches; a question first has everything written that happened before it. Metrics change without
//! an event, so that a revision shows them as they were when it began.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowtap_topology::{Edge, Graph, History, HistoryError, Node, Slice, Snapshot};
use rusqlite::{Connection, TransactionBehavior, params};

use super::lock::DirectoryLock;
use super::schema;
use crate::error::StoreError;

mod recorder;
mod revisions;
#[cfg(test)]
mod tests;

use recorder::Recorder;
use revisions::Revisions;

/// Elements in one answer, some 2 KiB each and interfaces 10: what a full live graph holds. A longer time
/// with more is refused, as there is no use in half a graph.
const MAX_ELEMENTS: usize = 200_000;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    /// Revisions that ended longer ago go; `None` keeps them.
    pub(super) age: Option<Duration>,
    /// The oldest that have ended go while there are more rows.
    pub(super) revisions: u64,
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
}

impl History for SqliteHistory {
    fn slice(&self, slice: Slice) -> Result<Snapshot, HistoryError> {
        self.recorder.flush().map_err(failed)?;
        read(&self.path, slice)
    }
}

/// What `slice` holds that is written.
fn read(path: &Path, slice: Slice) -> Result<Snapshot, HistoryError> {
    let database = |source| failed(StoreError::database("read", path, source));
    let mut connection = schema::open_read_only(path).map_err(database)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Deferred)
        .map_err(database)?;
    let found = newest(&transaction, slice).map_err(database)?;
    if found.len() > MAX_ELEMENTS {
        return Err(HistoryError::TooMuch { max: MAX_ELEMENTS });
    }
    load(&transaction, &found, slice, path)
}

/// A row of an answer.
struct Found {
    row: i64,
    is_edge: bool,
}

/// The newest revision within `slice` of each element; one more than an answer may hold at most.
fn newest(connection: &Connection, slice: Slice) -> rusqlite::Result<Vec<Found>> {
    let sql = "SELECT row, kind, id FROM topology_revision INDEXED BY topology_revision_time
               WHERE valid_to > ?1 AND valid_from <= ?2 ORDER BY row DESC";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params![slice.from, slice.to])?;
    let mut seen: HashSet<(i64, Box<str>)> = HashSet::new();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let kind: i64 = row.get(1)?;
        let id: Box<str> = row.get_ref(2)?.as_str()?.into();
        if seen.insert((kind, id)) {
            found.push(Found {
                row: row.get(0)?,
                is_edge: kind == revisions::EDGE,
            });
            if found.len() > MAX_ELEMENTS {
                break;
            }
        }
    }
    Ok(found)
}

fn load(
    connection: &Connection,
    found: &[Found],
    slice: Slice,
    path: &Path,
) -> Result<Snapshot, HistoryError> {
    let database = |source| failed(StoreError::database("read", path, source));
    let sql = "SELECT body, valid_to, deleted FROM topology_revision WHERE row = ?1";
    let mut statement = connection.prepare(sql).map_err(database)?;
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for element in found {
        let row = statement.query_row([element.row], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, bool>(2)?,
            ))
        });
        let (body, valid_to, deleted) = row.map_err(database)?;
        let deleted_at = (deleted && valid_to <= slice.to).then_some(valid_to);
        let damaged = |error| HistoryError::Store(Box::<serde_json::Error>::new(error));
        if element.is_edge {
            let mut edge: Edge = serde_json::from_str(&body).map_err(damaged)?;
            edge.deleted_at = deleted_at;
            edges.push(Arc::new(edge));
        } else {
            let mut node: Node = serde_json::from_str(&body).map_err(damaged)?;
            node.deleted_at = deleted_at;
            nodes.push(Arc::new(node));
        }
    }
    Ok(Snapshot::of(nodes, edges))
}

fn failed(error: StoreError) -> HistoryError {
    HistoryError::Store(Box::new(error))
}

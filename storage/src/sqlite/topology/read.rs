//! Reading what is written, within a [`Budget`].

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Once};

use flowtap_topology::{
    Budget, Edge, HistoryError, Interval, Node, NodeId, NodeMetric, Slice, Snapshot, metadata_bytes,
};
use rusqlite::{Connection, TransactionBehavior, params};
use serde::de::DeserializeOwned;

use super::{failed, intervals, revisions};
use crate::error::StoreError;
use crate::sqlite::schema;

/// Steps of SQLite's machine between two looks at the budget: about 0.1 ms.
const STEPS_PER_CHECK: i32 = 20_000;

/// Rows that are found and not read yet: a number, a hash entry, an ID.
const FOUND_BYTES: u64 = 128;

/// What keeps from reading.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Runs `work` on the catalog as it is now. The budget also interrupts SQLite itself, for a scan that finds
/// nothing never comes back to ask.
fn reading<T>(
    path: &Path,
    budget: &Budget,
    work: impl FnOnce(&Connection) -> Result<T, ReadError>,
) -> Result<T, HistoryError> {
    let read = || {
        budget.check()?;
        let mut connection = schema::open_read_only(path)?;
        let watched = budget.clone();
        connection.progress_handler(STEPS_PER_CHECK, Some(move || !watched.is_wanted()))?;
        work(&*connection.transaction_with_behavior(TransactionBehavior::Deferred)?)
    };
    read().map_err(|error| match error {
        ReadError::History(error) => error,
        ReadError::Sqlite(error) if is_interrupt(&error) => HistoryError::Cancelled,
        ReadError::Sqlite(source) => failed(StoreError::database("read", path, source)),
    })
}

/// Reads what a row says. One that says nothing that can be understood is left out, for it is a part of every
/// look at its time; it is told once, and not each time that it is met.
fn readable<T: DeserializeOwned>(text: &str, row: i64) -> Option<T> {
    static TOLD: Once = Once::new();
    let read = serde_json::from_str(text);
    if let Err(error) = &read {
        TOLD.call_once(|| {
            tracing::error!(row, %error, "a row of the topology's history cannot be read, it is left out");
        });
    }
    read.ok()
}

fn is_interrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

/// The elements of `slice`.
pub(super) fn slice(path: &Path, slice: Slice, budget: &Budget) -> Result<Snapshot, HistoryError> {
    reading(path, budget, |connection| {
        let rows = newest(connection, slice, budget)?;
        load(connection, rows, slice, budget)
    })
}

/// The newest revision within `slice` of each element.
fn newest(connection: &Connection, slice: Slice, budget: &Budget) -> Result<Vec<i64>, ReadError> {
    // Not sorted, and not grouped by SQLite: it would hold all revisions to do so.
    let sql = "SELECT row, kind, id FROM topology_revision INDEXED BY topology_revision_time
               WHERE valid_to > ?1 AND valid_from <= ?2";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params![slice.from, slice.to])?;
    let mut spending = budget.spending("nodes and edges");
    let mut newest: HashMap<(i64, Box<str>), i64> = HashMap::new();
    while let Some(found) = rows.next()? {
        let (row, kind): (i64, i64) = (found.get(0)?, found.get(1)?);
        let id: Box<str> = found.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?.into();
        let before = newest.len();
        let newest_row = newest.entry((kind, id)).or_insert(row);
        *newest_row = row.max(*newest_row);
        if newest.len() > before {
            spending.add(FOUND_BYTES)?;
        }
    }
    Ok(newest.into_values().collect())
}

fn load(
    connection: &Connection,
    rows: Vec<i64>,
    slice: Slice,
    budget: &Budget,
) -> Result<Snapshot, ReadError> {
    let sql = "SELECT kind, body, valid_to, deleted FROM topology_revision WHERE row = ?1";
    let mut statement = connection.prepare(sql)?;
    let mut spending = budget.spending("nodes and edges");
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for row in rows {
        // One statement is too short for SQLite to ask.
        budget.check()?;
        let (kind, body, valid_to, deleted) = statement.query_row([row], |row| {
            let kind: i64 = row.get(0)?;
            let body: String = row.get(1)?;
            Ok((kind, body, row.get::<_, i64>(2)?, row.get::<_, bool>(3)?))
        })?;
        let deleted_at = (deleted && valid_to <= slice.to).then_some(valid_to);
        if kind == revisions::EDGE {
            let Some(mut edge) = readable::<Edge>(&body, row) else {
                continue;
            };
            edge.deleted_at = deleted_at;
            spending.add(edge.bytes())?;
            edges.push(Arc::new(edge));
        } else {
            let Some(mut node) = readable::<Node>(&body, row) else {
                continue;
            };
            node.deleted_at = deleted_at;
            spending.add(node.bytes())?;
            nodes.push(Arc::new(node));
        }
    }
    Ok(Snapshot::of(nodes, edges))
}

/// What `nodes` counted in `slice`.
pub(super) fn intervals(
    path: &Path,
    metric: NodeMetric,
    nodes: &HashSet<NodeId>,
    slice: Slice,
    budget: &Budget,
) -> Result<Vec<Interval>, HistoryError> {
    reading(path, budget, |connection| {
        let sql = "SELECT row, node FROM topology_metric INDEXED BY topology_metric_time
                   WHERE last >= ?1 AND last <= ?2 AND metric = ?3 AND start >= ?1";
        let mut statement = connection.prepare(sql)?;
        let mut found = statement.query(params![slice.from, slice.to, intervals::number(metric)])?;
        let mut spending = budget.spending("intervals of metrics");
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let node = NodeId::from(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
            if nodes.contains(&node) {
                spending.add(FOUND_BYTES)?;
                rows.push((row.get::<_, i64>(0)?, node));
            }
        }
        let sql = "SELECT start, last, counters FROM topology_metric WHERE row = ?1";
        let mut statement = connection.prepare(sql)?;
        let mut all = Vec::with_capacity(rows.len());
        for (row, node) in rows {
            budget.check()?;
            let (start, last, counters) = statement.query_row([row], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
            })?;
            let Some(counters) = readable(&counters, row) else {
                continue;
            };
            spending.hold(metadata_bytes(&counters))?;
            all.push(Interval {
                node,
                metric,
                start,
                last,
                counters,
            });
        }
        Ok(all)
    })
}

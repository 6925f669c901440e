//! Reading what is written, within a [`Budget`].

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Once};

use flowtap_topology::{
    Budget, Edge, HistoryError, Interval, Node, NodeId, NodeMetric, Slice, Snapshot, Wanted, metadata_bytes,
};
use rusqlite::{Connection, Statement, TransactionBehavior, params};
use serde::de::DeserializeOwned;

use super::{failed, intervals, revisions};
use crate::error::StoreError;
use crate::sqlite::schema;

/// Steps of SQLite's machine between two looks at the budget: about 0.1 ms.
const STEPS_PER_CHECK: i32 = 20_000;

/// Rows that are found and not read yet: a number, a hash entry, an ID.
const FOUND_BYTES: u64 = 128;

/// One more row of an element that is found already.
const CANDIDATE_BYTES: u64 = 8;

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
pub(super) fn slice(
    path: &Path,
    slice: Slice,
    wanted: Wanted<'_>,
    budget: &Budget,
) -> Result<Snapshot, HistoryError> {
    reading(path, budget, |connection| {
        let found = find(connection, slice, wanted, budget)?;
        load(connection, found, slice, wanted, budget)
    })
}

/// The rows of one element that may be what is wanted of it.
type Candidates = Vec<i64>;

/// The rows within `slice` of each element: the newest, or all if one of them may be wanted instead.
fn find(
    connection: &Connection,
    slice: Slice,
    wanted: Wanted<'_>,
    budget: &Budget,
) -> Result<Vec<Candidates>, ReadError> {
    let chosen = match wanted {
        Wanted::Newest => None,
        Wanted::Node(_) => Some(revisions::NODE),
        Wanted::Edge(_) => Some(revisions::EDGE),
    };
    // Not sorted, and not grouped by SQLite: it would hold all revisions to do so.
    let sql = "SELECT row, kind, id FROM topology_revision INDEXED BY topology_revision_time
               WHERE valid_to > ?1 AND valid_from <= ?2";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params![slice.from, slice.to])?;
    let mut spending = budget.spending("nodes and edges");
    let mut found: HashMap<(i64, Box<str>), Candidates> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (number, kind): (i64, i64) = (row.get(0)?, row.get(1)?);
        let id: Box<str> = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?.into();
        let candidates = found.entry((kind, id)).or_default();
        match candidates.first_mut() {
            None => spending.add(FOUND_BYTES)?,
            Some(newest) if chosen != Some(kind) => {
                *newest = number.max(*newest);
                continue;
            }
            Some(_) => spending.hold(CANDIDATE_BYTES)?,
        }
        candidates.push(number);
    }
    Ok(found.into_values().collect())
}

/// A node or an edge as it was.
enum Element {
    Node(Node),
    Edge(Edge),
}

impl Element {
    fn is(&self, wanted: Wanted<'_>) -> bool {
        match (self, wanted) {
            (Self::Node(node), Wanted::Node(meets)) => meets(node),
            (Self::Edge(edge), Wanted::Edge(meets)) => meets(edge),
            _ => true,
        }
    }
}

fn load(
    connection: &Connection,
    found: Vec<Candidates>,
    slice: Slice,
    wanted: Wanted<'_>,
    budget: &Budget,
) -> Result<Snapshot, ReadError> {
    let sql = "SELECT kind, body, valid_to, deleted FROM topology_revision WHERE row = ?1";
    let mut statement = connection.prepare(sql)?;
    let mut spending = budget.spending("nodes and edges");
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for mut rows in found {
        // Later rows are newer revisions.
        rows.sort_unstable_by(|a, b| b.cmp(a));
        let mut newest = None;
        for row in rows {
            // One statement is too short for SQLite to ask.
            budget.check()?;
            let Some(element) = element(&mut statement, row, slice)? else {
                continue;
            };
            if element.is(wanted) {
                newest = Some(element);
                break;
            }
            newest.get_or_insert(element);
        }
        match newest {
            Some(Element::Node(node)) => {
                spending.add(node.bytes())?;
                nodes.push(Arc::new(node));
            }
            Some(Element::Edge(edge)) => {
                spending.add(edge.bytes())?;
                edges.push(Arc::new(edge));
            }
            None => {}
        }
    }
    Ok(Snapshot::of(nodes, edges))
}

/// The element that `row` tells of, if it can be read.
fn element(statement: &mut Statement<'_>, row: i64, slice: Slice) -> Result<Option<Element>, ReadError> {
    let (kind, body, valid_to, deleted) = statement.query_row([row], |row| {
        let kind: i64 = row.get(0)?;
        let body: String = row.get(1)?;
        Ok((kind, body, row.get::<_, i64>(2)?, row.get::<_, bool>(3)?))
    })?;
    let deleted_at = (deleted && valid_to <= slice.to).then_some(valid_to);
    Ok(if kind == revisions::EDGE {
        readable::<Edge>(&body, row).map(|edge| Element::Edge(Edge { deleted_at, ..edge }))
    } else {
        readable::<Node>(&body, row).map(|node| Element::Node(Node { deleted_at, ..node }))
    })
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

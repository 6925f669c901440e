//! Writing revisions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{Change, Edge, Event, Interval, Node, Snapshot};
use rusqlite::{CachedStatement, Connection, Transaction, params};
use serde::Serialize;

use super::{Retention, intervals};
use crate::error::StoreError;
use crate::sqlite::schema;

/// `kind` of a node.
pub(super) const NODE: i64 = 0;
/// `kind` of an edge.
pub(super) const EDGE: i64 = 1;
/// `valid_to` of a revision that still is. The schema's partial index says the same number.
const OPEN: i64 = i64::MAX;
/// Rows that retention removes in one transaction: some 20 ms, in which nothing else is written.
const REMOVED_AT_ONCE: u64 = 2_000;

/// The one writer of revisions.
#[derive(Debug)]
pub(super) struct Revisions {
    path: PathBuf,
    connection: Connection,
}

/// A revision as a row.
struct Row {
    kind: i64,
    id: String,
    created_at: i64,
    revision: i64,
    body: String,
}

impl Row {
    fn node(node: &Node) -> Result<Self, WriteError> {
        Self::new(NODE, node.id.as_str(), node.created_at, node.revision, node)
    }

    fn edge(edge: &Edge) -> Result<Self, WriteError> {
        Self::new(EDGE, edge.id.as_str(), edge.created_at, edge.revision, edge)
    }

    fn new(
        kind: i64,
        id: &str,
        created_at: i64,
        revision: u64,
        body: &impl Serialize,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            kind,
            id: id.to_owned(),
            created_at,
            revision: revision.cast_signed(),
            body: serde_json::to_string(body)?,
        })
    }
}

/// What went wrong in a transaction.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Revisions {
    /// Ends what the last run left open, at the last time that it is known to have written: however it
    /// ended, nobody has seen the graph since.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = schema::open(path, schema::CATALOG)?;
        let mut revisions = Self {
            path: path.to_owned(),
            connection,
        };
        revisions.transaction(|transaction| {
            let sql = "UPDATE topology_revision SET valid_to = max(valid_from + 1,
                           coalesce((SELECT until FROM topology_written), 0))
                       WHERE valid_to = 9223372036854775807";
            transaction.execute(sql, [])?;
            Ok(())
        })?;
        Ok(revisions)
    }

    /// Writes `events`, and what was counted, which happened until `now`, whole or not at all. Without
    /// any it notes that nothing has happened until then.
    pub(super) fn record(
        &mut self,
        events: &[Arc<Event>],
        counted: &[Interval],
        now: i64,
    ) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let mut writer = Writer::new(transaction)?;
            for event in events {
                writer.write(event)?;
            }
            drop(writer);
            intervals::insert(transaction, counted)?;
            written(transaction, now)
        })
    }

    /// Makes what is open equal to `snapshot`, which was the graph at `now`: at the start, and after
    /// events were missed. What went meanwhile went at `now`, for all that is known.
    pub(super) fn reconcile(&mut self, snapshot: &Snapshot, now: i64) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let mut open = open_revisions(transaction)?;
            let mut writer = Writer::new(transaction)?;
            for node in snapshot.nodes() {
                let before = open.remove(&(NODE, node.id.as_str().to_owned()));
                if before != Some((node.created_at, node.revision.cast_signed())) {
                    writer.put(node.updated_at, &Row::node(node)?)?;
                }
            }
            for edge in snapshot.edges() {
                let before = open.remove(&(EDGE, edge.id.as_str().to_owned()));
                if before != Some((edge.created_at, edge.revision.cast_signed())) {
                    writer.put(edge.updated_at, &Row::edge(edge)?)?;
                }
            }
            for (kind, id) in open.keys() {
                writer.close(*kind, id, now, true)?;
            }
            drop(writer);
            written(transaction, now)
        })
    }

    /// Removes what `retention` no longer wants; in several transactions, so that none is long.
    pub(super) fn retain(&mut self, now: i64, retention: Retention) -> Result<(), StoreError> {
        let oldest = |age| Timestamp::from_millis(now).minus(age).millis();
        let oldest = retention.age.map(oldest);
        if let Some(oldest) = oldest {
            while self.remove(oldest, REMOVED_AT_ONCE)? == REMOVED_AT_ONCE {}
        }
        let remove = |transaction: &Transaction<'_>| {
            intervals::remove(transaction, oldest, retention.intervals, REMOVED_AT_ONCE)
        };
        while self.transaction(remove)? >= REMOVED_AT_ONCE {}
        loop {
            let count = "SELECT count(*) FROM topology_revision";
            let rows = self.connection.query_row(count, [], |row| row.get(0));
            let rows: i64 = rows.map_err(|source| StoreError::database("read", &self.path, source))?;
            let surplus = rows.cast_unsigned().saturating_sub(retention.revisions);
            // What still is stays: there are no more of these than the live graph is bounded to.
            if surplus == 0 || self.remove(OPEN, surplus.min(REMOVED_AT_ONCE))? == 0 {
                return Ok(());
            }
        }
    }

    /// Removes revisions that ended before `before`, the oldest first; returns how many.
    fn remove(&mut self, before: i64, limit: u64) -> Result<u64, StoreError> {
        self.transaction(|transaction| {
            let sql = "DELETE FROM topology_revision WHERE row IN
                           (SELECT row FROM topology_revision WHERE valid_to < ?1 ORDER BY valid_to LIMIT ?2)";
            let removed = transaction.execute(sql, params![before, limit.cast_signed()])?;
            Ok(removed as u64)
        })
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        let transact = || {
            // Immediate: one that starts reading and then writes could be refused by the catalog's own.
            let behavior = rusqlite::TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        transact().map_err(|error: WriteError| {
            let source = match error {
                WriteError::Sqlite(source) => source,
                WriteError::Json(source) => rusqlite::Error::ToSqlConversionFailure(Box::new(source)),
            };
            StoreError::database("write", &self.path, source)
        })
    }
}

/// The statements of one transaction.
struct Writer<'t> {
    replace: CachedStatement<'t>,
    close: CachedStatement<'t>,
    end: CachedStatement<'t>,
    insert: CachedStatement<'t>,
}

impl<'t> Writer<'t> {
    fn new(transaction: &'t Transaction<'_>) -> Result<Self, WriteError> {
        // The number is written out: only so the partial index answers.
        let replace = "DELETE FROM topology_revision
                       WHERE kind = ?1 AND id = ?2 AND valid_to = 9223372036854775807 AND valid_from >= ?3";
        let close = "UPDATE topology_revision SET valid_to = ?3, deleted = ?4
                     WHERE kind = ?1 AND id = ?2 AND valid_to = 9223372036854775807";
        let end = "UPDATE topology_revision SET deleted = 1 WHERE kind = ?1 AND id = ?2 AND valid_to = ?3";
        let insert = "INSERT INTO topology_revision
                          (kind, id, valid_from, valid_to, deleted, created_at, revision, body)
                      VALUES (?1, ?2, ?3, 9223372036854775807, 0, ?4, ?5, ?6)";
        Ok(Self {
            replace: transaction.prepare_cached(replace)?,
            close: transaction.prepare_cached(close)?,
            end: transaction.prepare_cached(end)?,
            insert: transaction.prepare_cached(insert)?,
        })
    }

    fn write(&mut self, event: &Event) -> Result<(), WriteError> {
        match &event.change {
            Change::NodeAdded(node) | Change::NodeUpdated { node, .. } => {
                self.put(event.at, &Row::node(node)?)
            }
            Change::EdgeAdded(edge) | Change::EdgeUpdated { edge, .. } => {
                self.put(event.at, &Row::edge(edge)?)
            }
            Change::NodeDeleted(node) => self.close(NODE, node.id.as_str(), event.at, true),
            Change::EdgeDeleted(edge) => self.close(EDGE, edge.id.as_str(), event.at, true),
        }
    }

    fn put(&mut self, from: i64, row: &Row) -> Result<(), WriteError> {
        self.close(row.kind, &row.id, from, false)?;
        let values = params![row.kind, row.id, from, row.created_at, row.revision, row.body];
        self.insert.execute(values)?;
        Ok(())
    }

    fn close(&mut self, kind: i64, id: &str, at: i64, deleted: bool) -> Result<(), WriteError> {
        // What did not last a millisecond was at no time; it ended what was before, though.
        if self.replace.execute(params![kind, id, at])? == 0 {
            self.close.execute(params![kind, id, at, deleted])?;
        } else if deleted {
            self.end.execute(params![kind, id, at])?;
        }
        Ok(())
    }
}

/// When each open element was created, and its revision; by kind and ID.
type Open = HashMap<(i64, String), (i64, i64)>;

fn open_revisions(transaction: &Transaction<'_>) -> Result<Open, WriteError> {
    let sql = "SELECT kind, id, created_at, revision FROM topology_revision
               WHERE valid_to = 9223372036854775807";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn written(transaction: &Transaction<'_>, until: i64) -> Result<(), WriteError> {
    let sql = "INSERT INTO topology_written VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET until = ?1";
    transaction.prepare_cached(sql)?.execute([until])?;
    Ok(())
}

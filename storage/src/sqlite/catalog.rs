//! `catalog.db`: the sealed segments and what they hold. The topology's history and what users declared
//! lie there too: see `topology` and `resources`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowtap_flow::query::TimeRange;
use flowtap_flow::timestamp::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::name::SegmentName;
use super::schema;
use super::segment::{Segment, Totals};
use crate::error::StoreError;

const DELETE: &str = "DELETE FROM segment WHERE hour = ?1 AND part = ?2";

/// The catalog. Its rows only save opening each file at a start; without one, the file is asked.
#[derive(Debug)]
pub(super) struct Catalog {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Catalog {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("catalog.db");
        let connection = schema::open(&path, schema::CATALOG)?;
        Ok(Self {
            path,
            connection: Mutex::new(connection),
        })
    }

    /// What the sealed segment `name` holds, if the catalog knows it and its schema is today's.
    pub(super) fn find(&self, name: SegmentName) -> Result<Option<Totals>, StoreError> {
        let sql = "SELECT min_start, max_last, flows, updates, raw_packets, raw_bytes FROM segment
                   WHERE hour = ?1 AND part = ?2 AND schema = ?3";
        let key = params![name.hour, name.part, schema::version(schema::SEGMENT)];
        self.run("read", |connection| {
            connection.query_row(sql, key, totals).optional()
        })
    }

    /// Notes a segment that was just sealed, unless retention has removed it meanwhile.
    pub(super) fn add(&self, segment: &Segment) -> Result<(), StoreError> {
        let totals = segment.totals();
        let (from, to) = totals
            .range
            .map(|range| (range.from.nanos(), range.to.nanos()))
            .unzip();
        let [flows, updates, raw_packets, raw_bytes] =
            [totals.flows, totals.updates, totals.raw_packets, totals.raw_bytes].map(u64::cast_signed);
        let version = schema::version(schema::SEGMENT);
        let name = segment.name;
        self.run("write", |connection| {
            // Under the lock that `remove` takes: a removed segment does not come back.
            if segment.is_removed() {
                return Ok(());
            }
            let sql = "INSERT OR REPLACE INTO segment VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            let row = params![
                name.hour,
                name.part,
                version,
                from,
                to,
                flows,
                updates,
                raw_packets,
                raw_bytes
            ];
            connection.execute(sql, row).map(drop)
        })
    }

    /// Strikes off all segments but `present`: somebody has taken their files away.
    pub(super) fn prune(&self, present: &[SegmentName]) -> Result<(), StoreError> {
        self.run("write", |connection| {
            let mut listed = connection.prepare("SELECT hour, part FROM segment")?;
            let listed = listed.query_map([], |row| {
                Ok(SegmentName {
                    hour: row.get(0)?,
                    part: row.get(1)?,
                })
            })?;
            for name in listed.collect::<rusqlite::Result<Vec<_>>>()? {
                if !present.contains(&name) {
                    connection.execute(DELETE, params![name.hour, name.part])?;
                }
            }
            Ok(())
        })
    }

    /// Strikes a segment off.
    pub(super) fn remove(&self, segment: &Segment) -> Result<(), StoreError> {
        let key = params![segment.name.hour, segment.name.part];
        self.run("write", |connection| {
            connection.execute(DELETE, key)?;
            segment.remove();
            Ok(())
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of its files.
    pub(super) fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    pub(super) fn run<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection: MutexGuard<'_, Connection> =
            self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|source| StoreError::database(action, &self.path, source))
    }
}

fn totals(row: &Row<'_>) -> rusqlite::Result<Totals> {
    let (from, to): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
    let count = |column| row.get(column).map(i64::cast_unsigned);
    Ok(Totals {
        range: from.zip(to).map(|(from, to)| TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        }),
        flows: count(2)?,
        updates: count(3)?,
        raw_packets: count(4)?,
        raw_bytes: count(5)?,
        sealed: true,
    })
}

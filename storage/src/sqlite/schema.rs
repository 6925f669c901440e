//! Numbered schema steps and the settings of a connection.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;

/// Steps of a segment's schema. A released step is never edited; the next one is added.
pub(super) const SEGMENT: &[&str] = &[include_str!("schema/segment/001-flows.sql")];
/// Steps of the catalog's schema.
pub(super) const CATALOG: &[&str] = &[
    include_str!("schema/catalog/001-segments.sql"),
    include_str!("schema/catalog/002-topology.sql"),
    include_str!("schema/catalog/003-metrics.sql"),
];
/// What a segment gets once it is written no more.
pub(super) const SEAL: &str = include_str!("schema/seal.sql");

/// The schema's number that `steps` lead to.
pub(super) fn version(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Opens `path` for writing, makes it if need be, recovers it after a crash, and brings it to the
/// newest schema.
pub(super) fn open(path: &Path, steps: &[&str]) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::database("open", path, source);
    let mut connection = Connection::open(path).map_err(failed)?;
    configure_writer(&connection).map_err(failed)?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    let known = version(steps);
    let missing = usize::try_from(found).ok().and_then(|done| steps.get(done..));
    let Some(missing) = missing else {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    };
    if !missing.is_empty() {
        migrate(&mut connection, missing, known)
            .map_err(|source| StoreError::database("upgrade", path, source))?;
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, missing: &[&str], known: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()
}

/// Opens a segment that [`open`] has made, for reading only.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Up to 8 MiB of pages for each of the few pooled readers.
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Waits only for another connection's recovery or checkpoint: in WAL mode readers and the writer
/// do not block each other.
const BUSY: std::time::Duration = std::time::Duration::from_secs(5);

/// Pages that a writer remembers at first: 8 MiB, more than a transaction writes.
pub(super) const LEAST_CACHE: usize = 1_024;

/// Lets `connection` remember so many pages.
pub(super) fn set_cache(connection: &Connection, pages: usize) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", i64::try_from(pages).unwrap_or(i64::MAX))
}

fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    // Must come before the first table is made. Rows are small and scans long: larger pages pay.
    connection.pragma_update(None, "page_size", 8192)?;
    // Space comes back by unlinking whole segments.
    connection.pragma_update(None, "auto_vacuum", "NONE")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    // NORMAL would lose acknowledged batches in a power cut; FULL costs one fsync a commit.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4000, |row| row.get::<_, i64>(0))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |row| row.get::<_, i64>(0))?;
    set_cache(connection, LEAST_CACHE)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

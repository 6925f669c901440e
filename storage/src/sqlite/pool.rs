//! Read-only connections to segments, kept open between queries.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flowtap_flow::query::{Cancel, ReadError};
use flowtap_flow::text::Text;
use rusqlite::{Connection, Transaction};

use super::name::SegmentName;
use super::segment::Segment;
use super::{dictionary, schema};

/// Idle readers kept. Each holds three file descriptors and up to 8 MiB of pages; one more query at a
/// time than this opens its own, which costs about 0.2 ms.
const IDLE_LIMIT: usize = 16;
/// Steps of SQLite's machine between two looks at [`Cancel`]: about 0.1 ms.
const STEPS_PER_CHECK: i32 = 20_000;

/// The idle readers, the one used last in front.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<VecDeque<Reader>>,
}

/// A connection to one segment, and what it knows of it.
#[derive(Debug)]
struct Reader {
    name: SegmentName,
    connection: Connection,
    texts: Vec<Text>,
}

/// One segment as it was at one instant.
pub(super) struct Snapshot<'a> {
    pub(super) connection: &'a Connection,
    /// The dictionary.
    pub(super) texts: &'a [Text],
    /// The file of its kept packets; there is none if it has none.
    pub(super) packets: &'a Path,
    pub(super) sealed: bool,
}

/// What went wrong while a segment was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SegmentError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("flows from number {0} on are damaged")]
    DamagedFlows(i64),
    #[error("kept packets from byte {0} on are damaged")]
    DamagedPackets(i64),
    #[error("its kept packets cannot be read: {0}")]
    Packets(#[from] std::io::Error),
    #[error(transparent)]
    Query(#[from] ReadError),
}

impl Pool {
    /// Runs `read` on `segment` as it is now. `cancel` also interrupts SQLite itself, for a scan that
    /// finds nothing never comes back to ask.
    pub(super) fn read<T>(
        &self,
        segment: &Segment,
        cancel: &Cancel,
        read: impl FnOnce(&Snapshot<'_>) -> Result<T, SegmentError>,
    ) -> Result<T, ReadError> {
        cancel.check()?;
        let failed = |error| read_error(segment, cancel, error);
        let mut reader = self.take(segment).map_err(|error| failed(error.into()))?;
        let answer = reader.run(segment, cancel, read).map_err(failed)?;
        self.put(segment, reader);
        Ok(answer)
    }

    fn take(&self, segment: &Segment) -> rusqlite::Result<Reader> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().position(|reader| reader.name == segment.name);
        if let Some(reader) = found.and_then(|place| idle.remove(place)) {
            return Ok(reader);
        }
        drop(idle);
        let connection = schema::open_read_only(&segment.path)?;
        Ok(Reader {
            name: segment.name,
            connection,
            texts: Vec::new(),
        })
    }

    fn put(&self, segment: &Segment, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: after `forget` no reader of a removed segment comes back.
        if !segment.is_removed() {
            idle.push_front(reader);
            idle.truncate(IDLE_LIMIT);
        }
    }

    /// Closes the idle readers of a removed segment, so that its space can come back.
    pub(super) fn forget(&self, name: SegmentName) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|reader| reader.name != name);
    }
}

impl Reader {
    fn run<T>(
        &mut self,
        segment: &Segment,
        cancel: &Cancel,
        read: impl FnOnce(&Snapshot<'_>) -> Result<T, SegmentError>,
    ) -> Result<T, SegmentError> {
        let watched = cancel.clone();
        self.connection
            .progress_handler(STEPS_PER_CHECK, Some(move || watched.check().is_err()))?;
        // One transaction: dictionary, zones and rows belong together.
        let transaction =
            Transaction::new_unchecked(&self.connection, rusqlite::TransactionBehavior::Deferred)?;
        dictionary::extend(&transaction, &mut self.texts)?;
        let sealed = transaction.query_row("SELECT sealed FROM total", [], |row| row.get(0))?;
        let answer = read(&Snapshot {
            connection: &transaction,
            texts: &self.texts,
            packets: &segment.packets_path(),
            sealed,
        })?;
        transaction.finish()?;
        self.connection.progress_handler(0, None::<fn() -> bool>)?;
        Ok(answer)
    }
}

fn read_error(segment: &Segment, cancel: &Cancel, error: SegmentError) -> ReadError {
    match error {
        SegmentError::Query(error) => error,
        SegmentError::Sqlite(error) if is_interrupt(&error) => {
            cancel.check().err().unwrap_or(ReadError::Cancelled)
        }
        error => {
            let what = format!("segment {}", segment.path.display());
            ReadError::Store {
                what,
                source: Box::new(error),
            }
        }
    }
}

fn is_interrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

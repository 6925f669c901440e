//! One segment as the store knows it: its file and what it holds.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowtap_flow::kept::PacketChunk;
use flowtap_flow::query::TimeRange;
use rusqlite::Connection;

use super::name::SegmentName;
use super::packets;
use super::zone::{Kind, Zones};

/// What a segment holds durably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Without those that go on with a flow of an earlier row.
    pub(super) flows: u64,
    pub(super) updates: u64,
    pub(super) raw_packets: u64,
    pub(super) raw_bytes: u64,
    /// First start to last end of its flows and kept packets, packet time.
    pub(super) range: Option<TimeRange>,
    pub(super) sealed: bool,
}

impl Totals {
    /// Reads them from an open segment.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let flows = Zones::load(connection, Kind::Flow)?.range();
        let range = TimeRange::union(flows, packets::range(connection)?);
        let sql = "SELECT flows, updates, raw_packets, raw_bytes, sealed FROM total";
        connection.query_row(sql, [], |row| {
            let count = |column| row.get(column).map(i64::cast_unsigned);
            Ok(Self {
                flows: count(0)?,
                updates: count(1)?,
                raw_packets: count(2)?,
                raw_bytes: count(3)?,
                range,
                sealed: row.get(4)?,
            })
        })
    }

    /// Counts the packets of a chunk.
    pub(super) fn count_packets(&mut self, chunk: &PacketChunk) {
        self.raw_packets += chunk.packets();
        self.raw_bytes += chunk.captured_bytes();
        self.range = TimeRange::union(self.range, chunk.time());
    }

    /// Writes them, in the open transaction.
    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE total SET flows = ?1, updates = ?2, raw_packets = ?3, raw_bytes = ?4";
        let counts = [self.flows, self.updates, self.raw_packets, self.raw_bytes].map(u64::cast_signed);
        connection.prepare_cached(sql)?.execute(counts).map(drop)
    }
}

pub(super) const PACKETS: &str = "-packets";
/// What a segment's files have behind its name; the database first.
const FILES: [&str; 4] = ["", "-wal", "-shm", PACKETS];

/// A segment's files. Readers hold it by `Arc`: one that retention has removed is unlinked when the
/// last query lets it go, so that no query loses the ground under its feet.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) path: PathBuf,
    totals: Mutex<Totals>,
    removed: AtomicBool,
}

impl Segment {
    pub(super) fn new(dir: &Path, name: SegmentName, totals: Totals) -> Self {
        let path = dir.join(name.to_string());
        Self {
            name,
            path,
            totals: Mutex::new(totals),
            removed: AtomicBool::new(false),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        *self.lock()
    }

    pub(super) fn set_totals(&self, totals: Totals) {
        *self.lock() = totals;
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // The value is copied in and out whole: a panic elsewhere cannot leave it half written.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of its files now.
    pub(super) fn bytes(&self) -> u64 {
        FILES
            .iter()
            .map(|suffix| file_len(&self.with_suffix(suffix)))
            .sum()
    }

    /// Gives it up: its files go when nobody reads them any more.
    pub(super) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Where its kept packets are.
    pub(super) fn packets_path(&self) -> PathBuf {
        self.with_suffix(PACKETS)
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if !self.is_removed() {
            return;
        }
        // The database goes first: without it, what is left over means nothing.
        for suffix in FILES {
            let path = self.with_suffix(suffix);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    // It comes back at the next start, and retention tries again.
                    tracing::warn!(path = %path.display(), %error, "failed to remove an old segment");
                }
                _ => {}
            }
        }
    }
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

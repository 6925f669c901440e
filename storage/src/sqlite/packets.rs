//! Kept packets: a file beside each segment, to which chunks are appended as they are.
//!
//! In SQLite each byte would be written twice, log and database, and summed up on the way, which costs
//! five times as much. The file has no structure of its own: table `packet_chunk` says where a chunk
//! lies; it begins at a page. Chunks are durable before the transaction that names them; what a crash left
//! behind them is overwritten.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flowtap_flow::flow::FlowId;
use flowtap_flow::kept::{PacketChunk, records};
use flowtap_flow::packet::RawPacket;
use flowtap_flow::query::{Cancel, TimeRange};
use flowtap_flow::timestamp::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::bloom;
use super::direct::{DirectFile, padded};
use super::pool::{SegmentError, Snapshot};
use super::read::IdSet;
use super::zone::Times;

/// Wanted flows for which a chunk's filter is asked; with more, some one of them is in most chunks.
const FILTER_LIMIT: usize = 256;

/// The file of the segment being written.
#[derive(Debug)]
pub(super) struct PacketFile {
    path: PathBuf,
    /// Made with the first packet.
    file: Option<DirectFile>,
    /// Where the next chunk begins.
    end: u64,
    /// The number of the last chunk.
    last: i64,
    /// Chunks that were appended and not saved.
    appended: Vec<Appended>,
}

/// What table `packet_chunk` says of a chunk.
#[derive(Debug)]
struct Appended {
    length: u64,
    time: TimeRange,
    uuids: Vec<u8>,
}

impl PacketFile {
    /// The file that `connection`'s segment has at `path`, or will have.
    pub(super) fn new(connection: &Connection, path: PathBuf) -> rusqlite::Result<Self> {
        let sql = "SELECT id, begin + length FROM packet_chunk ORDER BY id DESC LIMIT 1";
        let last = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
        let (last, end) = last.optional()?.unwrap_or_default();
        Ok(Self {
            path,
            file: None,
            end: padded(end.cast_unsigned()),
            last,
            appended: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `chunks`, and makes them durable. Nothing knows of them before [`PacketFile::save`].
    ///
    /// What a full disk has cut short is given back: others need the space.
    pub(super) fn append<'a>(&mut self, chunks: impl Iterator<Item = &'a PacketChunk>) -> io::Result<()> {
        self.appended.clear();
        let appended = self.write(chunks);
        if let (Err(_), Some(file)) = (&appended, &self.file) {
            // Whether it can or not: the next chunk is written there.
            _ = file.set_len(self.end);
        }
        appended
    }

    fn write<'a>(&mut self, chunks: impl Iterator<Item = &'a PacketChunk>) -> io::Result<()> {
        let mut pieces = Vec::new();
        for chunk in chunks {
            let Some(time) = chunk.time() else { continue };
            let length = chunk.bytes().len() as u64;
            let uuids = bloom::build(chunk.uuids().iter().map(|uuid| uuid.0));
            self.appended.push(Appended { length, time, uuids });
            pieces.push(chunk.bytes());
        }
        if !pieces.is_empty() {
            let end = self.end;
            let file = self.file()?;
            file.write_all_at(&pieces, end)?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Notes where the chunks are that [`PacketFile::append`] wrote last, in the open transaction.
    pub(super) fn save(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare_cached("INSERT INTO packet_chunk VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for Appended { length, time, uuids } in self.appended.drain(..) {
            self.last += 1;
            statement.execute(params![
                self.last,
                self.end.cast_signed(),
                length.cast_signed(),
                time.from.nanos(),
                time.to.nanos(),
                uuids,
            ])?;
            self.end += padded(length);
        }
        Ok(())
    }

    fn file(&mut self) -> io::Result<&DirectFile> {
        if self.file.is_none() {
            let file = DirectFile::open(&self.path)?;
            // A new name is durable with its directory.
            if let Some(directory) = self.path.parent() {
                File::open(directory)?.sync_all()?;
            }
            self.file = Some(file);
        }
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// First and last time of all packets of a segment.
pub(super) fn range(connection: &Connection) -> rusqlite::Result<Option<TimeRange>> {
    let sql = "SELECT min(min_time), max(max_time) FROM packet_chunk";
    let (from, to): (Option<i64>, Option<i64>) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(from.zip(to).map(|(from, to)| TimeRange {
        from: Timestamp::from_nanos(from),
        to: Timestamp::from_nanos(to),
    }))
}

/// Visits all packets in `time` that a segment has of the flows `wanted`, which live in `lives`.
pub(super) fn visit(
    snapshot: &Snapshot<'_>,
    wanted: &IdSet,
    lives: &Times,
    time: TimeRange,
    cancel: &Cancel,
    visit: &mut dyn FnMut(FlowId, RawPacket) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, SegmentError> {
    let mut file = None;
    let mut bytes = Vec::new();
    let mut statement = snapshot.connection.prepare_cached(
        "SELECT begin, length, min_time, max_time, uuids FROM packet_chunk
         WHERE min_time <= ?1 AND max_time >= ?2 ORDER BY id DESC",
    )?;
    let mut rows = statement.query([time.to.nanos(), time.from.nanos()])?;
    while let Some(row) = rows.next()? {
        cancel.check()?;
        let [first, last] = [row.get(2)?, row.get(3)?].map(Timestamp::from_nanos);
        if !lives.overlap(first, last) {
            continue;
        }
        let filter = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
        let is_here = |uuid: &FlowId| bloom::may_have(filter, uuid.0);
        if wanted.len() <= FILTER_LIMIT && !wanted.iter().any(is_here) {
            continue;
        }
        let file = match &mut file {
            Some(file) => file,
            none => none.insert(File::open(snapshot.packets)?),
        };
        let begin: i64 = row.get(0)?;
        let length: u32 = row.get(1)?;
        bytes.resize(length as usize, 0);
        file.read_exact_at(&mut bytes, begin.cast_unsigned())?;
        for record in records(&bytes) {
            let record = record.map_err(|_| SegmentError::DamagedPackets(begin))?;
            if time.contains(record.timestamp)
                && wanted.contains(&record.uuid)
                && visit(record.uuid, record.packet()).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

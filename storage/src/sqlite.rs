//! Flows in SQLite, one file per hour.
//!
//! - A *segment* (`seg-YYYYMMDDHH.db`, UTC) holds what arrived in one hour by the clock, not by packet
//!   time: a recording of years ago is kept as long as anything else that came today. It stands alone,
//!   with its own dictionary, and retention unlinks it whole; there is no `DELETE`. Kept packets are in a
//!   file beside it, `seg-YYYYMMDDHH.db-packets` (see `packets`).
//! - `catalog.db` holds what the sealed segments contain, the topology's history, and what users
//!   declared.
//! - `flowtap.lock` keeps a second process out.
//!
//! A batch is one transaction in WAL mode with `synchronous=FULL`. The current segment has no index
//! but zones (see `zone`); when its hour is over it is sealed: a thread of its own adds the indexes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use flowtap_flow::query::{Batch, TimeRange};
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Graph;

use crate::error::StoreError;
use crate::stats::StoreStats;
use crate::store::FlowStore;

mod append;
mod block;
mod blocks;
mod bloom;
mod catalog;
mod columns;
mod dictionary;
mod direct;
mod find;
mod keys;
mod lock;
mod metrics;
mod name;
mod narrow;
mod packets;
mod pool;
mod read;
mod resources;
mod row;
mod scan;
mod schema;
mod seal;
mod segment;
mod topology;
mod zone;

#[cfg(test)]
mod tests;

use append::SegmentWriter;
use catalog::Catalog;
use lock::DirectoryLock;
use name::SegmentName;
use pool::Pool;
use seal::Sealer;
use segment::{Segment, Totals};
use topology::Retention;

pub use resources::{Resource, Resources};
pub use topology::SqliteHistory;

/// How much a [`SqliteStore`] keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Segments that ended longer ago go; `None` keeps them.
    pub retention_age: Option<Duration>,
    /// The oldest segments go while all together are larger than this; `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// A segment that has grown to this size ends before its hour does, so that retention by bytes has
    /// something to remove on a busy host.
    pub segment_bytes: u64,
    /// Unfinished flows whose rows are remembered, 24 bytes each. Beyond it, each update of a flow
    /// takes a row of its own: more bytes, same answers.
    pub open_flows: usize,
    /// Revisions of nodes and edges that the topology's history keeps, some 2 KiB each. Beyond it, the
    /// oldest go before their age.
    pub history_revisions: u64,
    /// Intervals of metrics that it keeps, some 250 bytes each: a week of 100 interfaces that are never
    /// still. Beyond it, the oldest go before their age.
    pub history_intervals: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            retention_age: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: Some(20 << 30),
            segment_bytes: 2 << 30,
            open_flows: 1 << 20,
            history_revisions: 1_000_000,
            history_intervals: 2_000_000,
        }
    }
}

/// Flows in SQLite. One thread appends; any number read.
#[derive(Debug)]
pub struct SqliteStore {
    dir: PathBuf,
    options: SqliteOptions,
    catalog: Arc<Catalog>,
    /// Oldest first. Taken briefly: queries copy what they need.
    segments: RwLock<Vec<Arc<Segment>>>,
    pool: Pool,
    writer: Mutex<Writer>,
    stats: Mutex<Counters>,
    // Let go of last, when no connection is open any more.
    lock: Arc<DirectoryLock>,
}

/// What only the appending thread touches.
#[derive(Debug)]
struct Writer {
    current: Option<SegmentWriter>,
    /// Which segment is current, also while it is closed after an error.
    name: Option<SegmentName>,
    sealer: Sealer,
    #[cfg(test)]
    page_limit: Option<u32>,
}

/// The part of [`StoreStats`] that counts since the start.
#[derive(Debug, Default)]
struct Counters {
    failures: u64,
    segments_removed: u64,
    write_duration: crate::stats::Histogram,
}

impl SqliteStore {
    /// Opens the store in `dir`, or makes it. What a crash left is recovered: every batch is there
    /// whole or not at all.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Io`] if the directory cannot be written, and
    /// [`StoreError::Database`], which names the file, if one is damaged.
    pub fn open(dir: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|source| {
            // The system says "File exists" of a file that stands where a directory should.
            let source = match source.kind() {
                io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
                _ => source,
            };
            StoreError::io("create", dir, source)
        })?;
        let lock = Arc::new(DirectoryLock::take(dir)?);
        let catalog = Arc::new(Catalog::open(dir)?);
        let segments = load_segments(dir, &catalog)?;
        let sealer = Sealer::start(Arc::clone(&catalog))
            .map_err(|source| StoreError::io("start the sealing thread of", dir, source))?;
        let writer = Writer {
            current: None,
            name: None,
            sealer,
            #[cfg(test)]
            page_limit: None,
        };
        Ok(Self {
            dir: dir.to_owned(),
            options,
            catalog,
            segments: RwLock::new(segments),
            pool: Pool::default(),
            writer: Mutex::new(writer),
            stats: Mutex::default(),
            lock,
        })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts to write down what `graph` becomes, kept as long as flows are. Once for a store: two would
    /// write each change twice.
    ///
    /// # Errors
    /// [`StoreError::Database`], and [`StoreError::Io`] if there is no thread to be had.
    pub fn record_topology(&self, graph: Arc<Graph>) -> Result<SqliteHistory, StoreError> {
        let retention = Retention {
            age: self.options.retention_age,
            revisions: self.options.history_revisions,
            intervals: self.options.history_intervals,
        };
        let path = self.catalog.path().to_owned();
        SqliteHistory::start(path, graph, retention, Arc::clone(&self.lock))
    }

    /// What users declared.
    #[must_use]
    pub fn resources(&self) -> Resources {
        Resources::new(Arc::clone(&self.catalog), Arc::clone(&self.lock))
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Segments with flows in `time`, newest first.
    fn overlapping(&self, time: TimeRange) -> Vec<Arc<Segment>> {
        let overlaps = |segment: &&Arc<Segment>| {
            segment
                .totals()
                .range
                .is_some_and(|range| time.overlaps(range.from, range.to))
        };
        self.segments().iter().rev().filter(overlaps).cloned().collect()
    }

    fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic while writing rolls its transaction back and leaves a closed or whole writer.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, now: Timestamp, batches: &[&Batch]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        // Taken out: it comes back only if it still knows what its file holds.
        let mut current = self.current(&mut writer, now)?;
        #[cfg(test)]
        if let Some(pages) = writer.page_limit {
            current.limit_pages(pages);
        }
        current.write(batches)?;
        writer.current = Some(current);
        Ok(())
    }

    /// The segment for what arrives at `now`, ready to be written.
    fn current(&self, writer: &mut Writer, now: Timestamp) -> Result<SegmentWriter, StoreError> {
        let name = self.name_at(writer.name, now);
        let before = writer.current.take();
        if let Some(before) = before {
            if writer.name == Some(name) {
                return Ok(before);
            }
            // Its connection must be closed before another thread may seal it.
            drop(before);
        }
        let segment = match self.segments().iter().find(|segment| segment.name == name) {
            Some(segment) => Arc::clone(segment),
            None => Arc::new(Segment::new(&self.dir, name, Totals::default())),
        };
        let opened = SegmentWriter::open(Arc::clone(&segment), self.options.open_flows)?;
        if writer.name != Some(name) {
            writer.name = Some(name);
            self.add(segment);
            self.seal_all_but(name, &writer.sealer);
        }
        Ok(opened)
    }

    /// The name of the segment for what arrives at `now`, given the current one. A sealed segment is
    /// never written again, and a clock that steps back a little does not matter.
    fn name_at(&self, current: Option<SegmentName>, now: Timestamp) -> SegmentName {
        let mut name = SegmentName::at(now);
        let segments = self.segments();
        if let Some(current) = current {
            let near = (0..=1).contains(&(current.hour - name.hour));
            let segment = segments.iter().find(|segment| segment.name == current);
            let full = segment.is_some_and(|segment| segment.bytes() >= self.options.segment_bytes);
            if near && !full {
                return current;
            }
            if near {
                name = current.next_part();
            }
        }
        let taken = |name| match segments.iter().find(|segment| segment.name == name) {
            Some(segment) => segment.totals().sealed || segment.bytes() >= self.options.segment_bytes,
            // Removed, but still being read.
            None => self.dir.join(name.to_string()).exists(),
        };
        while taken(name) {
            name = name.next_part();
        }
        name
    }

    fn add(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(place) = segments.binary_search_by_key(&segment.name, |segment| segment.name) {
            segments.insert(place, segment);
        }
    }

    fn seal_all_but(&self, current: SegmentName, sealer: &Sealer) {
        for segment in self.segments() {
            if segment.name != current && !segment.totals().sealed {
                sealer.seal(segment);
            }
        }
    }

    /// Takes a segment out of every list; its file goes with the last query that reads it.
    fn remove(&self, segment: &Segment) -> Result<(), StoreError> {
        self.catalog.remove(segment)?;
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.retain(|other| other.name != segment.name);
        drop(segments);
        self.pool.forget(segment.name);
        self.counters().segments_removed += 1;
        Ok(())
    }

    /// Waits until all segments but the current one have their indexes.
    #[cfg(test)]
    fn finish_sealing(&self) {
        let mut writer = self.writer();
        writer.sealer.finish();
        writer.sealer = Sealer::start(Arc::clone(&self.catalog)).unwrap();
    }

    /// Lets each segment have no more than `pages` pages: a full disk.
    #[cfg(test)]
    fn limit_pages(&self, pages: u32) {
        self.writer().page_limit = Some(pages);
    }
}

impl FlowStore for SqliteStore {
    fn append(&self, now: Timestamp, batches: &[&Batch]) -> Result<(), StoreError> {
        let started = Instant::now();
        let written = self.write(now, batches);
        let mut counters = self.counters();
        match &written {
            Ok(()) => counters.write_duration.observe(started.elapsed()),
            Err(_) => counters.failures += 1,
        }
        written
    }

    fn retain(&self, now: Timestamp) -> Result<usize, StoreError> {
        let segments = self.segments();
        // Before the first batch since the start, the newest may become the current one.
        let current = self.writer().name.or(segments.last().map(|segment| segment.name));
        let candidates = segments
            .into_iter()
            .filter(|segment| Some(segment.name) != current);
        // The catalog has bounds of its own: flows must not go for it.
        let mut bytes: u64 = self.segments().iter().map(|segment| segment.bytes()).sum();
        let mut removed = 0;
        for segment in candidates {
            let too_old = self
                .options
                .retention_age
                .is_some_and(|age| segment.name.end() < now.minus(age));
            let too_much = self.options.retention_bytes.is_some_and(|limit| bytes > limit);
            if too_old || too_much {
                let size = segment.bytes();
                self.remove(&segment)?;
                bytes = bytes.saturating_sub(size);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn stats(&self) -> StoreStats {
        let mut stats = StoreStats {
            bytes_on_disk: self.catalog.bytes(),
            ..StoreStats::default()
        };
        for segment in self.segments() {
            let totals = segment.totals();
            stats.flows += totals.flows;
            stats.updates += totals.updates;
            stats.raw_packets += totals.raw_packets;
            stats.raw_bytes += totals.raw_bytes;
            stats.bytes_on_disk += segment.bytes();
            stats.segments += 1;
            let start = totals.range.map(|range| range.from);
            stats.oldest = [stats.oldest, start].into_iter().flatten().min();
        }
        let counters = self.counters();
        stats.failures = counters.failures;
        stats.segments_removed = counters.segments_removed;
        stats.write_duration = counters.write_duration.clone();
        stats
    }
}

/// The segments in `dir`, oldest first. One that was not sealed is opened, which recovers it, and asked
/// what it holds.
fn load_segments(dir: &Path, catalog: &Catalog) -> Result<Vec<Arc<Segment>>, StoreError> {
    let failed = |source| StoreError::io("list", dir, source);
    let (mut names, mut with_packets) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let file = entry.map_err(failed)?.file_name();
        let Some(file) = file.to_str() else { continue };
        names.extend(SegmentName::parse(file));
        with_packets.extend(file.strip_suffix(segment::PACKETS).and_then(SegmentName::parse));
    }
    names.sort_unstable();
    // A segment that was being removed; without it, nobody can tell what its packets are.
    for name in with_packets.iter().filter(|name| !names.contains(name)) {
        let path = Segment::new(dir, *name, Totals::default()).packets_path();
        std::fs::remove_file(&path).map_err(|source| StoreError::io("remove", &path, source))?;
    }
    catalog.prune(&names)?;
    let mut segments = Vec::with_capacity(names.len());
    for name in names {
        if let Some(totals) = catalog.find(name)? {
            segments.push(Arc::new(Segment::new(dir, name, totals)));
            continue;
        }
        let path = dir.join(name.to_string());
        let connection = schema::open(&path, schema::SEGMENT)?;
        let totals =
            Totals::load(&connection).map_err(|source| StoreError::database("read", &path, source))?;
        let segment = Segment::new(dir, name, totals);
        if totals.sealed {
            // The process ended between the seal and its note.
            catalog.add(&segment)?;
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

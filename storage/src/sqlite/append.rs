//! Writing into one segment.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use flowtap_flow::flow::{FinishType, Flow, FlowMetric};
use flowtap_flow::kept::PacketChunk;
use flowtap_flow::query::{Batch, FlowUpdate, TimeRange};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};

use super::block::Block;
use super::columns::{self, Buffer, TextIds};
use super::dictionary::{Dictionary, Slot};
use super::keys::Keys;
use super::packets::PacketFile;
use super::row::FlowStatement;
use super::segment::{Segment, Totals};
use super::zone::{Kind, Zones};
use super::{schema, zone};
use crate::error::StoreError;

/// The segment being written: its connection, and what is remembered between batches.
///
/// After an error it no longer knows what the file holds: drop it and [`SegmentWriter::open`] anew.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    pub(super) segment: Arc<Segment>,
    connection: Connection,
    /// Pages that the connection remembers.
    cache: usize,
    packets: PacketFile,
    memory: Memory,
}

/// Pages remembered at most: 64 MiB.
const MOST_CACHE: usize = 8_192;

/// What is remembered between batches.
#[derive(Debug)]
struct Memory {
    dictionary: Dictionary,
    /// UUIDs of unfinished flows with rows in this segment, and those rows: 24 bytes each.
    open_flows: HashMap<u64, i64, RandomState>,
    open_flows_limit: usize,
    last_flow: i64,
    last_metric: i64,
    flow_zones: Zones,
    metric_zones: Zones,
    totals: Totals,
    /// Empty between batches, as are its keys.
    block: Block,
    keys: Keys,
    buffer: Buffer,
}

impl SegmentWriter {
    /// Opens or makes the segment's file. Flows that an earlier process left unfinished get new rows
    /// when they go on, and readers take the newest.
    pub(super) fn open(segment: Arc<Segment>, open_flows_limit: usize) -> Result<Self, StoreError> {
        let connection = schema::open(&segment.path, schema::SEGMENT)?;
        let failed = |source| StoreError::database("read", &segment.path, source);
        let memory = Memory::load(&connection, open_flows_limit).map_err(failed)?;
        let packets = PacketFile::new(&connection, segment.packets_path()).map_err(failed)?;
        Ok(Self {
            segment,
            connection,
            cache: schema::LEAST_CACHE,
            packets,
            memory,
        })
    }

    /// Writes all of `batches`, or nothing.
    pub(super) fn write(&mut self, batches: &[&Batch]) -> Result<(), StoreError> {
        let chunks = || batches.iter().flat_map(|batch| &batch.kept).map(|chunk| &**chunk);
        let appended = self.packets.append(chunks());
        appended.map_err(|source| StoreError::io("write", self.packets.path(), source))?;
        self.commit(batches, chunks)
            .map_err(|source| StoreError::database("write", &self.segment.path, source))?;
        self.segment.set_totals(self.memory.totals);
        Ok(())
    }

    fn commit<'a, C: Iterator<Item = &'a PacketChunk>>(
        &mut self,
        batches: &[&Batch],
        chunks: impl Fn() -> C,
    ) -> rusqlite::Result<()> {
        self.fit_cache()?;
        let transaction = self.connection.transaction()?;
        self.packets.save(&transaction)?;
        chunks().for_each(|chunk| self.memory.totals.count_packets(chunk));
        self.memory.write(&transaction, batches)?;
        transaction.commit()
    }

    /// Makes room for the pages of the flows that are still being replaced, each of which may be on one of its own.
    /// Nobody comes back to the others, and memory that is new costs more than what is written to it.
    fn fit_cache(&mut self) -> rusqlite::Result<()> {
        let wanted = self.memory.open_flows.len().min(MOST_CACHE).next_power_of_two();
        if wanted > self.cache {
            schema::set_cache(&self.connection, wanted)?;
            self.cache = wanted;
        }
        Ok(())
    }

    /// Lets the file have no more than `pages` pages from now on.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        let sql = "max_page_count";
        self.connection
            .pragma_update_and_check(None, sql, pages, |row| row.get::<_, i64>(0))
            .unwrap();
    }
}

impl Memory {
    fn load(connection: &Connection, open_flows_limit: usize) -> rusqlite::Result<Self> {
        let last = |table: &str, column: &str| -> rusqlite::Result<i64> {
            let sql = format!("SELECT {column} FROM {table} ORDER BY id DESC LIMIT 1");
            let found = connection.query_row(&sql, [], |row| row.get(0)).optional()?;
            Ok(found.unwrap_or(0))
        };
        Ok(Self {
            dictionary: Dictionary::load(connection)?,
            open_flows: HashMap::default(),
            open_flows_limit,
            last_flow: last("flow", "id")?.max(last("flow_block", "last")?),
            last_metric: last("metric", "id")?,
            flow_zones: Zones::load(connection, Kind::Flow)?,
            metric_zones: Zones::load(connection, Kind::Metric)?,
            totals: Totals::load(connection)?,
            block: Block::default(),
            keys: Keys::default(),
            buffer: Buffer::default(),
        })
    }

    fn write(&mut self, transaction: &Transaction<'_>, batches: &[&Batch]) -> rusqlite::Result<()> {
        let mut statements = Statements::prepare(transaction)?;
        for update in batches.iter().flat_map(|batch| &batch.updates) {
            self.write_update(&mut statements, update)?;
        }
        self.write_block(&mut statements)?;
        self.flow_zones.save(transaction)?;
        self.metric_zones.save(transaction)?;
        self.totals.range = TimeRange::union(self.totals.range, self.flow_zones.range());
        self.totals.save(transaction)
    }

    fn write_update(&mut self, statements: &mut Statements<'_>, update: &FlowUpdate) -> rusqlite::Result<()> {
        let flow = &update.flow;
        let finished = flow.finish_type != FinishType::NotFinished;
        // Its totals are its one interval. Most flows are short, and never heard of again.
        let whole = update.first && update.interval == flow.metric;
        let id = self.flow_number(statements, update, finished || whole)?;
        let texts = self.text_ids(statements, flow)?;
        if whole && self.block_ends_before(id) {
            self.write_block(statements)?;
        }
        let values = columns::of_flow(id, flow, texts, &mut self.buffer)?;
        if whole {
            self.block.push(id, &values);
            self.keys.add(flow);
        } else {
            statements.flow.execute(&values)?;
            self.write_metric(statements, id, &update.interval)?;
        }
        self.flow_zones.cover(id, flow.start.nanos(), flow.last.nanos());
        self.totals.updates += 1;
        Ok(())
    }

    /// The number for this update: a new one, or that of the flow's row in this segment, which then is
    /// replaced. What is in a block stays as it is: it is `settled`, as what is finished.
    fn flow_number(
        &mut self,
        statements: &mut Statements<'_>,
        update: &FlowUpdate,
        settled: bool,
    ) -> rusqlite::Result<i64> {
        let uuid = update.flow.uuid.0;
        // A flow that begins again was sent twice, and its row holds what is older.
        let known = if settled || update.first {
            self.open_flows.remove(&uuid)
        } else {
            self.open_flows.get(&uuid).copied()
        };
        if let Some(id) = known.filter(|_| !update.first) {
            return Ok(id);
        }
        self.last_flow += 1;
        let id = self.last_flow;
        if update.first {
            self.totals.flows += 1;
        } else {
            statements.continued.execute([id, uuid.cast_signed()])?;
        }
        // A flow that finds the map full gets a new row with each update: more bytes, same answers.
        if !settled && self.open_flows.len() < self.open_flows_limit {
            self.open_flows.insert(uuid, id);
        }
        Ok(id)
    }

    fn text_ids(&mut self, statements: &mut Statements<'_>, flow: &Flow) -> rusqlite::Result<TextIds> {
        let mut id = |slot, text| self.dictionary.id(slot, text, &mut statements.dictionary);
        Ok(TextIds {
            application: id(Slot::Application, &flow.application)?,
            layers: id(Slot::Layers, &flow.layers_path)?,
            node: id(Slot::Node, &flow.node_tid)?,
            capture: id(Slot::Capture, &flow.capture_id)?,
        })
    }

    /// Whether flow `id` goes into another block than those before it.
    fn block_ends_before(&self, id: i64) -> bool {
        self.block.is_full() || self.block.first().is_some_and(|first| !zone::is_same(first, id))
    }

    fn write_block(&mut self, statements: &mut Statements<'_>) -> rusqlite::Result<()> {
        if let Some((first, last, data)) = self.block.filled() {
            let keys = self.keys.take_filter();
            statements.flow_block.execute(params![first, last, keys, data])?;
            self.block.clear();
        }
        Ok(())
    }

    fn write_metric(
        &mut self,
        statements: &mut Statements<'_>,
        flow: i64,
        interval: &FlowMetric,
    ) -> rusqlite::Result<()> {
        if interval.ab_packets == 0 && interval.ba_packets == 0 {
            return Ok(());
        }
        self.last_metric += 1;
        let (start, last) = (interval.start.nanos(), interval.last.nanos());
        statements.metric.execute([
            self.last_metric,
            flow,
            start,
            last,
            interval.ab_packets.cast_signed(),
            interval.ab_bytes.cast_signed(),
            interval.ba_packets.cast_signed(),
            interval.ba_bytes.cast_signed(),
            interval.rtt.cast_signed(),
        ])?;
        self.metric_zones.cover(self.last_metric, start, last);
        Ok(())
    }
}

/// Prepared once a connection, taken once a batch.
struct Statements<'c> {
    flow: FlowStatement<'c>,
    flow_block: CachedStatement<'c>,
    continued: CachedStatement<'c>,
    metric: CachedStatement<'c>,
    dictionary: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            flow: FlowStatement::prepare(connection)?,
            flow_block: connection.prepare_cached("INSERT INTO flow_block VALUES (?1, ?2, ?3, ?4)")?,
            continued: connection.prepare_cached("INSERT INTO continued VALUES (?1, ?2)")?,
            metric: connection
                .prepare_cached("INSERT INTO metric VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?,
            dictionary: Dictionary::insert_statement(connection)?,
        })
    }
}

//! The flow table: one entry for each flow at each capture point, shared by all readers and queries.
//!
//! The thread that reads packets decodes them and updates the table itself. A batch goes through
//! short loops: decode, hash (and ask for the flow's memory), table. What leaves the table goes to an
//! [`UpdateSink`]: each update interval, at a flow's end, at eviction, at stop.
//!
//! Locks: the map's 64 shards, of which one is locked at a time, or all at once by a batch of packets (see
//! `map.rs`). Before them comes `moving`, see [`FlowTable`].

mod ended;
mod evict;
mod extra;
mod fragments;
mod keep;
mod leaving;
mod map;
mod point;
mod points;
mod prefetch;
mod reader;
mod sink;
mod slots;
mod state;
mod tcp;
mod tick;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::kept::RawBudget;
use crate::ledger::Ledger;
use crate::packet::Sink;
use crate::point::{PointOptions, Points};
use crate::query::UpdateSink;

use leaving::{Counters, Leaving};
use map::{FlowMap, SHARDS};
use point::Point;
use points::PointList;
use sink::PointSink;

/// How the table behaves.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions {
    /// The most flows held; a further one evicts another to the store. 458,752 are 7,168 in each of 64
    /// shards: 152 bytes a flow and some 30 of index, 85 MB in all, and up to a quarter more of unused
    /// slots. What a flow that goes on has beside that is 136 bytes.
    pub max_flows: usize,
    /// How long an update interval lasts: a flow that goes on is handed to the store once in each.
    pub update_interval: Duration,
    /// After how long a silence a flow has ended; at most [`TableOptions::LONGEST_EXPIRY`].
    pub expire_after: Duration,
}

impl TableOptions {
    /// Twelve hours: a flow notes when it was last seen in 16 bits of seconds.
    pub const LONGEST_EXPIRY: Duration = Duration::from_secs(12 * 3600);
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            max_flows: 458_752,
            update_interval: Duration::from_secs(60),
            expire_after: Duration::from_secs(600),
        }
    }
}

/// The table at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TableStats {
    /// Flows held now.
    pub flows: u64,
    /// The most it holds.
    pub max_flows: u64,
    /// Flows ever begun.
    pub begun: u64,
    /// Flows that ended by silence.
    pub expired: u64,
    /// Flows that ended by FIN or RST.
    pub finished: u64,
    /// Flows handed to the store before their end because the table was full.
    pub evicted: u64,
    /// Updates handed to the store.
    pub updates: u64,
    /// Bytes of kept packets that no store has yet.
    pub raw_packets_bytes: u64,
}

/// See the [module's documentation](self).
pub struct FlowTable {
    options: TableOptions,
    flows: FlowMap,
    shard_capacity: usize,
    points: RwLock<PointList>,
    updates: Arc<dyn UpdateSink>,
    counters: Counters,
    next_shard: AtomicUsize,
    /// The wall's time at the first tick, in seconds, and how far it has come since.
    first_tick: OnceLock<i64>,
    clock: AtomicU64,
    /// Held for reading from before updates are taken out of the map until they are sent, and never
    /// while a sender waits: whoever gets it for writing knows that nothing is between the two.
    moving: RwLock<()>,
}

impl FlowTable {
    /// An empty table that hands updates to `updates`.
    #[must_use]
    pub fn new(options: TableOptions, updates: Arc<dyn UpdateSink>) -> Arc<Self> {
        Arc::new(Self {
            options,
            flows: FlowMap::new(),
            shard_capacity: options.max_flows.div_ceil(SHARDS).max(1),
            points: RwLock::default(),
            updates,
            counters: Counters::default(),
            next_shard: AtomicUsize::new(0),
            first_tick: OnceLock::new(),
            clock: AtomicU64::new(0),
            moving: RwLock::new(()),
        })
    }

    /// The sinks of one capture. Packets kept count against one budget, whatever the node.
    #[must_use]
    pub fn points(self: &Arc<Self>, options: PointOptions, ledger: Arc<Ledger>) -> Arc<dyn Points> {
        let budget = Arc::new(RawBudget::new(options.raw_budget_bytes));
        Arc::new(CapturePoints {
            table: Arc::clone(self),
            options,
            ledger,
            budget,
        })
    }

    /// Counters and size.
    #[must_use]
    pub fn stats(&self) -> TableStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut budgets: Vec<_> = self
            .point_list()
            .into_iter()
            .map(|point| point.budget.clone())
            .collect();
        budgets.sort_by_key(|budget| Arc::as_ptr(budget) as usize);
        budgets.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let mut shards = self.flows.one_by_one();
        TableStats {
            flows: (0..SHARDS)
                .map(|number| shards.shard(number).flows().slots.len() as u64)
                .sum(),
            max_flows: (self.shard_capacity * SHARDS) as u64,
            begun: load(&self.counters.begun),
            expired: load(&self.counters.expired),
            finished: load(&self.counters.finished),
            evicted: load(&self.counters.evicted),
            updates: load(&self.counters.updates),
            raw_packets_bytes: budgets.iter().map(|budget| budget.used()).sum(),
        }
    }

    /// Seconds since the first tick modulo 2¹⁶.
    fn clock(&self) -> u16 {
        u16::try_from(self.clock.load(Ordering::Relaxed) & 0xffff).unwrap_or_default()
    }

    fn interval_nanos(&self) -> i64 {
        i64::try_from(self.options.update_interval.as_nanos())
            .unwrap_or(i64::MAX)
            .max(1)
    }

    fn expire_nanos(&self) -> i64 {
        let expire_after = self.options.expire_after.min(TableOptions::LONGEST_EXPIRY);
        i64::try_from(expire_after.as_nanos()).unwrap_or(i64::MAX)
    }

    fn point_list(&self) -> Vec<Arc<Point>> {
        self.points.read().unwrap_or_else(PoisonError::into_inner).all()
    }

    fn point(&self, number: u32) -> Option<Arc<Point>> {
        let points = self.points.read().unwrap_or_else(PoisonError::into_inner);
        points.get(number).cloned()
    }

    fn moving(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what has left the map has been sent: readers look here first and at the store
    /// next, and must find every flow in one of them.
    fn settle(&self) {
        drop(self.moving.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl FlowTable {
    /// Hands over what the readers of `point` have kept.
    fn hand_on_kept(&self, point: &Point) {
        let moving = self.moving();
        let mut leaving = Leaving::default();
        for chunk in point.chunks() {
            let mut chunk = chunk.lock();
            if !chunk.is_empty() {
                leaving.batch.kept.push(Arc::new(chunk.take()));
            }
        }
        if leaving.send(self) {
            drop(moving);
            self.updates.wait();
        }
    }
}

struct CapturePoints {
    table: Arc<FlowTable>,
    options: PointOptions,
    ledger: Arc<Ledger>,
    budget: Arc<RawBudget>,
}

impl Points for CapturePoints {
    fn open(&self, node_tid: &str) -> Box<dyn Sink> {
        let opened = {
            let mut points = self.table.points.write().unwrap_or_else(PoisonError::into_inner);
            points.open(node_tid, &self.options, &self.budget)
        };
        let (table, ledger) = (Arc::clone(&self.table), Arc::clone(&self.ledger));
        Box::new(PointSink::new(table, opened, ledger))
    }
}

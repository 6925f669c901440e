//! Capture points as the table knows them: number, options and byte budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::ledger::Ledger;
use crate::point::PointOptions;

/// Bytes that kept packets of one capture hold until a store has them.
#[derive(Debug, Default)]
pub(super) struct RawBudget {
    used: AtomicU64,
    limit: u64,
    /// Set when a packet found no room; the next tick then hands kept packets on early.
    pressed: AtomicBool,
}

impl RawBudget {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// True if `bytes` more fit.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Relaxed) + bytes <= self.limit
    }

    pub(super) fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn is_half_free(&self) -> bool {
        self.used.load(Ordering::Relaxed) <= self.limit / 2
    }

    pub(super) fn press(&self) {
        self.pressed.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_pressed(&self) -> bool {
        self.pressed.swap(false, Ordering::Relaxed)
    }
}

/// One node of one capture.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) number: u32,
    pub(super) node_tid: Arc<str>,
    pub(super) options: PointOptions,
    pub(super) ledger: Arc<Ledger>,
    pub(super) budget: Arc<RawBudget>,
    packets: AtomicU64,
    packets_at_tick: AtomicU64,
    quiet_since: AtomicU64,
}

impl Point {
    pub(super) fn new(
        number: u32,
        node_tid: Arc<str>,
        options: PointOptions,
        ledger: Arc<Ledger>,
        budget: Arc<RawBudget>,
    ) -> Self {
        Self {
            number,
            node_tid,
            options,
            ledger,
            budget,
            packets: AtomicU64::new(0),
            packets_at_tick: AtomicU64::new(0),
            quiet_since: AtomicU64::new(0),
        }
    }

    /// Notes that packets came.
    pub(super) fn count(&self, packets: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
    }

    /// Called at each tick: for how many seconds of the table's clock no packet has come.
    pub(super) fn quiet_for(&self, clock: u64) -> u64 {
        let packets = self.packets.load(Ordering::Relaxed);
        if packets != self.packets_at_tick.swap(packets, Ordering::Relaxed) {
            self.quiet_since.store(clock, Ordering::Relaxed);
        }
        clock.saturating_sub(self.quiet_since.load(Ordering::Relaxed))
    }
}

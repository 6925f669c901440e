//! Capture points as the table knows them: number, options, clock and byte budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::ledger::Ledger;
use crate::point::PointOptions;
use crate::timestamp::Timestamp;

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
    clock: AtomicI64,
    clock_at_tick: AtomicI64,
    idle_since: AtomicI64,
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
            clock: AtomicI64::new(i64::MIN),
            clock_at_tick: AtomicI64::new(i64::MIN),
            idle_since: AtomicI64::new(0),
        }
    }

    /// Notes the time of the newest packet.
    pub(super) fn advance(&self, to: Timestamp) {
        self.clock.fetch_max(to.nanos(), Ordering::Relaxed);
    }

    /// The time that packets of this point have reached, plus how long none has come: for a live
    /// source the clock on the wall, for a replayed file the file's time until it ends, and then on
    /// from there. The second value is how long no packet has come.
    pub(super) fn tick(&self, now: Timestamp) -> PointTime {
        let clock = self.clock.load(Ordering::Relaxed);
        if clock != self.clock_at_tick.swap(clock, Ordering::Relaxed) {
            self.idle_since.store(now.nanos(), Ordering::Relaxed);
        }
        let idle_nanos = now
            .nanos()
            .saturating_sub(self.idle_since.load(Ordering::Relaxed))
            .max(0);
        PointTime {
            now: clock.saturating_add(idle_nanos),
            idle_nanos,
        }
    }
}

/// A point's own time at a tick, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointTime {
    pub(super) now: i64,
    pub(super) idle_nanos: i64,
}

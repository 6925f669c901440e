//! Capture points as the table knows them: number, options, and what their readers keep.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::kept::{PacketChunk, RawBudget};
use crate::point::PointOptions;
use crate::text::Text;

/// What one reader keeps at the moment, where queries can see it. A chunk is whole between any two packets.
pub(super) type OpenChunk = parking_lot::Mutex<PacketChunk>;

/// One node of one capture.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) number: u32,
    pub(super) node_tid: Text,
    pub(super) options: PointOptions,
    pub(super) budget: Arc<RawBudget>,
    /// Of each reader, what it has not handed over.
    chunks: Mutex<Vec<Weak<OpenChunk>>>,
    /// Which of the captures that read at the node at once it is.
    twin: AtomicU32,
    packets: AtomicU64,
    packets_at_tick: AtomicU64,
    quiet_since: AtomicU64,
}

impl Point {
    pub(super) fn new(number: u32, node_tid: Text, options: PointOptions, budget: Arc<RawBudget>) -> Self {
        Self {
            number,
            node_tid,
            options,
            budget,
            chunks: Mutex::default(),
            twin: AtomicU32::new(0),
            packets: AtomicU64::new(0),
            packets_at_tick: AtomicU64::new(0),
            quiet_since: AtomicU64::new(0),
        }
    }

    /// A chunk for one more reader.
    pub(super) fn open_chunk(&self) -> Arc<OpenChunk> {
        let chunk = PacketChunk::new(Some(Arc::clone(&self.budget)));
        let chunk = Arc::new(OpenChunk::new(chunk));
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.retain(|chunk| chunk.strong_count() > 0);
        chunks.push(Arc::downgrade(&chunk));
        chunk
    }

    /// The chunks of its readers.
    pub(super) fn chunks(&self) -> Vec<Arc<OpenChunk>> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().filter_map(Weak::upgrade).collect()
    }

    /// True if somebody reads at it.
    pub(super) fn has_readers(&self) -> bool {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().any(|chunk| chunk.strong_count() > 0)
    }

    pub(super) fn twin(&self) -> u32 {
        self.twin.load(Ordering::Relaxed)
    }

    pub(super) fn set_twin(&self, twin: u32) {
        self.twin.store(twin, Ordering::Relaxed);
    }

    /// The node, as it goes into UUIDs: its TID, as Skydive has it, and what tells twins apart.
    pub(super) fn identity(&self) -> Arc<str> {
        match self.twin() {
            0 => Arc::from(&*self.node_tid),
            twin => format!("{}#{twin}", self.node_tid).into(),
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
        clock.saturating_sub(self.quiet_since())
    }

    /// True if packets came since the last tick.
    pub(super) fn has_news(&self) -> bool {
        self.packets.load(Ordering::Relaxed) != self.packets_at_tick.load(Ordering::Relaxed)
    }

    /// The second of the table's clock since when no packet has come, as of the last tick.
    pub(super) fn quiet_since(&self) -> u64 {
        self.quiet_since.load(Ordering::Relaxed)
    }
}

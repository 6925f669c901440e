//! What a store holds and how it fares.

use std::time::Duration;

use flowtap_flow::timestamp::Timestamp;
use serde::Serialize;

/// What a store holds *durably*: only committed data counts, so that everything reported here is
/// still there after a crash.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StoreStats {
    /// Flows. One that lives on into a later segment counts once.
    pub flows: u64,
    /// Flow updates: the first, the last, and one per interval between.
    pub updates: u64,
    /// Raw packets.
    pub raw_packets: u64,
    /// Captured bytes of the raw packets.
    pub raw_bytes: u64,
    /// Bytes of the store's files.
    pub bytes_on_disk: u64,
    /// Segments: the one being written and those before it.
    pub segments: usize,
    /// Start of the oldest flow, in packet time.
    pub oldest: Option<Timestamp>,
    /// Batches refused since the start.
    pub failures: u64,
    /// Segments that retention removed since the start.
    pub segments_removed: u64,
    /// Time from the start of a batch's transaction until it is durable, since the start.
    pub write_duration: Histogram,
}

/// Durations counted by upper bound, as Prometheus wants them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Observations per bucket, not cumulative; the last one is for all above the highest bound.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// All observations together, in seconds.
    pub sum_seconds: f64,
}

impl Histogram {
    /// Upper bounds of the buckets in seconds.
    pub const BOUNDS: [f64; 12] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    ];

    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = Self::BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts[bucket.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum_seconds += seconds;
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; Self::BOUNDS.len() + 1],
            sum_seconds: 0.0,
        }
    }
}

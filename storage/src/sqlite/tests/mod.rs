//! The store as a whole, on real files.

mod crash;
mod packets;
mod segments;

use flowtap_flow::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, NOON, agrees};
use crate::testing::{self, Model};

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, SqliteOptions::default()).unwrap()
}

/// A store with its directory.
struct Temporary {
    store: SqliteStore,
    _dir: TempDir,
}

impl Temporary {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: open(dir.path()),
            _dir: dir,
        }
    }
}

impl FlowReader for Temporary {
    fn flows(&self, q: &FlowQuery, c: &Cancel, v: &mut FlowVisitor<'_>) -> Result<(), ReadError> {
        self.store.flows(q, c, v)
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        self.store.raw_packets(flows, time, cancel, visit)
    }

    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        self.store.metrics(flows, time, cancel, visit)
    }
}

impl FlowStore for Temporary {
    fn append(&self, now: Timestamp, batches: &[&Batch]) -> Result<(), StoreError> {
        self.store.append(now, batches)
    }

    fn retain(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.store.retain(now)
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}

#[test]
fn conforms() {
    conformance::run(&|| Box::new(Temporary::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Stored answers equal those of the filter itself, whatever lies in which segment, sealed or not.
    #[test]
    fn stored_answers_equal_the_models(
        batches in testing::batches(25),
        per_hour in 1usize..4,
        queries in prop::collection::vec((testing::filter(), testing::time_range()), 30),
        sealed in any::<bool>(),
        restart_at in 0usize..6,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let mut model = Model::default();
        for (number, batch) in batches.iter().enumerate() {
            if number == restart_at {
                drop(store);
                store = open(dir.path());
            }
            let now = NOON.plus(Duration::from_secs(3_600) * u32::try_from(number / per_hour).unwrap());
            store.append(now, &[batch]).unwrap();
            model.add(batch);
        }
        if sealed {
            store.finish_sealing();
        }
        for (filter, time) in queries {
            agrees(&store, &model, &FlowQuery { filter, time })?;
        }
    }
}

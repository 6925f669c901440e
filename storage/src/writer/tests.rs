//! The writer on a real store, and on one that fails when told to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::conformance::{agrees, sample};
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::testing::{self, Model, flows};

const LONG: Duration = Duration::from_secs(60);

/// A real store that refuses batches or panics when told to.
struct Chaos {
    store: SqliteStore,
    refuses: AtomicBool,
    panics: AtomicBool,
    retained: AtomicUsize,
    _dir: TempDir,
}

impl Chaos {
    fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Self {
            store: SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap(),
            refuses: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            retained: AtomicUsize::new(0),
            _dir: dir,
        })
    }

    fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    fn updates(&self) -> usize {
        usize::try_from(self.store.stats().updates).unwrap()
    }
}

impl FlowStore for Chaos {
    fn append(&self, now: Timestamp, batches: &[&Batch]) -> Result<(), StoreError> {
        assert!(!self.panics.load(Ordering::SeqCst), "told to panic");
        if self.refuses.load(Ordering::SeqCst) {
            let path = self.store.dir().to_owned();
            return Err(StoreError::Full {
                path,
                source: Box::new(rusqlite::Error::InvalidQuery),
            });
        }
        self.store.append(now, batches)
    }

    fn retain(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.retained.fetch_add(1, Ordering::SeqCst);
        self.store.retain(now)
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}

impl FlowReader for Chaos {
    fn flows(&self, q: &FlowQuery, c: &Cancel, visit: &mut FlowVisitor<'_>) -> Result<(), ReadError> {
        self.store.flows(q, c, visit)
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

fn start(store: &Arc<Chaos>, options: WriterOptions) -> Arc<StoreWriter> {
    StoreWriter::start(Arc::clone(store) as Arc<dyn FlowStore>, options).unwrap()
}

/// Commits only when a flush or a stop asks for it.
fn patient() -> WriterOptions {
    WriterOptions {
        commit_interval: LONG * 60,
        commit_updates: usize::MAX,
        ..WriterOptions::default()
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Different flows, one a batch.
fn singles(count: u64) -> Vec<Batch> {
    let first = sample().remove(0).updates.remove(0);
    let single = |number| {
        let mut update = first.clone();
        update.flow.uuid.0 = 9_000 + number;
        vec![update].into()
    };
    (0..count).map(single).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever part is stored and whatever part waits, answers are the model's.
    #[test]
    fn queued_and_stored_answer_as_one(
        batches in testing::batches(20),
        stored in 0usize..5,
        queries in prop::collection::vec((testing::filter(), testing::time_range()), 20),
    ) {
        let store = Chaos::new();
        let writer = start(&store, patient());
        let mut model = Model::default();
        for (number, batch) in batches.iter().enumerate() {
            writer.send(&mut batch.clone());
            model.add(batch);
            if number < stored {
                writer.flush(LONG).unwrap();
            }
        }
        for (filter, time) in queries {
            agrees(&*writer, &model, &FlowQuery { filter, time })?;
        }
        writer.stop(LONG).unwrap();
        agrees(&store.store, &model, &FlowQuery::all())?;
    }
}

#[test]
fn a_full_batch_does_not_wait_for_the_interval() {
    let store = Chaos::new();
    let writer = start(
        &store,
        WriterOptions {
            commit_updates: 3,
            ..patient()
        },
    );
    singles(3)
        .into_iter()
        .for_each(|mut batch| writer.send(&mut batch));
    until("three updates are durable", || store.updates() == 3);
    until("the queue is empty", || writer.stats().queued_updates == 0);
    assert_eq!(writer.stats().queued_bytes, 0);
}

#[test]
fn a_lone_update_waits_for_the_interval_only() {
    let store = Chaos::new();
    let options = WriterOptions {
        commit_interval: Duration::from_millis(5),
        ..patient()
    };
    let writer = start(&store, options);
    writer.send(&mut singles(1).remove(0));
    until("the update is durable", || store.updates() == 1);
}

/// Sends as the flow table does.
fn send_and_wait(writer: &StoreWriter, mut batch: Batch) {
    writer.send(&mut batch);
    writer.wait();
}

#[test]
fn who_is_in_no_hurry_leaves_room_to_others() {
    let store = Chaos::new();
    store.refuse(true);
    let options = WriterOptions {
        commit_updates: 2,
        queue_updates: 12,
        ..patient()
    };
    let writer = start(&store, options);
    let (waits, waited) = (Arc::clone(&writer), Arc::new(AtomicUsize::new(0)));
    for mut batch in singles(3) {
        writer.send(&mut batch);
        writer.wait_in_background();
    }
    let background = std::thread::spawn({
        let waited = Arc::clone(&waited);
        move || {
            waits.send(&mut singles(1).remove(0));
            waits.wait_in_background();
            waited.store(1, Ordering::SeqCst);
        }
    });
    until("four are queued", || writer.stats().queued_updates == 4);
    for batch in singles(8) {
        send_and_wait(&writer, batch);
    }
    assert_eq!(writer.stats().queued_updates, 12);
    assert_eq!(
        waited.load(Ordering::SeqCst),
        0,
        "a third of the room is too much for it"
    );
    store.refuse(false);
    background.join().unwrap();
}

#[test]
fn a_store_that_fails_loses_nothing() {
    let store = Chaos::new();
    store.refuse(true);
    let writer = start(
        &store,
        WriterOptions {
            commit_updates: 2,
            queue_updates: 10,
            ..patient()
        },
    );
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = std::thread::spawn({
        let (writer, sent) = (Arc::clone(&writer), Arc::clone(&sent));
        move || {
            for batch in singles(30) {
                send_and_wait(&writer, batch);
                sent.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    until("the queue is full", || writer.stats().queued_updates == 11);
    until("the error shows", || writer.stats().error.is_some());
    let error = writer.stats().error.unwrap();
    assert!(error.starts_with("no space left for"), "{error}");
    // The eleventh sender still waits, and its flow can be seen all the same.
    assert_eq!(sent.load(Ordering::SeqCst), 10);
    assert_eq!(flows(&*writer, &FlowQuery::all()).len(), 11);
    assert!(matches!(
        writer.flush(Duration::ZERO),
        Err(StoreError::Unfinished { updates: 11, .. })
    ));
    store.refuse(false);
    sender.join().unwrap();
    writer.flush(LONG).unwrap();
    assert_eq!(writer.stats().error, None);
    assert_eq!(store.updates(), 30);
    assert_eq!(flows(&store.store, &FlowQuery::all()).len(), 30);
}

#[test]
fn the_queue_is_bound_by_bytes_too() {
    let store = Chaos::new();
    store.refuse(true);
    let writer = start(
        &store,
        WriterOptions {
            queue_bytes: 1,
            ..patient()
        },
    );
    let sender = std::thread::spawn({
        let writer = Arc::clone(&writer);
        move || {
            let send = |batch| send_and_wait(&writer, batch);
            singles(2).into_iter().for_each(send);
        }
    });
    until("the first is queued", || writer.stats().queued_updates == 1);
    store.refuse(false);
    writer.flush(LONG).unwrap();
    until("the second is queued", || writer.stats().queued_updates == 1);
    writer.flush(LONG).unwrap();
    sender.join().unwrap();
    assert_eq!(store.updates(), 2);
}

#[test]
fn a_stop_writes_what_is_queued_and_takes_no_more() {
    let store = Chaos::new();
    let writer = start(&store, patient());
    let mut batches = singles(5).into_iter();
    batches
        .by_ref()
        .take(4)
        .for_each(|mut batch| writer.send(&mut batch));
    writer.stop(LONG).unwrap();
    writer.stop(LONG).unwrap();
    assert_eq!(store.updates(), 4);
    batches.for_each(|mut batch| writer.send(&mut batch));
    assert_eq!(writer.stats().refused_updates, 1);
    assert_eq!(store.updates(), 4);
}

#[test]
fn few_updates_at_a_time_go_together_unless_somebody_looks_at_them() {
    let queue = Queue::new(patient());
    let send = |count| singles(count).iter_mut().for_each(|batch| queue.send(batch));
    send(5);
    let looked_at = queue.pending();
    assert_eq!((looked_at.len(), looked_at[0].updates.len()), (1, 5));
    send(3);
    assert_eq!(looked_at[0].updates.len(), 5, "what is lent stays as it is");
    let sizes = || {
        queue
            .pending()
            .iter()
            .map(|batch| batch.updates.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(), [5, 3]);
    send(2 * Batch::UPDATES as u64);
    assert_eq!(sizes(), [5, Batch::UPDATES, Batch::UPDATES, 3]);
    assert_eq!(queue.stats().queued_updates, 8 + 2 * Batch::UPDATES);
    let mut long = Batch::from(
        singles(Batch::UPDATES as u64)
            .into_iter()
            .flat_map(|batch| batch.updates)
            .collect::<Vec<_>>(),
    );
    queue.send(&mut long);
    assert_eq!(sizes().last(), Some(&Batch::UPDATES));
    assert!(long.is_empty());
}

#[test]
fn packets_that_wait_go_to_the_store_in_pieces() {
    let chunk = sample().into_iter().find_map(|batch| batch.kept.first().cloned());
    let chunk = chunk.expect("a batch with packets");
    // Chunks of each batch that is lent at a time.
    let lent = |commit_bytes| {
        let queue = Queue::new(WriterOptions {
            commit_bytes,
            ..patient()
        });
        for _ in 0..40 {
            queue.send(&mut Batch {
                kept: vec![Arc::clone(&chunk)],
                ..Batch::default()
            });
        }
        queue.hasten();
        let mut lent = Vec::new();
        while !queue.is_empty() {
            let batches = queue.next(Instant::now() + LONG).expect("it is not closed");
            lent.push(batches.iter().map(|batch| batch.kept.len()).collect::<Vec<_>>());
            queue.stored(batches.len());
        }
        lent
    };
    let length = chunk.bytes().len();
    assert_eq!(lent(length * 16), [vec![16, 16], vec![8]]);
    assert_eq!(lent(1), [[16], [16], [8]], "no less than a batch");
    assert_eq!(lent(usize::MAX), [[16, 16, 8]]);
}

#[test]
fn a_dropped_writer_leaves_nothing_behind() {
    let store = Chaos::new();
    let writer = start(&store, patient());
    singles(3)
        .into_iter()
        .for_each(|mut batch| writer.send(&mut batch));
    drop(writer);
    assert_eq!(store.updates(), 3);
}

#[test]
fn a_stop_that_cannot_finish_says_what_was_left() {
    let store = Chaos::new();
    store.refuse(true);
    let writer = start(&store, patient());
    singles(3)
        .into_iter()
        .for_each(|mut batch| writer.send(&mut batch));
    let error = writer.stop(Duration::from_millis(20)).unwrap_err();
    let StoreError::Unfinished {
        updates: 3, reason, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(reason.contains("no space left"), "{reason}");
}

#[test]
fn nobody_waits_for_a_writer_that_is_gone() {
    let store = Chaos::new();
    store.panics.store(true, Ordering::SeqCst);
    let writer = start(
        &store,
        WriterOptions {
            queue_updates: 0,
            ..WriterOptions::default()
        },
    );
    // Blocks, for the queue has no room, until the thread has died of the first batch.
    writer.send(&mut singles(1).remove(0));
    assert!(matches!(
        writer.flush(LONG),
        Err(StoreError::Unfinished { updates: 1, .. })
    ));
    assert_eq!(
        writer.stats().error.as_deref(),
        Some("the writing thread has ended")
    );
    writer.send(&mut singles(1).remove(0));
    assert_eq!(writer.stats().refused_updates, 1);
    assert!(writer.stop(LONG).is_err());
}

#[test]
fn retention_is_looked_after_without_traffic() {
    let store = Chaos::new();
    let options = WriterOptions {
        retention_interval: Duration::from_millis(2),
        ..patient()
    };
    let _writer = start(&store, options);
    until("retention ran three times", || {
        store.retained.load(Ordering::SeqCst) >= 3
    });
}

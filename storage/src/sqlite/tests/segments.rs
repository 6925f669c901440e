//! Segments: when they change, what goes, what a restart, a full disk and damage do.

use flowtap_flow::query::{Batch, Cancel, FlowQuery, FlowReader};

use super::*;
use crate::testing::flows;

const HOUR: Duration = Duration::from_secs(3_600);

fn files(dir: &Path) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|file| file.starts_with("seg-") && file.ends_with(".db"))
        .collect();
    files.sort();
    files
}

/// Distinct flows, each in a batch of its own.
fn singles(count: usize) -> Vec<Batch> {
    let first = conformance::sample().remove(0).updates.remove(0);
    let update = |number| {
        let mut update = first.clone();
        update.flow.uuid.0 = 5_000 + number as u64;
        vec![update].into()
    };
    (0..count).map(update).collect()
}

#[test]
fn each_hour_of_arrival_has_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (number, batch) in (0..).zip(singles(4)) {
        // 12:00, 12:30, 13:00, 13:30: the packets' own time is decades earlier.
        store.append(NOON.plus(HOUR / 2 * number), &[&batch]).unwrap();
    }
    assert_eq!(files(dir.path()), ["seg-2024022912.db", "seg-2024022913.db"]);
    // A clock that steps back stays in the file.
    store.append(NOON, &[&singles(5)[4]]).unwrap();
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(flows(&store, &FlowQuery::all()).len(), 5);
    store.finish_sealing();
    let sealed: Vec<_> = store
        .segments()
        .iter()
        .map(|segment| segment.totals().sealed)
        .collect();
    assert_eq!(sealed, [true, false]);
}

#[test]
fn a_full_segment_ends_before_its_hour() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        segment_bytes: 1,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(dir.path(), options.clone()).unwrap();
    for batch in singles(3) {
        store.append(NOON, &[&batch]).unwrap();
    }
    drop(store);
    let store = SqliteStore::open(dir.path(), options).unwrap();
    store.append(NOON, &[&singles(4)[3]]).unwrap();
    let names = [
        "seg-2024022912-01.db",
        "seg-2024022912-02.db",
        "seg-2024022912-03.db",
        "seg-2024022912.db",
    ];
    assert_eq!(files(dir.path()), names);
    assert_eq!(flows(&store, &FlowQuery::all()).len(), 4);
}

#[test]
fn old_segments_go_and_the_current_stays() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        retention_age: Some(HOUR * 2),
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(dir.path(), options).unwrap();
    for (hour, batch) in (0..).zip(singles(4)) {
        store.append(NOON.plus(HOUR * hour), &[&batch]).unwrap();
    }
    store.finish_sealing();
    // 15:00: only what ended before 13:00 is too old.
    assert_eq!(store.retain(NOON.plus(HOUR * 3)).unwrap(), 0);
    assert_eq!(
        store
            .retain(NOON.plus(HOUR * 3 + Duration::from_secs(1)))
            .unwrap(),
        1
    );
    assert_eq!(
        files(dir.path()),
        ["seg-2024022913.db", "seg-2024022914.db", "seg-2024022915.db"]
    );
    assert_eq!(store.retain(NOON.plus(HOUR * 1_000)).unwrap(), 2);
    assert_eq!(files(dir.path()), ["seg-2024022915.db"]);
    let stats = store.stats();
    assert_eq!((stats.flows, stats.segments, stats.segments_removed), (1, 1, 3));
    assert_eq!(flows(&store, &FlowQuery::all()).len(), 1);
    drop(store);
    assert_eq!(open(dir.path()).stats().flows, 1);
}

#[test]
fn the_oldest_segments_go_while_there_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = SqliteOptions::default();
    let store = SqliteStore::open(dir.path(), options.clone()).unwrap();
    for (hour, batch) in (0..).zip(singles(4)) {
        store.append(NOON.plus(HOUR * hour), &[&batch]).unwrap();
    }
    store.finish_sealing();
    drop(store);
    // The catalog is beside the bound: what it holds has bounds of its own.
    let len = |name: &String| std::fs::metadata(dir.path().join(name)).unwrap().len();
    let bytes: u64 = files(dir.path()).iter().map(len).sum();
    options.retention_bytes = Some(bytes - 1);
    let store = SqliteStore::open(dir.path(), options.clone()).unwrap();
    assert_eq!(store.retain(NOON).unwrap(), 1);
    assert_eq!(files(dir.path())[0], "seg-2024022913.db");
    drop(store);
    options.retention_bytes = Some(0);
    let store = SqliteStore::open(dir.path(), options).unwrap();
    assert_eq!(store.retain(NOON).unwrap(), 2);
    assert_eq!(files(dir.path()), ["seg-2024022915.db"]);
}

#[test]
fn a_query_outlives_the_segment_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        retention_age: Some(HOUR),
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(dir.path(), options).unwrap();
    let batches = singles(8);
    for (hour, pair) in (0..).zip(batches.chunks(2)) {
        store
            .append(NOON.plus(HOUR * hour), &[&pair[0], &pair[1]])
            .unwrap();
    }
    store.finish_sealing();
    let mut visited = 0;
    let mut visit = |_| {
        visited += 1;
        if visited == 1 {
            assert_eq!(store.retain(NOON.plus(HOUR * 100)).unwrap(), 3);
            assert_eq!(files(dir.path()).len(), 4);
        }
        std::ops::ControlFlow::Continue(())
    };
    store
        .flows(&FlowQuery::all(), &Cancel::default(), &mut visit)
        .unwrap();
    assert_eq!(visited, 8);
    assert_eq!(files(dir.path()), ["seg-2024022915.db"]);
    assert_eq!(flows(&store, &FlowQuery::all()).len(), 2);
}

#[test]
fn a_restart_goes_on_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    for batch in conformance::sample() {
        let store = open(dir.path());
        store.append(NOON, &[&batch]).unwrap();
        model.add(&batch);
        let stats = store.stats();
        drop(store);
        let again = open(dir.path()).stats();
        assert_eq!((again.flows, again.updates), (stats.flows, stats.updates));
        assert_eq!(
            (again.raw_packets, again.raw_bytes),
            (stats.raw_packets, stats.raw_bytes)
        );
        assert_eq!(again.oldest, stats.oldest);
    }
    assert_eq!(files(dir.path()), ["seg-2024022912.db"]);
    agrees(&open(dir.path()), &model, &FlowQuery::all()).unwrap();
}

#[test]
fn what_was_left_unsealed_is_sealed_later_and_the_catalog_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let batches = singles(2);
    open(dir.path()).append(NOON, &[&batches[0]]).unwrap();
    let store = open(dir.path());
    store.append(NOON.plus(HOUR), &[&batches[1]]).unwrap();
    store.finish_sealing();
    let name = SegmentName::at(NOON);
    assert!(
        store
            .catalog
            .find(name)
            .unwrap()
            .is_some_and(|totals| totals.flows == 1 && totals.sealed)
    );
    drop(store);
    // A lost catalog costs nothing.
    std::fs::remove_file(dir.path().join("catalog.db")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.stats().flows, 2);
    assert!(store.catalog.find(name).unwrap().is_some());
    drop(store);
    // Neither does a lost segment cost more than itself.
    std::fs::remove_file(dir.path().join("seg-2024022912.db")).unwrap();
    let store = open(dir.path());
    assert_eq!(store.stats().flows, 1);
    assert!(store.catalog.find(name).unwrap().is_none());
}

#[test]
fn a_full_disk_refuses_the_batch_whole_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let batches = singles(20_000);
    let slices: Vec<&Batch> = batches.iter().collect();
    let (kept, refused) = slices.split_at(100);
    store.append(NOON, kept).unwrap();
    let before = store.stats();
    store.limit_pages(40);
    for attempt in 1..=2 {
        let error = store.append(NOON, refused).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(error.to_string().contains("seg-2024022912.db"), "{error}");
        assert_eq!(store.stats().failures, attempt);
        assert_eq!(store.stats().updates, before.updates);
        assert_eq!(flows(&store, &FlowQuery::all()).len(), 100);
    }
    store.limit_pages(1_000_000);
    store.append(NOON, refused).unwrap();
    assert_eq!(store.stats().flows, 20_000);
    assert_eq!(flows(&store, &FlowQuery::all()).len(), 20_000);
}

#[test]
fn a_second_store_in_one_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let refused = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    assert!(
        refused.to_string().contains("in use by another flowtap"),
        "{refused}"
    );
    drop(store);
    open(dir.path());
}

#[test]
fn a_directory_that_cannot_be_made_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = SqliteStore::open(&file.join("data"), SqliteOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("failed to create "), "{error}");
}

#[test]
fn a_damaged_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (hour, batch) in (0..).zip(singles(2)) {
        store.append(NOON.plus(HOUR * hour), &[&batch]).unwrap();
    }
    store.finish_sealing();
    drop(store);
    let damaged = dir.path().join("seg-2024022912.db");
    std::fs::write(&damaged, vec![0x5a; 65_536]).unwrap();
    // Sealed, it is not opened at the start; the query that needs it fails, others do not.
    let store = open(dir.path());
    let mut visited = 0;
    let mut visit = |_| {
        visited += 1;
        std::ops::ControlFlow::Continue(())
    };
    let error = store
        .flows(&FlowQuery::all(), &Cancel::default(), &mut visit)
        .unwrap_err();
    assert!(error.to_string().contains("seg-2024022912.db"), "{error}");
    assert_eq!(visited, 1);
    drop(store);
    // Unsealed, it is opened at the start.
    std::fs::remove_file(dir.path().join("catalog.db")).unwrap();
    let error = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap_err();
    assert!(error.to_string().contains("seg-2024022912.db"), "{error}");
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let catalog = rusqlite::Connection::open(dir.path().join("catalog.db")).unwrap();
    catalog.pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

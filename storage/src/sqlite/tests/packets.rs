//! Kept packets: the file beside the segment.

use std::io::Write;

use flowtap_flow::kept::PAGE;
use flowtap_flow::query::{Batch, FlowQuery, FlowRef, TimeRange};

use super::*;
use crate::testing::{flows, packets};

fn file(dir: &Path) -> PathBuf {
    dir.join("seg-2024022912.db-packets")
}

/// Batches of which each has packets.
fn with_packets() -> Vec<Batch> {
    let mut batches = conformance::sample();
    batches.retain(|batch| !batch.kept.is_empty());
    assert!(batches.len() >= 2);
    batches
}

fn all_packets(store: &SqliteStore) -> usize {
    let refs: Vec<_> = flows(store, &FlowQuery::all())
        .iter()
        .map(FlowRef::from)
        .collect();
    packets(store, &refs, TimeRange::ALL).len()
}

#[test]
fn there_is_a_file_once_there_is_a_packet_and_it_goes_with_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batches = with_packets();
    let kept = std::mem::take(&mut batches[0].kept);
    store.append(NOON, &[&batches[0]]).unwrap();
    assert!(!file(dir.path()).exists());
    let before = store.stats().bytes_on_disk;
    let kept = Batch {
        updates: Vec::new(),
        kept,
    };
    store.append(NOON, &[&kept]).unwrap();
    let len = std::fs::metadata(file(dir.path())).unwrap().len();
    let pages = kept.kept[0].bytes().len().next_multiple_of(PAGE);
    assert_eq!(len, pages as u64);
    assert!(store.stats().bytes_on_disk >= before + len);
    let much_later = NOON.plus(Duration::from_secs(3_600 * 1_000));
    store.append(much_later, &[&batches[1]]).unwrap();
    store.finish_sealing();
    assert_eq!(store.retain(much_later).unwrap(), 1);
    assert!(!file(dir.path()).exists());
}

#[test]
fn what_a_crash_left_behind_the_last_chunk_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let batches = with_packets();
    open(dir.path()).append(NOON, &[&batches[0]]).unwrap();
    let mut left = std::fs::OpenOptions::new()
        .append(true)
        .open(file(dir.path()))
        .unwrap();
    left.write_all(&[0x5a; 100_000]).unwrap();
    let mut model = Model::default();
    model.add(&batches[0]);
    agrees(&open(dir.path()), &model, &FlowQuery::all()).unwrap();
    open(dir.path()).append(NOON, &[&batches[1]]).unwrap();
    model.add(&batches[1]);
    agrees(&open(dir.path()), &model, &FlowQuery::all()).unwrap();
}

#[test]
fn a_lost_file_is_named_and_flows_are_there_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(NOON, &[&with_packets()[0]]).unwrap();
    assert!(all_packets(&store) > 0);
    std::fs::write(file(dir.path()), b"x").unwrap();
    let refs: Vec<_> = flows(&store, &FlowQuery::all())
        .iter()
        .map(FlowRef::from)
        .collect();
    assert!(!refs.is_empty());
    let error = store
        .raw_packets(&refs, TimeRange::ALL, &Cancel::default(), &mut |_, _| {
            std::ops::ControlFlow::Continue(())
        })
        .unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("seg-2024022912.db"), "{text}");
    assert!(text.contains("kept packets cannot be read"), "{text}");
}

#[test]
fn a_file_whose_segment_is_gone_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(NOON, &[&with_packets()[0]]).unwrap();
    std::fs::remove_file(dir.path().join("seg-2024022912.db")).unwrap();
    let other = dir.path().join("notes-packets");
    std::fs::write(&other, "not ours").unwrap();
    open(dir.path());
    assert!(!file(dir.path()).exists() && other.exists());
}

//! kill -9 at any moment loses nothing that was acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use flowtap_flow::packet::RawPacket;
use flowtap_flow::query::{Batch, FlowQuery, FlowRef, FlowUpdate, TimeRange};

use super::*;
use crate::testing::{self, flows, intervals, packets};

const DIR: &str = "FLOWTAP_TEST_CRASH_DIR";
const ROUNDS: u64 = 25;
/// Updates in a batch.
const BATCH: u64 = 40;

/// Batch `number` of a life: new flows, and half of those of the batch before go on.
fn batch(life: u64, number: u64) -> Batch {
    static TEMPLATE: OnceLock<(FlowUpdate, Vec<RawPacket>)> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let sample = &conformance::sample()[0];
        let two = |update: &&FlowUpdate| update.flow.raw_packets_captured == 2;
        let update = sample.updates.iter().find(two).unwrap();
        let of_flow = |(uuid, packet)| (uuid == update.flow.uuid).then_some(packet);
        (
            update.clone(),
            testing::kept(sample).into_iter().filter_map(of_flow).collect(),
        )
    });
    let new = |number: u64, slot: u64| {
        let mut update = template.clone();
        update.0.flow.uuid.0 = (life << 40) | (number * BATCH + slot + 1);
        update.0.flow.finish_type = flowtap_flow::flow::FinishType::NotFinished;
        update
    };
    let goes_on = |slot: u64| {
        let (mut update, mut packets) = new(number - 1, slot);
        update.first = false;
        update.interval.start = update.flow.last;
        update.interval.last = update.flow.last.plus(Duration::from_secs(1));
        update.flow.last = update.interval.last;
        packets.iter_mut().for_each(|packet| packet.index += 2);
        update.flow.raw_packets_captured += 2;
        (update, packets)
    };
    let continued = (0..BATCH / 2).filter(|_| number > 0).map(goes_on);
    let all = continued.chain((0..BATCH / 2).map(|slot| new(number, slot)));
    testing::batch(all.collect())
}

/// Not a test of its own: the process that gets killed. Appends for ever, printing what is acknowledged.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = open(Path::new(&dir));
    let life = store.stats().updates;
    let mut out = std::io::stdout().lock();
    for number in 0.. {
        // Every 16 batches a new hour, so that kills also hit the change of segments and the sealing.
        let now = NOON.plus(Duration::from_secs(3_600) * u32::try_from((life + number) / 16).unwrap());
        store.append(now, &[&batch(life, number)]).unwrap();
        writeln!(out, "stored {life} {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_kill_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sqlite::tests::crash::child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A different number of batches each time; what it does at that moment is up to the machine.
        let enough = AtomicU64::new(3 + round * 7 % 23);
        for line in lines.map_while(Result::ok) {
            // The harness prints in front of the first line.
            let Some((_, found)) = line.split_once("stored ") else {
                continue;
            };
            let (life, number) = found.split_once(' ').unwrap();
            acknowledged.push((life.parse().unwrap(), number.parse().unwrap()));
            if enough.fetch_sub(1, Ordering::Relaxed) == 1 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        nothing_is_lost(dir.path(), &acknowledged);
    }
}

fn nothing_is_lost(dir: &Path, acknowledged: &[(u64, u64)]) {
    let store = open(dir);
    let found = flows(&store, &FlowQuery::all());
    let mut model = Model::default();
    acknowledged
        .iter()
        .for_each(|(life, number)| model.add(&batch(*life, *number)));
    let expected = flows(&model, &FlowQuery::all());
    let stored: std::collections::HashMap<_, _> = found.iter().map(|flow| (flow.uuid, flow)).collect();
    for flow in &expected {
        // One batch more than was acknowledged may be there: committed, and killed before it said so.
        assert!(
            stored
                .get(&flow.uuid)
                .is_some_and(|newer| newer.last >= flow.last),
            "{}",
            flow.uuid
        );
    }
    let stats = store.stats();
    assert_eq!(stats.flows as usize, found.len());
    assert_eq!(stats.updates % (BATCH / 2), 0);
    assert!(
        stats.updates
            >= acknowledged
                .iter()
                .map(|(life, number)| batch(*life, *number).updates.len() as u64)
                .sum()
    );
    let refs: Vec<_> = expected.iter().map(FlowRef::from).collect();
    assert!(packets(&store, &refs, TimeRange::ALL).len() >= packets(&model, &refs, TimeRange::ALL).len());
    assert!(intervals(&store, &refs, TimeRange::ALL).len() >= intervals(&model, &refs, TimeRange::ALL).len());
    // Older ones were sealed, checked, and not touched since.
    for segment in store.segments().iter().rev().take(4) {
        let connection = rusqlite::Connection::open(&segment.path).unwrap();
        let verdict: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(verdict, "ok", "{}", segment.path.display());
    }
}

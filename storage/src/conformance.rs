//! What every store must do, written once. A store is done when it passes [`run`] and [`agrees`].

use std::ops::ControlFlow;

use flowtap_flow::filter::FlowFilter;
use flowtap_flow::flow::{FinishType, Flow};
use flowtap_flow::query::{Batch, Cancel, FlowQuery, FlowReader, FlowRef, FlowUpdate, ReadError, TimeRange};
use flowtap_flow::timestamp::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::store::FlowStore;
use crate::testing::{self, Model, flows, intervals, packets};

/// An hour that batches arrive in.
pub(crate) const NOON: Timestamp = Timestamp::from_secs(1_709_208_000);

/// Runs the fixed checks, each on a fresh store.
pub(crate) fn run(open: &dyn Fn() -> Box<dyn FlowStore>) {
    an_empty_store_answers(&*open());
    the_newest_version_counts(&*open());
    the_same_flows_twice_are_there_once(&*open());
    a_flow_of_one_update_has_one_interval(&*open());
    readers_stop_when_told(&*open());
    stats_count_what_is_durable(&*open());
}

/// Checks that `reader` answers as the model does: flows by `query`, then their packets and intervals
/// in the query's time.
pub(crate) fn agrees(reader: &dyn FlowReader, model: &Model, query: &FlowQuery) -> Result<(), TestCaseError> {
    let expected = flows(model, query);
    prop_assert_eq!(&flows(reader, query), &expected);
    let refs: Vec<_> = expected.iter().map(FlowRef::from).collect();
    for time in [TimeRange::ALL, query.time] {
        prop_assert_eq!(packets(reader, &refs, time), packets(model, &refs, time));
        prop_assert_eq!(intervals(reader, &refs, time), intervals(model, &refs, time));
    }
    Ok(())
}

/// One random set of batches, the same with each run.
pub(crate) fn sample() -> Vec<Batch> {
    testing::batches(40)
        .new_tree(&mut TestRunner::deterministic())
        .unwrap()
        .current()
}

fn hours_later(hours: i64) -> Timestamp {
    Timestamp::from_secs(NOON.nanos() / 1_000_000_000 + hours * 3_600)
}

fn an_empty_store_answers(store: &dyn FlowStore) {
    assert_eq!(flows(store, &FlowQuery::all()), []);
    let nobody = FlowRef::from(&sample()[0].updates[0].flow);
    assert_eq!(packets(store, &[nobody], TimeRange::ALL), []);
    assert_eq!(intervals(store, &[], TimeRange::ALL), []);
    assert_eq!(store.stats().flows, 0);
    store.append(NOON, &[]).unwrap();
}

fn the_newest_version_counts(store: &dyn FlowStore) {
    let (mut model, mut hour) = (Model::default(), 0);
    for batch in sample() {
        store.append(hours_later(hour), &[&batch]).unwrap();
        model.add(&batch);
        hour += 1;
        // What was true of an older version finds nothing.
        let unfinished = FlowFilter::eq("FinishType", 0);
        let query = FlowQuery {
            filter: unfinished,
            ..FlowQuery::all()
        };
        agrees(store, &model, &query).unwrap();
        agrees(store, &model, &FlowQuery::all()).unwrap();
    }
}

fn the_same_flows_twice_are_there_once(store: &dyn FlowStore) {
    let mut model = Model::default();
    for hour in 0..2 {
        for batch in sample() {
            store.append(hours_later(hour), &[&batch]).unwrap();
            model.add(&batch);
        }
    }
    agrees(store, &model, &FlowQuery::all()).unwrap();
}

fn a_flow_of_one_update_has_one_interval(store: &dyn FlowStore) {
    let mut update = sample()[0].updates[0].clone();
    update.flow.finish_type = FinishType::Timeout;
    update.flow.metric = update.interval;
    store.append(NOON, &[&vec![update.clone()].into()]).unwrap();
    let refs = [FlowRef::from(&update.flow)];
    assert_eq!(
        intervals(store, &refs, TimeRange::ALL),
        [(update.flow.uuid, update.interval)]
    );
    let before = TimeRange {
        from: Timestamp::ZERO,
        to: update.flow.start,
    };
    assert_eq!(intervals(store, &refs, before), []);
}

fn readers_stop_when_told(store: &dyn FlowStore) {
    let batches = sample();
    store.append(NOON, &batches.iter().collect::<Vec<_>>()).unwrap();
    let mut visited = 0;
    let mut once = |_: Flow| {
        visited += 1;
        ControlFlow::Break(())
    };
    store
        .flows(&FlowQuery::all(), &Cancel::default(), &mut once)
        .unwrap();
    assert_eq!(visited, 1);
    let cancel = Cancel::default();
    cancel.cancel();
    let answer = store.flows(&FlowQuery::all(), &cancel, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(answer, Err(ReadError::Cancelled)), "{answer:?}");
    let late = Cancel::at(std::time::Instant::now());
    let answer = store.flows(&FlowQuery::all(), &late, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(answer, Err(ReadError::TimedOut)), "{answer:?}");
}

fn stats_count_what_is_durable(store: &dyn FlowStore) {
    let batches = sample();
    for (hour, batch) in (0..).zip(&batches) {
        store.append(hours_later(hour), &[batch]).unwrap();
    }
    let all: Vec<&FlowUpdate> = batches.iter().flat_map(|batch| &batch.updates).collect();
    let packets: Vec<_> = batches.iter().flat_map(testing::kept).collect();
    let stats = store.stats();
    assert_eq!(
        stats.flows,
        all.iter().filter(|update| update.first).count() as u64
    );
    assert_eq!(stats.updates, all.len() as u64);
    assert_eq!(stats.raw_packets, packets.len() as u64);
    let bytes = packets.iter().map(|(_, packet)| packet.data.len() as u64);
    assert_eq!(stats.raw_bytes, bytes.sum::<u64>());
    assert_eq!(stats.oldest, all.iter().map(|update| update.flow.start).min());
    assert!(stats.bytes_on_disk > 0 && stats.segments > 0 && stats.write_duration.count() > 0);
}

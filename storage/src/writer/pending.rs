//! Queries over updates that wait for the store, and the store behind them.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use ahash::RandomState;
use flowtap_flow::flow::{FlowId, FlowMetric};
use flowtap_flow::kept::records;
use flowtap_flow::packet::RawPacket;
use flowtap_flow::query::{
    Batch, Cancel, FlowQuery, FlowReader, FlowRef, FlowUpdate, FlowVisitor, MetricVisitor, PacketVisitor,
    ReadError, TimeRange,
};
use flowtap_flow::timestamp::Timestamp;

/// Updates between two looks at [`Cancel`].
const UPDATES_PER_CHECK: usize = 1_024;

type Batches = [Arc<Batch>];

/// The newest update of a flow counts, and whatever the store has of that flow is out of date.
pub(super) fn flows<R: FlowReader + ?Sized>(
    pending: &Batches,
    store: &R,
    query: &FlowQuery,
    cancel: &Cancel,
    visit: &mut FlowVisitor<'_>,
) -> Result<(), ReadError> {
    let mut newer: HashSet<FlowId, RandomState> = HashSet::default();
    let newest_first = pending.iter().rev().flat_map(|batch| batch.updates.iter().rev());
    for (count, update) in newest_first.enumerate() {
        if count % UPDATES_PER_CHECK == 0 {
            cancel.check()?;
        }
        let newest = newer.insert(update.flow.uuid);
        if newest && query.wants(&update.flow) && visit(update.flow.clone()).is_break() {
            return Ok(());
        }
    }
    store.flows(query, cancel, &mut |flow| {
        if newer.contains(&flow.uuid) {
            ControlFlow::Continue(())
        } else {
            visit(flow)
        }
    })
}

pub(super) fn raw_packets<R: FlowReader + ?Sized>(
    pending: &Batches,
    store: &R,
    flows: &[FlowRef],
    time: TimeRange,
    cancel: &Cancel,
    visit: &mut PacketVisitor<'_>,
) -> Result<(), ReadError> {
    let mut visited: HashSet<(FlowId, u32), RandomState> = HashSet::default();
    let wanted = uuids(flows);
    for chunk in pending.iter().flat_map(|batch| &batch.kept) {
        cancel.check()?;
        for record in records(chunk.bytes()).map_while(Result::ok) {
            if time.contains(record.timestamp)
                && wanted.contains(&record.uuid)
                && visited.insert((record.uuid, record.index()))
                && visit(record.uuid, record.packet()).is_break()
            {
                return Ok(());
            }
        }
    }
    store.raw_packets(flows, time, cancel, &mut |uuid, packet: RawPacket| {
        // Between the look at the queue and this one, a batch may have become durable.
        if visited.contains(&(uuid, packet.index)) {
            ControlFlow::Continue(())
        } else {
            visit(uuid, packet)
        }
    })
}

pub(super) fn metrics<R: FlowReader + ?Sized>(
    pending: &Batches,
    store: &R,
    flows: &[FlowRef],
    time: TimeRange,
    cancel: &Cancel,
    visit: &mut MetricVisitor<'_>,
) -> Result<(), ReadError> {
    let mut visited: HashSet<(FlowId, Timestamp), RandomState> = HashSet::default();
    for update in updates_of(pending, flows) {
        cancel.check()?;
        let (uuid, interval) = (update.flow.uuid, update.interval);
        let inside = interval.start >= time.from && interval.last <= time.to;
        let empty = interval.ab_packets == 0 && interval.ba_packets == 0;
        if inside && !empty && visited.insert((uuid, interval.start)) && visit(uuid, interval).is_break() {
            return Ok(());
        }
    }
    store.metrics(flows, time, cancel, &mut |uuid, interval: FlowMetric| {
        if visited.contains(&(uuid, interval.start)) {
            ControlFlow::Continue(())
        } else {
            visit(uuid, interval)
        }
    })
}

fn updates_of<'a>(pending: &'a Batches, flows: &[FlowRef]) -> impl Iterator<Item = &'a FlowUpdate> {
    let wanted = uuids(flows);
    pending
        .iter()
        .flat_map(|batch| &batch.updates)
        .filter(move |update| wanted.contains(&update.flow.uuid))
}

fn uuids(flows: &[FlowRef]) -> HashSet<FlowId, RandomState> {
    flows.iter().map(|flow| flow.uuid).collect()
}

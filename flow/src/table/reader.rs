//! The live table's answers.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::flow::{FlowId, FlowMetric};
use crate::kept::records;
use crate::key::FlowKey;
use crate::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError, TimeRange,
};
use crate::timestamp::Timestamp;

use super::FlowTable;
use super::map::SHARDS;
use super::point::Point;
use super::state::FlowState;

impl FlowTable {
    /// Visits every flow, some at a time, holding their lock only while `look` copies what it wants; `visit`
    /// runs without locks, so it may be slow.
    fn each<T>(
        &self,
        cancel: &Cancel,
        look: impl Fn(&FlowKey, &FlowState, &Point) -> Option<T>,
        mut visit: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let points = self.points_by_number(|_| ());
        let mut seen = Vec::new();
        for number in 0..SHARDS {
            cancel.check()?;
            let mut walk = self.flows.walk(number);
            while let Some((mut shard, run)) = walk.next_run() {
                for slot in run {
                    if let Some((key, state)) = shard.flows().slots.at(slot)
                        && let Some((point, ())) = points.get(&key.point())
                    {
                        seen.extend(look(key, state, point));
                    }
                }
                drop(shard);
                for seen in seen.drain(..) {
                    if visit(seen).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        self.settle();
        Ok(())
    }
}

fn uuids(flows: &[FlowRef]) -> HashSet<FlowId> {
    flows.iter().map(|flow| flow.uuid).collect()
}

impl FlowReader for FlowTable {
    fn flows(
        &self,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        let look = |key: &FlowKey, state: &FlowState, point: &Point| {
            let (start, last) = (
                Timestamp::from_nanos(state.start),
                Timestamp::from_nanos(state.last),
            );
            query
                .time
                .overlaps(start, last)
                .then(|| state.snapshot(key, point, state.finish_type()))
        };
        self.each(cancel, look, |flow| {
            if query.filter.matches(&flow) {
                visit(flow)
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    fn active(
        &self,
        within: Duration,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        let clock = self.clock();
        let look = |key: &FlowKey, state: &FlowState, point: &Point| {
            let is_active = u64::from(state.silence(clock)) <= within.as_secs();
            is_active.then(|| state.snapshot(key, point, state.finish_type()))
        };
        self.each(cancel, look, |flow| {
            if query.wants(&flow) {
                visit(flow)
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    fn uuids(
        &self,
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut dyn FnMut(FlowId),
    ) -> Result<(), ReadError> {
        let look = |_: &FlowKey, state: &FlowState, _: &Point| {
            let (start, last) = (
                Timestamp::from_nanos(state.start),
                Timestamp::from_nanos(state.last),
            );
            time.overlaps(start, last).then_some(state.uuid)
        };
        self.each(cancel, look, |uuid| {
            visit(uuid);
            ControlFlow::Continue(())
        })
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        let wanted = uuids(flows);
        for chunk in self.point_list().iter().flat_map(|point| point.chunks()) {
            cancel.check()?;
            // Copied, so that `visit` may be slow: the chunk's reader waits for its lock.
            let found: Vec<_> = records(chunk.lock().bytes())
                .map_while(Result::ok)
                .filter(|record| time.contains(record.timestamp) && wanted.contains(&record.uuid))
                .map(|record| (record.uuid, record.packet()))
                .collect();
            for (uuid, packet) in found {
                if visit(uuid, packet).is_break() {
                    return Ok(());
                }
            }
        }
        self.settle();
        Ok(())
    }

    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        let wanted = uuids(flows);
        let look = |_: &FlowKey, state: &FlowState, _: &Point| -> Option<(FlowId, FlowMetric)> {
            (state.is_dirty() && wanted.contains(&state.uuid)).then(|| (state.uuid, state.open_interval()))
        };
        self.each(cancel, look, |(uuid, metric)| {
            if time.contains(metric.start) && time.contains(metric.last) {
                visit(uuid, metric)
            } else {
                ControlFlow::Continue(())
            }
        })
    }
}

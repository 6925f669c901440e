//! Answering queries from segments.

use std::collections::HashSet;
use std::ops::ControlFlow;

use ahash::RandomState;
use flowtap_flow::flow::{FlowId, FlowMetric};
use flowtap_flow::packet::RawPacket;
use flowtap_flow::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError, TimeRange,
};
use flowtap_flow::timestamp::Timestamp;

use super::find::find;
use super::pool::{SegmentError, Snapshot};
use super::scan::FlowScan;
use super::zone::Times;
use super::{SqliteStore, metrics, packets};

pub(super) type IdSet = HashSet<FlowId, RandomState>;

impl FlowReader for SqliteStore {
    /// Segments are read newest first, so that the newest version of a flow comes first.
    ///
    /// Remembers the UUID of each flow visited, about 20 bytes, for a recording that was sent twice
    /// has the same flows twice.
    fn flows(
        &self,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        let mut scan = FlowScan::new(query, cancel);
        self.each_segment(query.time, cancel, |snapshot| scan.segment(snapshot, visit))
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        // About 24 bytes a packet: a recording that was sent twice has the same packets twice.
        let mut visited: HashSet<(FlowId, u32), RandomState> = HashSet::default();
        let mut visit = |uuid, packet: RawPacket| {
            if visited.insert((uuid, packet.index)) {
                return visit(uuid, packet);
            }
            ControlFlow::Continue(())
        };
        let (wanted, lives) = (uuids(flows), lives(flows));
        let Some(span) = lives.span() else { return Ok(()) };
        self.each_segment(span, cancel, |snapshot| {
            packets::visit(snapshot, &wanted, &lives, time, cancel, &mut visit)
        })
    }

    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        // About 24 bytes an interval, see `raw_packets`.
        let mut visited: HashSet<(FlowId, Timestamp), RandomState> = HashSet::default();
        let mut visit = |uuid: FlowId, metric: FlowMetric| {
            let inside = metric.start >= time.from && metric.last <= time.to;
            if inside && visited.insert((uuid, metric.start)) {
                return visit(uuid, metric);
            }
            ControlFlow::Continue(())
        };
        let (wanted, lives) = (uuids(flows), lives(flows));
        let Some(span) = lives.span() else { return Ok(()) };
        self.each_segment(span, cancel, |snapshot| {
            let found = find(snapshot, &wanted, &lives, cancel)?;
            metrics::visit(snapshot, &found, time, cancel, &mut visit)
        })
    }
}

impl SqliteStore {
    /// Runs `read` on each segment with anything in `time`, newest first, until it breaks.
    fn each_segment(
        &self,
        time: TimeRange,
        cancel: &Cancel,
        mut read: impl FnMut(&Snapshot<'_>) -> Result<ControlFlow<()>, SegmentError>,
    ) -> Result<(), ReadError> {
        for segment in self.overlapping(time) {
            if self.pool().read(&segment, cancel, &mut read)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn uuids(flows: &[FlowRef]) -> IdSet {
    flows.iter().map(|flow| flow.uuid).collect()
}

/// When any of `flows` lived.
fn lives(flows: &[FlowRef]) -> Times {
    Times::union(flows.iter().map(|flow| TimeRange {
        from: flow.start,
        to: flow.last,
    }))
}

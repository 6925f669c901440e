//! The intervals of flows.

use std::collections::HashMap;
use std::ops::ControlFlow;

use ahash::RandomState;
use flowtap_flow::flow::{FlowId, FlowMetric};
use flowtap_flow::query::{Cancel, TimeRange};
use flowtap_flow::timestamp::Timestamp;
use rusqlite::CachedStatement;

use super::find::{FoundFlow, PROBE_LIMIT};
use super::pool::{SegmentError, Snapshot};
use super::zone::{Kind, Times, stretches};

type Visit<'a> = dyn FnMut(FlowId, FlowMetric) -> ControlFlow<()> + 'a;

/// Visits all intervals that a segment has of the flows `found`, and at least those in `time`.
pub(super) fn visit(
    snapshot: &Snapshot<'_>,
    found: &[FoundFlow],
    time: TimeRange,
    cancel: &Cancel,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, SegmentError> {
    for flow in found {
        if let Some(metric) = flow.first
            && visit(flow.uuid, metric).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    intervals(snapshot, found, time, cancel, visit)
}

/// The intervals of flows with more than one update.
fn intervals(
    snapshot: &Snapshot<'_>,
    found: &[FoundFlow],
    time: TimeRange,
    cancel: &Cancel,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, SegmentError> {
    const COLUMNS: &str = "flow, start, last, ab_packets, ab_bytes, ba_packets, ba_bytes, rtt";
    let flows: HashMap<i64, FlowId, RandomState> = found
        .iter()
        .filter(|flow| flow.first.is_none())
        .map(|flow| (flow.id, flow.uuid))
        .collect();
    if flows.is_empty() {
        return Ok(ControlFlow::Continue(()));
    }
    if snapshot.sealed && flows.len() <= PROBE_LIMIT {
        let sql = format!("SELECT {COLUMNS} FROM metric WHERE flow = ?1");
        let mut statement = snapshot.connection.prepare_cached(&sql)?;
        for flow in flows.keys() {
            if visit_intervals(&mut statement, [*flow], &flows, cancel, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        return Ok(ControlFlow::Continue(()));
    }
    let sql = format!("SELECT {COLUMNS} FROM metric WHERE id BETWEEN ?1 AND ?2");
    let mut statement = snapshot.connection.prepare_cached(&sql)?;
    for (first, last) in stretches(snapshot.connection, Kind::Metric, &Times::one(time))? {
        if visit_intervals(&mut statement, [first, last], &flows, cancel, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn visit_intervals<const N: usize>(
    statement: &mut CachedStatement<'_>,
    parameters: [i64; N],
    flows: &HashMap<i64, FlowId, RandomState>,
    cancel: &Cancel,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, SegmentError> {
    cancel.check()?;
    let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        let Some(uuid) = flows.get(&row.get(0)?) else {
            continue;
        };
        let unsigned = |column| row.get(column).map(i64::cast_unsigned);
        let metric = FlowMetric {
            start: Timestamp::from_nanos(row.get(1)?),
            last: Timestamp::from_nanos(row.get(2)?),
            ab_packets: unsigned(3)?,
            ab_bytes: unsigned(4)?,
            ba_packets: unsigned(5)?,
            ba_bytes: unsigned(6)?,
            rtt: unsigned(7)?,
        };
        if visit(*uuid, metric).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

//! Answering queries from segments.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use ahash::RandomState;
use flowtap_flow::flow::{FlowId, FlowMetric};
use flowtap_flow::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError, TimeRange,
};
use flowtap_flow::timestamp::Timestamp;
use rusqlite::{CachedStatement, Row};

use super::pool::{SegmentError, Snapshot};
use super::zone::{Kind, Times, stretches};
use super::{SqliteStore, narrow, packets, row};

/// Up to this many rows are looked up one by one where an index is there (3 µs each); for more, a
/// scan is faster.
const PROBE_LIMIT: usize = 2_000;
/// Rows between two looks at [`Cancel`].
const ROWS_PER_CHECK: usize = 1_024;

type IdSet = HashSet<FlowId, RandomState>;

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
        let mut scan = FlowScan {
            query,
            cancel,
            visited: IdSet::default(),
            outdated: IdSet::default(),
        };
        for segment in self.overlapping(query.time) {
            let next = self
                .pool()
                .read(&segment, cancel, |snapshot| scan.segment(snapshot, visit))?;
            if next.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        // About 24 bytes a packet: a flow may have the same packet in two rows (see `flows`).
        let mut visited: HashSet<(FlowId, u32), RandomState> = HashSet::default();
        self.each_segment(flows, cancel, |snapshot, rows| {
            packets::visit(snapshot, rows, cancel, &mut |uuid, packet| {
                if time.contains(packet.timestamp) && visited.insert((uuid, packet.index)) {
                    return visit(uuid, packet);
                }
                ControlFlow::Continue(())
            })
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
        self.each_segment(flows, cancel, |snapshot, rows| {
            if whole_flows(snapshot, rows, cancel, &mut visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            intervals(snapshot, rows, time, cancel, &mut visit)
        })
    }
}

impl SqliteStore {
    /// Runs `read` on each segment that has rows of `flows`, newest first, until it breaks.
    fn each_segment(
        &self,
        flows: &[FlowRef],
        cancel: &Cancel,
        mut read: impl FnMut(&Snapshot<'_>, &[FoundRow]) -> Result<ControlFlow<()>, SegmentError>,
    ) -> Result<(), ReadError> {
        let wanted: IdSet = flows.iter().map(|flow| flow.uuid).collect();
        let times = Times::union(flows.iter().map(|flow| TimeRange {
            from: flow.start,
            to: flow.last,
        }));
        let Some(span) = times.span() else { return Ok(()) };
        for segment in self.overlapping(span) {
            let next = self.pool().read(&segment, cancel, |snapshot| {
                let rows = find_rows(snapshot, &wanted, &times, cancel)?;
                if rows.is_empty() {
                    Ok(ControlFlow::Continue(()))
                } else {
                    read(snapshot, &rows)
                }
            })?;
            if next.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A query for flows on its way from the newest segment to the oldest.
struct FlowScan<'a> {
    query: &'a FlowQuery,
    cancel: &'a Cancel,
    visited: IdSet,
    /// Flows whose rows in older segments are out of date, whether or not the query wants them.
    outdated: IdSet,
}

impl FlowScan<'_> {
    fn segment(
        &mut self,
        snapshot: &Snapshot<'_>,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<ControlFlow<()>, SegmentError> {
        let continued = continued(snapshot)?;
        let narrowed = narrow::narrow(&self.query.filter, snapshot.texts).unwrap_or_else(|| "1".to_owned());
        // Newest first. The rows of a stretch are read in order of their number: no sort.
        let sql = format!(
            "SELECT {} FROM flow WHERE id BETWEEN ?1 AND ?2 AND start <= ?3 AND last >= ?4 AND {narrowed}
             ORDER BY id DESC",
            row::COLUMNS,
        );
        // Not cached: its text depends on the query.
        let mut statement = snapshot.connection.prepare(&sql)?;
        let time = self.query.time;
        for (first, last) in stretches(snapshot.connection, Kind::Flow, &Times::one(time))? {
            let mut rows = statement.query([first, last, time.to.nanos(), time.from.nanos()])?;
            let mut count = 0;
            while let Some(found) = rows.next()? {
                count += 1;
                if count % ROWS_PER_CHECK == 0 {
                    self.cancel.check()?;
                }
                let id: i64 = found.get(0)?;
                let uuid = FlowId(found.get::<_, i64>(1)?.cast_unsigned());
                let newest = continued.get(&uuid).is_none_or(|newest| *newest <= id);
                if !newest || self.outdated.contains(&uuid) || self.visited.contains(&uuid) {
                    continue;
                }
                let flow = row::decode(found, snapshot.texts)?;
                if self.query.wants(&flow) {
                    self.visited.insert(uuid);
                    if visit(flow).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        self.outdated.extend(continued.into_keys());
        Ok(ControlFlow::Continue(()))
    }
}

/// Flows of which this segment or an older one has rows that are out of date, with the row here that
/// is not.
fn continued(snapshot: &Snapshot<'_>) -> rusqlite::Result<HashMap<FlowId, i64, RandomState>> {
    let mut statement = snapshot
        .connection
        .prepare_cached("SELECT uuid, id FROM continued ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok((FlowId(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?))
    })?;
    rows.collect()
}

/// A row of a flow that was asked for by UUID.
pub(super) struct FoundRow {
    pub(super) id: i64,
    pub(super) uuid: FlowId,
    pub(super) whole: bool,
    pub(super) has_packets: bool,
}

impl FoundRow {
    const COLUMNS: &str = "id, uuid, whole, raw_packets";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let uuid = FlowId(row.get::<_, i64>(1)?.cast_unsigned());
        Ok(Self {
            id: row.get(0)?,
            uuid,
            whole: row.get(2)?,
            has_packets: row.get::<_, i64>(3)? > 0,
        })
    }
}

/// All rows of the flows `wanted`, newest first: by index where there is one and it is worth it, else
/// by one scan of the rows that have a time in `times`.
fn find_rows(
    snapshot: &Snapshot<'_>,
    wanted: &IdSet,
    times: &Times,
    cancel: &Cancel,
) -> Result<Vec<FoundRow>, SegmentError> {
    let columns = FoundRow::COLUMNS;
    let mut found = Vec::new();
    if snapshot.sealed && wanted.len() <= PROBE_LIMIT {
        let sql = format!("SELECT {columns} FROM flow WHERE uuid = ?1");
        let mut statement = snapshot.connection.prepare_cached(&sql)?;
        for uuid in wanted {
            for row in statement.query_map([uuid.0.cast_signed()], FoundRow::read)? {
                found.push(row?);
            }
        }
        found.sort_unstable_by_key(|row| std::cmp::Reverse(row.id));
        return Ok(found);
    }
    let sql = format!("SELECT {columns} FROM flow WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC");
    let mut statement = snapshot.connection.prepare_cached(&sql)?;
    for (first, last) in stretches(snapshot.connection, Kind::Flow, times)? {
        cancel.check()?;
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next()? {
            if wanted.contains(&FlowId(row.get::<_, i64>(1)?.cast_unsigned())) {
                found.push(FoundRow::read(row)?);
            }
        }
    }
    Ok(found)
}

type Visit<'a> = dyn FnMut(FlowId, FlowMetric) -> ControlFlow<()> + 'a;

/// Flows that were over before their first update: their totals are their one interval.
fn whole_flows(
    snapshot: &Snapshot<'_>,
    rows: &[FoundRow],
    cancel: &Cancel,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, SegmentError> {
    let sql = format!("SELECT {} FROM flow WHERE id = ?1", row::COLUMNS);
    let mut statement = snapshot.connection.prepare_cached(&sql)?;
    for (count, found) in rows.iter().filter(|row| row.whole).enumerate() {
        if count % ROWS_PER_CHECK == 0 {
            cancel.check()?;
        }
        let flow = statement.query_row([found.id], |row| row::decode(row, snapshot.texts))?;
        if visit(found.uuid, flow.metric).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The intervals of flows with more than one update.
fn intervals(
    snapshot: &Snapshot<'_>,
    rows: &[FoundRow],
    time: TimeRange,
    cancel: &Cancel,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, SegmentError> {
    const COLUMNS: &str = "flow, start, last, ab_packets, ab_bytes, ba_packets, ba_bytes, rtt";
    let flows: HashMap<i64, FlowId, RandomState> = rows
        .iter()
        .filter(|row| !row.whole)
        .map(|row| (row.id, row.uuid))
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

//! The flows of a segment that a query wants.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::blocks::{Blocks, BlocksBetween};
use super::keys::Wanted;
use super::pool::{SegmentError, Snapshot};
use super::read::IdSet;
use super::zone::{Kind, Times, stretches};
use super::{block, columns, narrow, row};
use ahash::RandomState;
use flowtap_flow::flow::{Flow, FlowId};
use flowtap_flow::query::{Cancel, FlowQuery, FlowVisitor};
use flowtap_flow::text::Text;

/// Rows between two looks at [`Cancel`].
const ROWS_PER_CHECK: usize = 1_024;

/// A query for flows on its way from the newest segment to the oldest.
pub(super) struct FlowScan<'a> {
    query: &'a FlowQuery,
    cancel: &'a Cancel,
    visited: IdSet,
    /// Flows whose versions in older segments are out of date, whether or not the query wants them.
    outdated: IdSet,
}

impl<'a> FlowScan<'a> {
    pub(super) fn new(query: &'a FlowQuery, cancel: &'a Cancel) -> Self {
        Self {
            query,
            cancel,
            visited: IdSet::default(),
            outdated: IdSet::default(),
        }
    }

    /// Visits the flows of one segment, newest first: rows and blocks by their numbers.
    pub(super) fn segment(
        &mut self,
        snapshot: &Snapshot<'_>,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<ControlFlow<()>, SegmentError> {
        let continued = continued(snapshot)?;
        let narrowed = narrow::narrow(&self.query.filter, snapshot.texts).unwrap_or_else(|| "1".to_owned());
        // The rows of a stretch are read in order of their number: no sort.
        let sql = format!(
            "SELECT {} FROM flow WHERE id BETWEEN ?1 AND ?2 AND start <= ?3 AND last >= ?4 AND {narrowed}
             ORDER BY id DESC",
            columns::NAMES,
        );
        // Not cached: its text depends on the query.
        let mut of_rows = snapshot.connection.prepare(&sql)?;
        let mut of_blocks = Blocks::prepare(snapshot.connection, Wanted::by(&self.query.filter))?;
        let time = self.query.time;
        for (first, last) in stretches(snapshot.connection, Kind::Flow, &Times::one(time))? {
            let mut rows = of_rows.query([first, last, time.to.nanos(), time.from.nanos()])?;
            let mut blocks = BlockScan {
                blocks: of_blocks.between(first, last, self.cancel)?,
                query: self.query,
                continued: &continued,
                texts: snapshot.texts,
                wanted: Vec::new(),
            };
            let mut count = 0;
            while let Some(found) = rows.next()? {
                count += 1;
                if count % ROWS_PER_CHECK == 0 {
                    self.cancel.check()?;
                }
                let id: i64 = found.get(0)?;
                while let Some(flow) = blocks.next_above(id)? {
                    if self.offer(flow, visit).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                let uuid = FlowId(found.get::<_, i64>(1)?.cast_unsigned());
                if is_outdated(&continued, uuid, id) || self.is_known(uuid) {
                    continue;
                }
                let flow = row::values(found)?
                    .flow(snapshot.texts)
                    .map_err(|_| SegmentError::DamagedFlows(id))?;
                if self.query.wants(&flow) && self.offer(flow, visit).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            while let Some(flow) = blocks.next_above(i64::MIN)? {
                if self.offer(flow, visit).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        self.outdated.extend(continued.into_keys());
        Ok(ControlFlow::Continue(()))
    }

    fn is_known(&self, uuid: FlowId) -> bool {
        self.outdated.contains(&uuid) || self.visited.contains(&uuid)
    }

    /// Hands out a flow that the query wants, unless a newer version of it was there.
    fn offer(&mut self, flow: Flow, visit: &mut FlowVisitor<'_>) -> ControlFlow<()> {
        if self.outdated.contains(&flow.uuid) || !self.visited.insert(flow.uuid) {
            return ControlFlow::Continue(());
        }
        visit(flow)
    }
}

/// The wanted flows of a stretch's blocks, newest first.
struct BlockScan<'a, 'c> {
    blocks: BlocksBetween<'a, 'c>,
    query: &'a FlowQuery,
    continued: &'a Continued,
    texts: &'a [Text],
    /// Those of the block that was read last, with their numbers; the newest is the last.
    wanted: Vec<(i64, Flow)>,
}

impl BlockScan<'_, '_> {
    /// The next flow, if its number is above `id`.
    fn next_above(&mut self, id: i64) -> Result<Option<Flow>, SegmentError> {
        while self.wanted.is_empty() {
            let (texts, query, wanted) = (self.texts, self.query, &mut self.wanted);
            let read = |data: &[u8]| read_block(data, texts, query, wanted);
            if !self.blocks.read_next(read)? {
                return Ok(None);
            }
            let continued = self.continued;
            self.wanted
                .retain(|(id, flow)| !is_outdated(continued, flow.uuid, *id));
        }
        let next = self.wanted.pop_if(|(number, _)| *number > id);
        Ok(next.map(|(_, flow)| flow))
    }
}

fn read_block(
    data: &[u8],
    texts: &[Text],
    query: &FlowQuery,
    wanted: &mut Vec<(i64, Flow)>,
) -> Result<(), columns::Damaged> {
    let mut reader = block::Reader::new(data);
    while let Some(values) = reader.next()? {
        if !query.time.overlaps(values.start()?, values.last()?) {
            continue;
        }
        let flow = values.flow(texts)?;
        if query.filter.matches(&flow) {
            wanted.push((values.id()?, flow));
        }
    }
    Ok(())
}

/// Flows of which this segment or an older one has versions that are out of date, with the number of
/// that here which is not.
type Continued = HashMap<FlowId, i64, RandomState>;

fn is_outdated(continued: &Continued, uuid: FlowId, id: i64) -> bool {
    continued.get(&uuid).is_some_and(|newest| id < *newest)
}

fn continued(snapshot: &Snapshot<'_>) -> rusqlite::Result<Continued> {
    let mut statement = snapshot
        .connection
        .prepare_cached("SELECT uuid, id FROM continued ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok((FlowId(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?))
    })?;
    rows.collect()
}

//! Finding flows by their UUIDs.

use flowtap_flow::flow::{FlowId, FlowMetric};
use flowtap_flow::query::Cancel;
use rusqlite::Row;

use super::block;
use super::blocks::Blocks;
use super::columns::Damaged;
use super::keys::Wanted;
use super::pool::{SegmentError, Snapshot};
use super::read::IdSet;
use super::zone::{Kind, Times, stretches};

/// Up to this many flows are looked up one by one where an index is there (3 µs each); for more, a
/// scan is faster.
pub(super) const PROBE_LIMIT: usize = 2_000;

/// A flow that was asked for.
pub(super) struct FoundFlow {
    /// Its number in the segment.
    pub(super) id: i64,
    pub(super) uuid: FlowId,
    /// The interval of a first update; `None` for a row, whose intervals have rows of their own.
    pub(super) first: Option<FlowMetric>,
}

impl FoundFlow {
    const COLUMNS: &str = "id, uuid";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let uuid = FlowId(row.get::<_, i64>(1)?.cast_unsigned());
        Ok(Self {
            id: row.get(0)?,
            uuid,
            first: None,
        })
    }
}

/// All versions of the flows `wanted`, newest first. `times` are those of the flows.
pub(super) fn find(
    snapshot: &Snapshot<'_>,
    wanted: &IdSet,
    times: &Times,
    cancel: &Cancel,
) -> Result<Vec<FoundFlow>, SegmentError> {
    let mut found = Vec::new();
    let stretches = stretches(snapshot.connection, Kind::Flow, times)?;
    if snapshot.sealed && wanted.len() <= PROBE_LIMIT {
        probe_rows(snapshot, wanted, &mut found)?;
    } else {
        scan_rows(snapshot, &stretches, wanted, cancel, &mut found)?;
    }
    scan_blocks(snapshot, &stretches, wanted, cancel, &mut found)?;
    found.sort_unstable_by_key(|flow| std::cmp::Reverse(flow.id));
    Ok(found)
}

fn probe_rows(
    snapshot: &Snapshot<'_>,
    wanted: &IdSet,
    found: &mut Vec<FoundFlow>,
) -> Result<(), SegmentError> {
    let sql = format!("SELECT {} FROM flow WHERE uuid = ?1", FoundFlow::COLUMNS);
    let mut statement = snapshot.connection.prepare_cached(&sql)?;
    for uuid in wanted {
        for row in statement.query_map([uuid.0.cast_signed()], FoundFlow::read)? {
            found.push(row?);
        }
    }
    Ok(())
}

fn scan_rows(
    snapshot: &Snapshot<'_>,
    stretches: &[(i64, i64)],
    wanted: &IdSet,
    cancel: &Cancel,
    found: &mut Vec<FoundFlow>,
) -> Result<(), SegmentError> {
    let sql = format!(
        "SELECT {} FROM flow WHERE id BETWEEN ?1 AND ?2",
        FoundFlow::COLUMNS
    );
    let mut statement = snapshot.connection.prepare_cached(&sql)?;
    for (first, last) in stretches {
        cancel.check()?;
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next()? {
            if wanted.contains(&FlowId(row.get::<_, i64>(1)?.cast_unsigned())) {
                found.push(FoundFlow::read(row)?);
            }
        }
    }
    Ok(())
}

fn scan_blocks(
    snapshot: &Snapshot<'_>,
    stretches: &[(i64, i64)],
    wanted: &IdSet,
    cancel: &Cancel,
    found: &mut Vec<FoundFlow>,
) -> Result<(), SegmentError> {
    let wanted_keys = Wanted::uuids(wanted.iter().copied());
    let mut blocks = Blocks::prepare(snapshot.connection, wanted_keys)?;
    for (first, last) in stretches {
        let mut blocks = blocks.between(*first, *last, cancel)?;
        while blocks.read_next(|data| scan_block(data, wanted, found))? {}
    }
    Ok(())
}

fn scan_block(data: &[u8], wanted: &IdSet, found: &mut Vec<FoundFlow>) -> Result<(), Damaged> {
    let mut reader = block::Reader::new(data);
    while let Some(values) = reader.next()? {
        let uuid = values.uuid()?;
        if wanted.contains(&uuid) {
            found.push(FoundFlow {
                id: values.id()?,
                uuid,
                first: Some(values.metric()?),
            });
        }
    }
    Ok(())
}

//! Writing what nodes counted.
//!
//! A row for each interval in which something was counted: some 250 bytes with its place in the index for an
//! interface with the usual four counters, so 700 KB a day for one that is never still and is looked at every
//! 30 s. They are written in the transactions of the revisions, and cost no sync of their own.

use flowtap_topology::{Interval, NodeMetric};
use rusqlite::{Transaction, params};

use super::revisions::WriteError;

/// How a metric is written down.
pub(super) fn number(metric: NodeMetric) -> i64 {
    match metric {
        NodeMetric::Interface => 0,
        NodeMetric::Ovs => 1,
        NodeMetric::SFlow => 2,
    }
}

/// Writes `intervals`.
pub(super) fn insert(transaction: &Transaction<'_>, intervals: &[Interval]) -> Result<(), WriteError> {
    let sql = "INSERT INTO topology_metric (last, metric, node, start, counters) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut insert = transaction.prepare_cached(sql)?;
    for interval in intervals {
        insert.execute(params![
            interval.last,
            number(interval.metric),
            interval.node.as_str(),
            interval.start,
            serde_json::to_string(&interval.counters)?
        ])?;
    }
    Ok(())
}

/// Removes intervals that ended before `before`, and the oldest while there are more than `most`; `limit`
/// at most. Returns how many.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    before: Option<i64>,
    most: u64,
    limit: u64,
) -> Result<u64, WriteError> {
    let mut removed = 0;
    if let Some(before) = before {
        let sql = "DELETE FROM topology_metric WHERE row IN
                       (SELECT row FROM topology_metric WHERE last < ?1 ORDER BY last LIMIT ?2)";
        removed = transaction.execute(sql, params![before, limit.cast_signed()])?;
    }
    // Rows are numbered in order and go in order, so their number is had without counting them: at most a
    // few less, after a clock was set back.
    let sql = "SELECT coalesce(max(row) - min(row) + 1, 0), coalesce(min(row), 0) FROM topology_metric";
    let (rows, first): (i64, i64) = transaction.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let surplus = rows.cast_unsigned().saturating_sub(most).min(limit);
    let sql = "DELETE FROM topology_metric WHERE row < ?1";
    removed += transaction.execute(sql, [first.saturating_add_unsigned(surplus)])?;
    Ok(removed as u64)
}

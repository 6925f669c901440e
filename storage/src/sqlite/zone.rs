//! Zones: which packet times lie in which stretch of rows.
//!
//! Rows arrive roughly in order of time, so the first and last time of each 4,096 rows tell which
//! stretches a query may skip. Unlike an index, it costs a row nothing but two comparisons.

use flowtap_flow::query::TimeRange;
use flowtap_flow::timestamp::Timestamp;
use rusqlite::Connection;

/// Rows of a zone: `row >> SHIFT` is its number. 4,096 rows are read in about 1 ms.
const SHIFT: u32 = 12;

/// True if the rows `a` and `b` are of one zone.
pub(super) fn is_same(a: i64, b: i64) -> bool {
    a >> SHIFT == b >> SHIFT
}

/// Which table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flow = 0,
    Metric = 1,
}

#[derive(Clone, Copy, Debug)]
struct Zone {
    min_start: i64,
    max_last: i64,
    dirty: bool,
}

impl Zone {
    const EMPTY: Self = Self {
        min_start: i64::MAX,
        max_last: i64::MIN,
        dirty: false,
    };
}

/// The zones of one table of the segment being written. 24 bytes per 4,096 rows.
#[derive(Debug)]
pub(super) struct Zones {
    kind: Kind,
    zones: Vec<Zone>,
    dirty: Vec<usize>,
    whole: Zone,
}

impl Zones {
    /// Reads what a segment holds already.
    pub(super) fn load(connection: &Connection, kind: Kind) -> rusqlite::Result<Self> {
        let mut zones = Self {
            kind,
            zones: Vec::new(),
            dirty: Vec::new(),
            whole: Zone::EMPTY,
        };
        let mut statement =
            connection.prepare("SELECT zone, min_start, max_last FROM zone WHERE kind = ?1")?;
        let mut rows = statement.query([kind as i64])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let (start, last) = (row.get(1)?, row.get(2)?);
            zones.widen(usize::try_from(number).unwrap_or(0), start, last);
        }
        zones.dirty.clear();
        zones.zones.iter_mut().for_each(|zone| zone.dirty = false);
        Ok(zones)
    }

    /// Notes that `row` now spans `start..=last` (ns).
    pub(super) fn cover(&mut self, row: i64, start: i64, last: i64) {
        self.widen(usize::try_from(row >> SHIFT).unwrap_or(0), start, last);
    }

    fn widen(&mut self, number: usize, start: i64, last: i64) {
        if number >= self.zones.len() {
            self.zones.resize(number + 1, Zone::EMPTY);
        }
        let zone = &mut self.zones[number];
        if start >= zone.min_start && last <= zone.max_last {
            return;
        }
        for zone in [&mut *zone, &mut self.whole] {
            zone.min_start = zone.min_start.min(start);
            zone.max_last = zone.max_last.max(last);
        }
        if !zone.dirty {
            zone.dirty = true;
            self.dirty.push(number);
        }
    }

    /// Writes what has changed since the last call, in the open transaction.
    pub(super) fn save(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare_cached("INSERT OR REPLACE INTO zone VALUES (?1, ?2, ?3, ?4)")?;
        for number in self.dirty.drain(..) {
            let zone = &mut self.zones[number];
            zone.dirty = false;
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            statement.execute((self.kind as i64, number, zone.min_start, zone.max_last))?;
        }
        Ok(())
    }

    /// First start and last end of all rows.
    pub(super) fn range(&self) -> Option<TimeRange> {
        (self.whole.min_start <= self.whole.max_last).then(|| TimeRange {
            from: Timestamp::from_nanos(self.whole.min_start),
            to: Timestamp::from_nanos(self.whole.max_last),
        })
    }
}

/// Stretches of rows, newest first, outside of which no row has a time in `times`. Both ends of a
/// stretch belong to it.
pub(super) fn stretches(
    connection: &Connection,
    kind: Kind,
    times: &Times,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    let Some(all) = times.span() else { return Ok(found) };
    let mut statement = connection.prepare_cached(
        "SELECT zone, min_start, max_last FROM zone
         WHERE kind = ?1 AND min_start <= ?2 AND max_last >= ?3 ORDER BY zone DESC",
    )?;
    let mut rows = statement.query((kind as i64, all.to.nanos(), all.from.nanos()))?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        if !times.overlap(
            Timestamp::from_nanos(row.get(1)?),
            Timestamp::from_nanos(row.get(2)?),
        ) {
            continue;
        }
        let (first, last) = (number << SHIFT, (number << SHIFT) + (1 << SHIFT) - 1);
        match found.last_mut() {
            Some(newer) if newer.0 == last + 1 => newer.0 = first,
            _ => found.push((first, last)),
        }
    }
    Ok(found)
}

/// A set of instants: time ranges that do not overlap, in order.
#[derive(Debug)]
pub(super) struct Times(Vec<TimeRange>);

impl Times {
    pub(super) fn one(range: TimeRange) -> Self {
        Self(vec![range])
    }

    /// The union of `ranges`.
    pub(super) fn union(ranges: impl IntoIterator<Item = TimeRange>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable_by_key(|range| range.from);
        let mut merged: Vec<TimeRange> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// From the first instant to the last, or `None` if there is none.
    pub(super) fn span(&self) -> Option<TimeRange> {
        Some(TimeRange {
            from: self.0.first()?.from,
            to: self.0.last()?.to,
        })
    }

    /// True if the set has an instant in `start..=last`.
    pub(super) fn overlap(&self, start: Timestamp, last: Timestamp) -> bool {
        let candidate = self.0.partition_point(|range| range.to < start);
        self.0.get(candidate).is_some_and(|range| range.from <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        }
    }

    fn overlap(times: &Times, start: i64, last: i64) -> bool {
        times.overlap(Timestamp::from_nanos(start), Timestamp::from_nanos(last))
    }

    #[test]
    fn times_merge_and_keep_their_gaps() {
        let times = Times::union([range(50, 60), range(0, 10), range(5, 20)]);
        assert_eq!(times.0, [range(0, 20), range(50, 60)]);
        assert!(overlap(&times, 20, 30));
        assert!(!overlap(&times, 21, 49));
        assert!(overlap(&times, 21, 50));
        assert!(!overlap(&times, 61, 99));
        assert!(Times::union([]).span().is_none());
    }

    #[test]
    fn zones_are_saved_loaded_and_found() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(include_str!("schema/segment/001-flows.sql"))
            .unwrap();
        let mut zones = Zones::load(&connection, Kind::Flow).unwrap();
        assert_eq!(zones.range(), None);
        for row in 1..=4096 * 3 {
            zones.cover(row, row * 10, row * 10 + 5);
        }
        zones.save(&connection).unwrap();
        // A flow of the first zone lives on.
        zones.cover(7, 70, 900_000);
        zones.save(&connection).unwrap();
        let again = Zones::load(&connection, Kind::Flow).unwrap();
        assert_eq!(again.range(), Some(range(10, 900_000)));
        assert!(again.dirty.is_empty());
        let find = |from, to| stretches(&connection, Kind::Flow, &Times::one(range(from, to))).unwrap();
        assert_eq!(find(800_000, 800_001), [(0, 4095)]);
        assert_eq!(find(41_000, 41_001), [(0, 8191)]);
        assert_eq!(find(0, 10), [(0, 4095)]);
        assert_eq!(find(900_001, i64::MAX), []);
    }
}

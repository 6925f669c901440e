//! `Aggregates`: metrics of many flows added up in slices of time.

use flowtap_flow::flow::FlowMetric;
use flowtap_flow::timestamp::Timestamp;

/// Slices of one answer; Skydive's number.
const MAX_SLICES: i64 = 10_000;

/// More than [`MAX_SLICES`] would be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManySlices;

/// A stretch of time cut into slices of one length, of which the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    from_ms: i64,
    to_ms: i64,
    slice_ms: i64,
}

impl Grid {
    /// Cuts `from_ms..=to_ms` every `seconds` from its beginning.
    pub(super) fn new(from_ms: i64, to_ms: i64, seconds: i64) -> Result<Self, TooManySlices> {
        let slice_ms = seconds.saturating_mul(1000).max(1);
        let grid = Self {
            from_ms,
            to_ms: to_ms.max(from_ms),
            slice_ms,
        };
        if grid.slices() > MAX_SLICES {
            Err(TooManySlices)
        } else {
            Ok(grid)
        }
    }

    /// The grid over all of `metrics`, `None` if there are none.
    pub(super) fn over(metrics: &[FlowMetric], seconds: i64) -> Option<Result<Self, TooManySlices>> {
        let from_ms = metrics.iter().map(|m| m.start.millis()).min()?;
        let to_ms = metrics.iter().map(|m| m.last.millis()).max()?;
        Some(Self::new(from_ms, to_ms, seconds))
    }

    fn slices(self) -> i64 {
        let length = self.to_ms.saturating_sub(self.from_ms);
        (length / self.slice_ms + i64::from(length % self.slice_ms != 0)).max(1)
    }

    fn slice_of(self, ms: i64) -> i64 {
        ((ms - self.from_ms) / self.slice_ms).min(self.slices() - 1)
    }

    fn begin(self, slice: i64) -> i64 {
        self.from_ms + slice * self.slice_ms
    }

    fn end(self, slice: i64) -> i64 {
        self.begin(slice).saturating_add(self.slice_ms).min(self.to_ms)
    }
}

/// Adds up `metrics` in the slices of `grid`; slices without a packet are left out.
///
/// A metric that spans slices gives each its share by time. Shares are cut out of the running
/// total, so that they always add up to the metric itself.
pub(super) fn aggregate(metrics: &[FlowMetric], grid: Grid) -> Vec<FlowMetric> {
    let count = usize::try_from(grid.slices()).unwrap_or(0);
    let mut slices = vec![FlowMetric::default(); count];
    for metric in metrics {
        add(&mut slices, metric, grid);
    }
    slices
        .into_iter()
        .zip(0..)
        .filter(|(m, _)| m.ab_packets | m.ab_bytes | m.ba_packets | m.ba_bytes != 0)
        .map(|(metric, slice)| FlowMetric {
            start: Timestamp::from_millis(grid.begin(slice)),
            last: Timestamp::from_millis(grid.end(slice)),
            ..metric
        })
        .collect()
}

fn add(slices: &mut [FlowMetric], metric: &FlowMetric, grid: Grid) {
    let start = metric.start.millis().clamp(grid.from_ms, grid.to_ms);
    let last = metric.last.millis().clamp(start, grid.to_ms);
    let first_slice = grid.slice_of(start);
    // A metric that ends where a slice begins has no part in it, unless it is nothing but that point.
    let last_slice = if last > start {
        grid.slice_of(last - 1)
    } else {
        first_slice
    };
    let length = i128::from(last - start);
    let mut given = FlowMetric::default();
    for slice in first_slice..=last_slice {
        let until = if slice == last_slice {
            last
        } else {
            grid.end(slice)
        };
        let part = i128::from(until - start);
        let share = |total: u64, given: &mut u64| {
            let due = if part == length {
                total
            } else {
                rounded(total, part, length)
            };
            let share = due - *given;
            *given = due;
            share
        };
        let Some(sum) = usize::try_from(slice)
            .ok()
            .and_then(|index| slices.get_mut(index))
        else {
            continue;
        };
        sum.ab_packets = sum
            .ab_packets
            .saturating_add(share(metric.ab_packets, &mut given.ab_packets));
        sum.ab_bytes = sum
            .ab_bytes
            .saturating_add(share(metric.ab_bytes, &mut given.ab_bytes));
        sum.ba_packets = sum
            .ba_packets
            .saturating_add(share(metric.ba_packets, &mut given.ba_packets));
        sum.ba_bytes = sum
            .ba_bytes
            .saturating_add(share(metric.ba_bytes, &mut given.ba_bytes));
    }
}

/// `total · part / length`, rounded to the nearest; `0 ≤ part ≤ length`, `length > 0`.
fn rounded(total: u64, part: i128, length: i128) -> u64 {
    let scaled = (i128::from(total) * part * 2 + length) / (length * 2);
    u64::try_from(scaled).unwrap_or(total).min(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metric(start_ms: i64, last_ms: i64, packets: u64) -> FlowMetric {
        FlowMetric {
            ab_packets: packets,
            start: Timestamp::from_millis(start_ms),
            last: Timestamp::from_millis(last_ms),
            ..FlowMetric::default()
        }
    }

    fn rows(metrics: &[FlowMetric], grid: Grid) -> Vec<(i64, i64, u64)> {
        let row = |m: &FlowMetric| (m.start.millis(), m.last.millis(), m.ab_packets);
        aggregate(metrics, grid).iter().map(row).collect()
    }

    #[test]
    fn shares_follow_time() {
        let grid = Grid::new(0, 90_000, 30).unwrap();
        assert_eq!(
            rows(&[metric(15_000, 45_000, 10)], grid),
            [(0, 30_000, 5), (30_000, 60_000, 5)]
        );
        assert_eq!(
            rows(&[metric(0, 90_000, 10)], grid),
            [(0, 30_000, 3), (30_000, 60_000, 4), (60_000, 90_000, 3)]
        );
        assert_eq!(rows(&[metric(0, 60_000, 1)], grid), [(0, 30_000, 1)]);
    }

    #[test]
    fn points_and_edges_have_one_slice() {
        let grid = Grid::new(0, 70_000, 30).unwrap();
        let points = [
            metric(0, 0, 1),
            metric(30_000, 30_000, 2),
            metric(70_000, 70_000, 4),
        ];
        assert_eq!(
            rows(&points, grid),
            [(0, 30_000, 1), (30_000, 60_000, 2), (60_000, 70_000, 4)]
        );
        assert_eq!(rows(&[metric(0, 30_000, 8)], grid), [(0, 30_000, 8)]);
        assert_eq!(
            rows(&[metric(5, 5, 3)], Grid::new(5, 5, 30).unwrap()),
            [(5, 5, 3)]
        );
        assert_eq!(rows(&[], grid), []);
    }

    #[test]
    fn ten_thousand_slices_and_no_more() {
        assert!(Grid::new(0, 10_000_000, 1).is_ok());
        assert_eq!(Grid::new(0, 10_000_001, 1), Err(TooManySlices));
        assert!(Grid::new(0, i64::MAX, i64::MAX).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made(
            spans in proptest::collection::vec((0_i64..100_000, 0_i64..100_000, any::<u32>()), 0..20),
            seconds in 1_i64..120,
        ) {
            let metrics: Vec<_> =
                spans.iter().map(|(s, d, n)| metric(*s, s + d, u64::from(*n))).collect();
            if let Some(grid) = Grid::over(&metrics, seconds) {
                let sum = |m: &[FlowMetric]| m.iter().map(|m| m.ab_packets).sum::<u64>();
                prop_assert_eq!(sum(&aggregate(&metrics, grid.unwrap())), sum(&metrics));
            }
        }
    }
}

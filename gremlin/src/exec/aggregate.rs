//! `Aggregates`: metrics of many flows added up in slices of time.

use flowtap_flow::flow::FlowMetric;
use flowtap_flow::timestamp::Timestamp;

use crate::arguments;
use crate::error::QueryError;
use crate::syntax::ast::Step;
use crate::time::Window;

/// Slices of one answer; Skydive's number.
const MAX_SLICES: i64 = 10_000;

/// More than [`MAX_SLICES`] would be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooManySlices;

/// A stretch of time cut into slices of one length, of which the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    from_ms: i64,
    to_ms: i64,
    slice_ms: i64,
}

impl Grid {
    /// Cuts `from_ms..=to_ms` every `seconds` from its beginning.
    fn new(from_ms: i64, to_ms: i64, seconds: i64) -> Result<Self, TooManySlices> {
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
    fn over<M: Metric>(metrics: &[M], seconds: i64) -> Option<Result<Self, TooManySlices>> {
        let from_ms = metrics.iter().map(|m| m.span_ms().0).min()?;
        let to_ms = metrics.iter().map(|m| m.span_ms().1).max()?;
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

/// Counters over a stretch of time.
pub(super) trait Metric: Clone + Default {
    /// First and last millisecond.
    fn span_ms(&self) -> (i64, i64);

    /// The same counters over another stretch.
    fn with_span_ms(self, start: i64, last: i64) -> Self;

    /// Whether nothing was counted.
    fn is_zero(&self) -> bool;

    /// Adds to each counter what `share` makes of that of `whole` and of what is `given` of it already.
    fn add_shares(&mut self, whole: &Self, given: &mut Self, share: &dyn Fn(u64, &mut u64) -> u64);
}

impl Metric for FlowMetric {
    fn span_ms(&self) -> (i64, i64) {
        (self.start.millis(), self.last.millis())
    }

    fn with_span_ms(self, start: i64, last: i64) -> Self {
        Self {
            start: Timestamp::from_millis(start),
            last: Timestamp::from_millis(last),
            ..self
        }
    }

    fn is_zero(&self) -> bool {
        self.ab_packets | self.ab_bytes | self.ba_packets | self.ba_bytes == 0
    }

    fn add_shares(&mut self, whole: &Self, given: &mut Self, share: &dyn Fn(u64, &mut u64) -> u64) {
        let counters = [
            (&mut self.ab_packets, whole.ab_packets, &mut given.ab_packets),
            (&mut self.ab_bytes, whole.ab_bytes, &mut given.ab_bytes),
            (&mut self.ba_packets, whole.ba_packets, &mut given.ba_packets),
            (&mut self.ba_bytes, whole.ba_bytes, &mut given.ba_bytes),
        ];
        for (sum, total, given) in counters {
            *sum = sum.saturating_add(share(total, given));
        }
    }
}

/// Adds up `metrics` in the slices of `grid`; slices in which nothing was counted are left out.
///
/// A metric that spans slices gives each its share by time. Shares are cut out of the running
/// total, so that they always add up to the metric itself.
fn aggregate<M: Metric>(metrics: &[M], grid: Grid) -> Vec<M> {
    let count = usize::try_from(grid.slices()).unwrap_or(0);
    let mut slices = vec![M::default(); count];
    for metric in metrics {
        add(&mut slices, metric, grid);
    }
    slices
        .into_iter()
        .zip(0..)
        .filter(|(metric, _)| !metric.is_zero())
        .map(|(metric, slice)| metric.with_span_ms(grid.begin(slice), grid.end(slice)))
        .collect()
}

fn add<M: Metric>(slices: &mut [M], metric: &M, grid: Grid) {
    let (start, last) = metric.span_ms();
    let start = start.clamp(grid.from_ms, grid.to_ms);
    let last = last.clamp(start, grid.to_ms);
    let first_slice = grid.slice_of(start);
    // A metric that ends where a slice begins has no part in it, unless it is nothing but that point.
    let last_slice = if last > start {
        grid.slice_of(last - 1)
    } else {
        first_slice
    };
    let length = i128::from(last - start);
    let mut given = M::default();
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
        let index = usize::try_from(slice).ok();
        if let Some(sum) = index.and_then(|index| slices.get_mut(index)) {
            sum.add_shares(metric, &mut given, &share);
        }
    }
}

/// One `Aggregates` step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slices {
    column: usize,
    seconds: i64,
}

impl Slices {
    /// Reads `step`; too many slices for `window` are refused at once.
    pub(super) fn of(step: &Step, window: Option<Window>) -> Result<Self, QueryError> {
        let slices = Self {
            column: step.column,
            seconds: arguments::aggregates(step)?,
        };
        slices.grid(window).transpose()?;
        Ok(slices)
    }

    /// The slices of the window, if the query has one with a beginning and an end.
    fn grid(self, window: Option<Window>) -> Option<Result<Grid, QueryError>> {
        let (from, to) = window?.bounds_ms()?;
        Some(Grid::new(from, to, self.seconds).map_err(|TooManySlices| self.exceeded()))
    }

    /// Adds up `metrics`. Without a beginning (one instant, `FOREVER`, no `At`) the slices begin with
    /// the data.
    pub(super) fn aggregate<M: Metric>(
        self,
        metrics: &[M],
        window: Option<Window>,
    ) -> Result<Vec<M>, QueryError> {
        let grid = self.grid(window).or_else(|| {
            let over = Grid::over(metrics, self.seconds);
            over.map(|grid| grid.map_err(|TooManySlices| self.exceeded()))
        });
        match grid {
            Some(grid) => Ok(aggregate(metrics, grid?)),
            None => Ok(Vec::new()),
        }
    }

    fn exceeded(self) -> QueryError {
        let seconds = self.seconds;
        let message = format!(
            "Aggregates available slices exceeded: the time holds more than 10000 slices of \
             {seconds} s; narrow it with At, or give Aggregates more seconds"
        );
        QueryError::at(self.column, message)
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

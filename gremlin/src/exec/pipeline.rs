//! Items pushed through stages, one by one, so that a limit can stop the reader and a count holds
//! nothing.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::error::QueryError;
use crate::limits::{Meter, size};

/// Whether more is wanted; `Break` says no, and is no failure.
pub(super) type Flowing = Result<ControlFlow<()>, QueryError>;

pub(super) const MORE: Flowing = Ok(ControlFlow::Continue(()));

/// Where a stage puts what it lets through.
pub(super) type Next<'a, T> = dyn FnMut(T) -> Flowing + 'a;

/// One step between the reader and the answer.
pub(super) trait Stage<T> {
    /// Takes an item; hands on any number. `Break` means that no further item would change what
    /// this stage hands on.
    fn push(&mut self, item: T, next: &mut Next<'_, T>) -> Flowing;

    /// Says that no item follows; what was held back is handed on.
    fn finish(&mut self, _next: &mut Next<'_, T>) -> Flowing {
        MORE
    }
}

/// Stages in a row.
pub(super) type Stages<'a, T> = Vec<Box<dyn Stage<T> + 'a>>;

/// Pushes one item through all `stages` into `sink`.
pub(super) fn feed<T>(stages: &mut [Box<dyn Stage<T> + '_>], item: T, sink: &mut Next<'_, T>) -> Flowing {
    match stages.split_first_mut() {
        None => sink(item),
        Some((first, rest)) => first.push(item, &mut |item| feed(rest, item, sink)),
    }
}

/// Ends all `stages`, first to last: what one held back runs through those after it.
pub(super) fn finish<T>(
    stages: &mut [Box<dyn Stage<T> + '_>],
    sink: &mut Next<'_, T>,
) -> Result<(), QueryError> {
    let mut rest = stages;
    while let Some((first, after)) = rest.split_first_mut() {
        // A `Break` from behind ends what this stage hands on, not the stages behind it.
        let _ = first.finish(&mut |item| feed(after, item, sink))?;
        rest = after;
    }
    Ok(())
}

/// Lets through what meets a condition.
pub(super) struct Filter<F>(pub(super) F);

impl<T, F: FnMut(&T) -> bool> Stage<T> for Filter<F> {
    fn push(&mut self, item: T, next: &mut Next<'_, T>) -> Flowing {
        if (self.0)(&item) { next(item) } else { MORE }
    }
}

/// Lets through the items from one position to another.
pub(super) struct Slice {
    skip: u64,
    take: u64,
}

impl Slice {
    /// From the first position, included, to the second, excluded.
    pub(super) fn new(from: u64, to: u64) -> Self {
        Self {
            skip: from,
            take: to.saturating_sub(from),
        }
    }
}

impl<T> Stage<T> for Slice {
    fn push(&mut self, item: T, next: &mut Next<'_, T>) -> Flowing {
        if self.take == 0 {
            return Ok(ControlFlow::Break(()));
        }
        if self.skip > 0 {
            self.skip -= 1;
            return MORE;
        }
        self.take -= 1;
        let flowing = next(item)?;
        Ok(if self.take == 0 {
            ControlFlow::Break(())
        } else {
            flowing
        })
    }
}

/// Lets through the first item of each key, and all that have none.
pub(super) struct Dedup<F> {
    key: F,
    seen: HashSet<String>,
    meter: Meter,
}

impl<F> Dedup<F> {
    pub(super) fn new(key: F, meter: Meter) -> Self {
        Self {
            key,
            seen: HashSet::new(),
            meter,
        }
    }
}

impl<T, F: FnMut(&T) -> Option<String>> Stage<T> for Dedup<F> {
    fn push(&mut self, item: T, next: &mut Next<'_, T>) -> Flowing {
        if let Some(key) = (self.key)(&item) {
            let bytes = size(size_of::<String>() + key.len());
            if !self.seen.insert(key) {
                return MORE;
            }
            self.meter.add(bytes)?;
        }
        next(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    /// Holds everything back until the end.
    struct Hold(Vec<u32>);

    impl Stage<u32> for Hold {
        fn push(&mut self, item: u32, _next: &mut Next<'_, u32>) -> Flowing {
            self.0.push(item);
            MORE
        }

        fn finish(&mut self, next: &mut Next<'_, u32>) -> Flowing {
            for item in std::mem::take(&mut self.0) {
                if next(item)?.is_break() {
                    break;
                }
            }
            MORE
        }
    }

    /// What comes out of `stages`, and how many items they took.
    fn through(mut stages: Stages<'_, u32>, items: impl Iterator<Item = u32>) -> (Vec<u32>, usize) {
        let (mut out, mut taken) = (Vec::new(), 0);
        let mut sink = |item| {
            out.push(item);
            MORE
        };
        for item in items {
            taken += 1;
            if feed(&mut stages, item, &mut sink).unwrap().is_break() {
                break;
            }
        }
        finish(&mut stages, &mut sink).unwrap();
        (out, taken)
    }

    #[test]
    fn a_slice_stops_the_source() {
        assert_eq!(through(vec![Box::new(Slice::new(2, 4))], 0..), (vec![2, 3], 4));
        assert_eq!(through(vec![Box::new(Slice::new(0, 0))], 0..), (vec![], 1));
        assert_eq!(through(vec![Box::new(Slice::new(5, 9))], 0..3), (vec![], 3));
    }

    #[test]
    fn a_slice_behind_stages_that_hold_back_stops_only_them() {
        let stages: Stages<'_, u32> = vec![
            Box::new(Hold(Vec::new())),
            Box::new(Slice::new(0, 3)),
            Box::new(Hold(Vec::new())),
            Box::new(Slice::new(1, 2)),
        ];
        assert_eq!(through(stages, 0..10), (vec![1], 10));
    }

    #[test]
    fn dedup_keeps_the_first_of_each_key_and_all_without() {
        let key = |item: &u32| (!item.is_multiple_of(3)).then(|| (item % 3).to_string());
        let dedup = Dedup::new(key, Meter::new("keys", &Limits::default()));
        assert_eq!(through(vec![Box::new(dedup)], 0..8).0, [0, 1, 2, 3, 6]);
        let tight = Limits {
            max_rows: 1,
            ..Limits::default()
        };
        let mut dedup = Dedup::new(|item: &u32| Some(item.to_string()), Meter::new("keys", &tight));
        assert!(dedup.push(1, &mut |_| MORE).is_ok());
        assert!(dedup.push(1, &mut |_| MORE).is_ok());
        assert!(dedup.push(2, &mut |_| MORE).is_err());
    }
}

//! Counters of interfaces, whoever counts: their differences, and their JSON in Skydive's words.

use serde_json::{Map, Value};

/// Counts since something was made, in an order that their names have too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts<const N: usize>(pub(super) [u64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Counts<N> {
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// What was counted since `before`. A counter that stands lower began anew, and has counted what it
    /// shows.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut delta = *self;
        for (count, before) in delta.0.iter_mut().zip(before.0) {
            *count = count.checked_sub(before).unwrap_or(*count);
        }
        delta
    }

    /// The counts that are not zero by `names`, with the times (milliseconds since the Unix epoch) of the
    /// first of two looks, if this is what was counted between them, and of the last.
    pub(super) fn to_json(self, names: [&str; N], start: Option<i64>, last: i64) -> Value {
        let mut metric: Map<String, Value> = names
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        if let Some(start) = start {
            metric.insert("Start".to_owned(), start.into());
        }
        metric.insert("Last".to_owned(), last.into());
        Value::Object(metric)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zeros_are_left_out_and_differences_survive_a_reset() {
        let names = ["RxPackets", "RxBytes"];
        assert_eq!(
            Counts([2, 0]).to_json(names, None, 1_000),
            json!({"RxPackets": 2, "Last": 1_000})
        );
        let delta = Counts([5, 500]).since(&Counts([3, 300]));
        assert_eq!(
            delta.to_json(names, Some(1), 2),
            json!({"RxPackets": 2, "RxBytes": 200, "Start": 1, "Last": 2})
        );
        assert_eq!(Counts([1, 60]).since(&Counts([3, 300])), Counts([1, 60]));
        assert!(Counts([0, 0]).is_zero() && !Counts([0, 1]).is_zero());
    }
}

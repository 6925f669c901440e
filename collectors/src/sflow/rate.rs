//! What a sample really stands for.

use serde::{Serialize, Serializer};

/// So many samples are remembered in full; what was before them counts half, and half again. A rate that
/// is changed shows within some thousands of samples, and one of 1:1,000 is known to a few percent.
const MEMORY: u64 = 4_096;

/// How many packets passed for each sample that came, by `sample_pool`. The rate that the agent tells is
/// what it was asked to do; what it dropped itself, and what was lost on the way, makes the difference.
///
/// In JSON a number, `null` as long as there are less than two samples to compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EffectiveRate {
    packets: u64,
    samples: u64,
}

impl EffectiveRate {
    /// Takes samples that came, and the packets that passed meanwhile.
    #[inline]
    pub(super) fn add(&mut self, packets: u64, samples: u64) {
        self.packets += packets;
        self.samples += samples;
        if self.samples >= 2 * MEMORY {
            self.packets /= 2;
            self.samples /= 2;
        }
    }

    /// N of 1:N, to a thousandth.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "both are far below 2⁵²")]
    pub fn get(self) -> Option<f64> {
        let rate = self.packets as f64 / self.samples as f64;
        (self.samples > 0).then(|| (rate * 1_000.0).round() / 1_000.0)
    }
}

impl Serialize for EffectiveRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

/// Follows the `sample_pool` of one data source, which counts modulo 2³².
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pool(Option<u32>);

impl Pool {
    /// Takes the pool of a newer sample than all before. Returns the packets since the one before; `None` if
    /// there was none, or the agent began anew.
    #[inline]
    pub(super) fn advance(&mut self, pool: u32) -> Option<u64> {
        let before = self.0.replace(pool)?;
        let new = pool.wrapping_sub(before);
        (new < 1 << 31).then_some(new.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_wraps_and_may_begin_anew() {
        let mut pool = Pool::default();
        assert_eq!(pool.advance(u32::MAX - 9), None);
        assert_eq!(pool.advance(90), Some(100));
        assert_eq!(pool.advance(90), Some(0));
        assert_eq!(pool.advance(5), None);
        assert_eq!(pool.advance(15), Some(10));
    }

    #[test]
    fn a_rate_that_changes_is_followed() {
        let mut rate = EffectiveRate::default();
        assert_eq!(rate.get(), None);
        assert_eq!(serde_json::to_value(rate).unwrap(), serde_json::Value::Null);
        for _ in 0..1_000_000 {
            rate.add(100, 1);
        }
        assert_eq!(rate.get(), Some(100.0));
        // Every second one lost: each stands for twice as many.
        for _ in 0..100_000 {
            rate.add(200, 1);
        }
        assert!(rate.get().unwrap() > 199.9, "{rate:?}");
        assert!(rate.samples < 2 * MEMORY);
    }
}

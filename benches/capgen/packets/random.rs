//! Numbers that look random and are the same in every run.

/// xorshift64*: fast, and good enough to pick packets with.
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for each `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        // The upper half of a 32 by 32 bit product: no division, and a bias far below what matters.
        let product = (self.next() >> 32) * u64::from(limit);
        (product >> 32) as u32
    }

    /// From 0 to 1, 1 excluded.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Zipf's law with exponent 1: the item of rank r is picked r times less often than the first.
pub(crate) struct Zipf {
    /// The probability of this rank or one before it.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Picks among `items` items.
    pub(crate) fn new(items: u32) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=items)
            .map(|rank| {
                sum += 1.0 / f64::from(rank);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|entry| *entry /= sum);
        Self { cumulative }
    }

    /// An item's number, 0 for the most frequent.
    pub(crate) fn pick(&self, random: &mut Random) -> u32 {
        let at = random.unit();
        let rank = self.cumulative.partition_point(|&entry| entry <= at);
        rank.min(self.cumulative.len() - 1) as u32
    }
}

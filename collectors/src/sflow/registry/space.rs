//! What is followed of one kind of samples of one data source.

use crate::sflow::rate::Pool;
use crate::sflow::sequence::{Sequence, Step};

/// One of the sequences of a data source.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct SampleSpace {
    sequence: Sequence,
    drops: Option<u32>,
    pool: Pool,
}

impl SampleSpace {
    /// Takes a sample's number, and adds to `lost` what is missing before it. `in_order` says that its
    /// datagram was the newest: only then a number far back means that the source began anew. Returns what
    /// the number tells; the first of a source that began anew is a first.
    #[inline(always)]
    pub(in super::super) fn follow(&mut self, number: u32, in_order: bool, lost: &mut u64) -> Step {
        let step = self.sequence.follow(number);
        match step {
            Step::Ahead { missing } => *lost += u64::from(missing),
            Step::Late => *lost = lost.saturating_sub(1),
            Step::Behind if in_order => {
                *self = Self {
                    sequence: begun(number),
                    ..Self::default()
                };
                return Step::First;
            }
            Step::First | Step::Early | Step::Duplicate | Step::Behind => {}
        }
        step
    }

    /// Takes the sample pool that came with a sample of this [`Step`]. Returns how many packets the sample
    /// stands for: those since the newest before it. For a late one that is none, for the newer one has told
    /// of them already. `None` if there is nothing to compare with.
    #[inline(always)]
    pub(in super::super) fn passed(&mut self, step: Step, pool: u32) -> Option<u64> {
        match step {
            Step::First | Step::Ahead { .. } => self.pool.advance(pool),
            Step::Late => Some(0),
            Step::Early | Step::Duplicate | Step::Behind => None,
        }
    }

    /// Takes a sample's count of drops, and adds to `drops` those since the one before.
    #[inline(always)]
    pub(in super::super) fn count_drops(&mut self, count: u32, drops: &mut u64) {
        let before = self.drops.replace(count).unwrap_or(count);
        // One that falls belongs to a sample that came late.
        *drops += u64::from(count.saturating_sub(before));
        self.drops = Some(count.max(before));
    }
}

fn begun(number: u32) -> Sequence {
    let mut sequence = Sequence::default();
    sequence.begin(number);
    sequence
}

//! Sequence numbers: what was lost on the way, what came late, what came twice.

/// How far behind the newest number a late one is still told from a duplicate.
pub(super) const WINDOW: u32 = 64;

/// Uptime that goes back by less than this is reordering: agents round it to whole seconds.
const UPTIME_SLACK_MS: i32 = 2_000;

/// What a sequence number tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first one: nothing to compare with.
    First,
    /// Newer than all before; so many between them are missing.
    Ahead { missing: u32 },
    /// One that was missing.
    Late,
    /// Older than the first one seen, so it never counted as missing.
    Early,
    /// One that was there already.
    Duplicate,
    /// Too far behind to tell.
    Behind,
}

/// Follows one space of sequence numbers, which wrap at 2³².
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    newest: u32,
    /// Bit n: `newest − n` was seen.
    seen: u64,
    /// How many numbers lie between the first one seen and the newest, up to [`WINDOW`].
    span: u32,
}

impl Sequence {
    pub(super) fn follow(&mut self, number: u32) -> Step {
        // Bit 0 is set as soon as there is a newest.
        if self.seen == 0 {
            self.begin(number);
            return Step::First;
        }
        let ahead = number.wrapping_sub(self.newest);
        if ahead != 0 && ahead < 1 << 31 {
            self.newest = number;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.span = self.span.saturating_add(ahead).min(WINDOW);
            return Step::Ahead { missing: ahead - 1 };
        }
        let behind = self.newest.wrapping_sub(number);
        if behind >= WINDOW {
            Step::Behind
        } else if behind > self.span {
            Step::Early
        } else if self.seen & 1 << behind != 0 {
            Step::Duplicate
        } else {
            self.seen |= 1 << behind;
            Step::Late
        }
    }

    /// Forgets all before `number`.
    pub(super) fn begin(&mut self, number: u32) {
        *self = Self {
            newest: number,
            seen: 1,
            span: 0,
        };
    }
}

/// Follows the datagrams of one agent and sub-agent, and tells a restart by sequence and uptime.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DatagramSequence {
    sequence: Sequence,
    uptime_ms: u32,
}

/// What a datagram's number and uptime tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatagramStep {
    /// As the sequence says.
    Follows(Step),
    /// The agent began anew: all its counts start again.
    Restart,
}

impl DatagramSequence {
    pub(super) fn follow(&mut self, number: u32, uptime_ms: u32) -> DatagramStep {
        let before = *self;
        let step = self.sequence.follow(number);
        // Modulo 2³², so that the wrap after 49.7 days is a step forward.
        let back = before.uptime_ms.wrapping_sub(uptime_ms).cast_signed();
        let restart = match step {
            Step::First => false,
            Step::Behind => true,
            // A number seen before comes again with an older uptime: not the same datagram.
            Step::Duplicate => back > 0,
            Step::Ahead { .. } | Step::Late | Step::Early => back >= UPTIME_SLACK_MS,
        };
        if restart {
            self.sequence.begin(number);
        }
        if restart || matches!(step, Step::First | Step::Ahead { .. }) {
            self.uptime_ms = uptime_ms;
        }
        if restart {
            DatagramStep::Restart
        } else {
            DatagramStep::Follows(step)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(numbers: impl IntoIterator<Item = u32>) -> Vec<Step> {
        let mut sequence = Sequence::default();
        numbers
            .into_iter()
            .map(|number| sequence.follow(number))
            .collect()
    }

    #[test]
    fn gaps_and_late_ones() {
        let ahead = |missing| Step::Ahead { missing };
        assert_eq!(
            run([5, 6, 9, 7, 7, 10]),
            [
                Step::First,
                ahead(0),
                ahead(2),
                Step::Late,
                Step::Duplicate,
                ahead(0)
            ]
        );
        assert_eq!(run([5, 4, 5]), [Step::First, Step::Early, Step::Duplicate]);
        assert_eq!(run([u32::MAX, 0, 2]), [Step::First, ahead(0), ahead(1)]);
        assert_eq!(run([1000, 10]), [Step::First, Step::Behind]);
    }

    #[test]
    fn restarts() {
        let follow = |datagrams: &[(u32, u32)]| {
            let mut sequence = DatagramSequence::default();
            datagrams
                .iter()
                .map(|(n, uptime)| sequence.follow(*n, *uptime))
                .collect::<Vec<_>>()
        };
        let last = |datagrams: &[(u32, u32)]| follow(datagrams).pop().unwrap();
        let restart = DatagramStep::Restart;
        assert_eq!(last(&[(90_000, 5_000_000), (1, 0)]), restart, "number far back");
        assert_eq!(last(&[(5, 2_000), (6, 2_000), (1, 0)]), restart, "uptime back");
        assert_eq!(
            last(&[(1, 0), (2, 1_000), (1, 0)]),
            restart,
            "soon after the start"
        );
        assert_eq!(
            last(&[(5, 900_000), (50, 1_000)]),
            restart,
            "more datagrams than before, unseen"
        );
        assert_eq!(
            last(&[(1, 1_000), (3, 2_000), (2, 1_000)]),
            DatagramStep::Follows(Step::Late)
        );
        assert_eq!(
            last(&[(1, 1_000), (1, 1_000)]),
            DatagramStep::Follows(Step::Duplicate)
        );
        let wrapped = DatagramStep::Follows(Step::Ahead { missing: 0 });
        assert_eq!(
            last(&[(7, u32::MAX - 10), (8, 500)]),
            wrapped,
            "uptime wraps after 49.7 days"
        );
        assert_eq!(follow(&[(9, 9_000), (1, 0), (2, 0)])[2], wrapped);
    }

    proptest! {
        /// Missing less late is exactly what never came, whatever is dropped or swapped with a
        /// neighbour.
        #[test]
        fn losses_are_exact(
            start: u32,
            fates in proptest::collection::vec((prop::bool::weighted(0.9), any::<bool>()), 3..300),
        ) {
            let count = u32::try_from(fates.len()).unwrap();
            let mut order: Vec<u32> = (0..count).collect();
            // The first and the last stay where they are: they bound what can be known.
            for (i, (_, late)) in fates.iter().enumerate().take(fates.len() - 2).skip(1) {
                if *late {
                    order.swap(i, i + 1);
                }
            }
            let kept: Vec<u32> = order
                .iter()
                .copied()
                .filter(|n| *n == 0 || *n == count - 1 || fates[*n as usize].0)
                .collect();
            // A chain of swaps carries a number further than the window only in theory.
            prop_assume!(kept.windows(2).all(|pair| pair[1] + WINDOW > pair[0]));
            let mut lost = 0i64;
            for step in run(kept.iter().map(|n| start.wrapping_add(*n))) {
                match step {
                    Step::First => {}
                    Step::Ahead { missing } => lost += i64::from(missing),
                    Step::Late => lost -= 1,
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(lost, i64::from(count) - i64::try_from(kept.len()).unwrap());
        }
    }
}

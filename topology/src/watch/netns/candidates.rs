//! Namespaces without a name that may become worth watching.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How long until one that held nothing is looked into again, at first and at most. A container's
/// namespace is empty for its first moments; one that stays empty costs a look a minute.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Namespaces that were seen and held nothing, by inode: no more than there are processes, some 40 bytes
/// each.
#[derive(Debug, Default)]
pub(super) struct Candidates(HashMap<u64, Candidate>);

#[derive(Debug)]
struct Candidate {
    next: Instant,
    pause: Duration,
}

impl Candidates {
    /// Which of those that were found to look into now. Those that were not found are forgotten.
    pub(super) fn due(&mut self, found: &BTreeMap<u64, u32>) -> Vec<(u64, u32)> {
        let now = Instant::now();
        self.0.retain(|inode, _| found.contains_key(inode));
        let mut due = Vec::new();
        for (inode, pid) in found {
            let candidate = self.0.entry(*inode).or_insert(Candidate {
                next: now,
                pause: PAUSE.0,
            });
            if candidate.next <= now {
                candidate.next = now + candidate.pause;
                candidate.pause = (candidate.pause * 2).min(PAUSE.1);
                due.push((*inode, *pid));
            }
        }
        due
    }

    /// Something was moved somewhere: all are to be looked into.
    pub(super) fn all_due(&mut self) {
        let now = Instant::now();
        for candidate in self.0.values_mut() {
            candidate.next = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_holds_nothing_is_not_looked_into_all_the_time() {
        let mut candidates = Candidates::default();
        let found = BTreeMap::from([(7, 100)]);
        assert_eq!(candidates.due(&found), [(7, 100)]);
        assert_eq!(candidates.due(&found), []);
        candidates.all_due();
        assert_eq!(candidates.due(&found), [(7, 100)]);
        assert_eq!(candidates.due(&BTreeMap::new()), []);
        assert_eq!(
            candidates.due(&found),
            [(7, 100)],
            "it is another one of the same number"
        );
    }
}

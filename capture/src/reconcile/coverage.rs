//! What sources have taken of the first packets that are held.
//!
//! A machine that is plugged in again keeps its interface, and what was held of it: the capture's next source
//! there goes on where the last one left off, also if the expression did not name the node in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flowtap_collectors::Coverage;
use flowtap_topology::NodeId;

use super::Key;

/// How far the sources of each capture have come at each node. Some 200 bytes each, for as long as anything
/// is held: there are no more than sources were started within that time.
#[derive(Default)]
pub(super) struct Coverages {
    by_key: BTreeMap<Key, (Coverage, Instant)>,
    forgotten_at: Option<Instant>,
}

impl Coverages {
    /// Of a source that begins. What is held of an interface is held for `hold`.
    pub(super) fn of(&mut self, key: &Key, hold: Duration, now: Instant) -> Coverage {
        // A source may wait a little for what is held.
        let longest = hold.saturating_mul(2);
        let is_due = |at: Instant| now.saturating_duration_since(at) >= longest;
        if self.forgotten_at.is_none_or(is_due) {
            self.by_key.retain(|_, (_, since)| !is_due(*since));
            self.forgotten_at = Some(now);
        }
        let (coverage, _) = self
            .by_key
            .entry(key.clone())
            .or_insert_with(|| (Coverage::default(), now));
        coverage.clone()
    }

    /// The node is gone; what comes in its place is another one.
    pub(super) fn forget(&mut self, node: &NodeId) {
        let at_node = (node.clone(), 0)..=(node.clone(), u64::MAX);
        let keys: Vec<Key> = self.by_key.range(at_node).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_for_longer_than_it_matters() {
        let (mut coverages, start) = (Coverages::default(), Instant::now());
        let hold = Duration::from_secs(10);
        for number in 0..1_000 {
            let now = start + Duration::from_secs(number);
            coverages.of(&(NodeId::from("a"), number), hold, now);
            coverages.of(&(NodeId::from("b"), number), hold, now);
        }
        assert!(coverages.by_key.len() <= 80, "{}", coverages.by_key.len());
        coverages.forget(&NodeId::from("a"));
        assert!(coverages.by_key.keys().all(|(node, _)| node.as_str() == "b"));
    }
}

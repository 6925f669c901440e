//! The same packets at two sockets.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::time::Duration;

use ahash::RandomState;
use flowtap_flow::timestamp::Timestamp;

use crate::packet_socket::Frame;

/// How long after the last packet of the first socket the second may still hold one of the same: they are
/// in order but for what processors do at the same time.
const OVERLAP: Duration = Duration::from_secs(1);

/// Packets that have been handed on, and come again out of a second socket.
#[derive(Debug)]
pub(crate) struct Duplicates {
    /// How often a packet of this hash is still expected. Of packets that are none, one in 2⁵⁰ is taken
    /// for one, with the 10,000 that are held at most.
    expected: HashMap<u64, u32, RandomState>,
    hasher: RandomState,
    /// Bytes of a packet that go into its hash: what the second socket has cut does not.
    told_by: usize,
    last: Timestamp,
}

/// Bytes that tell packets of one instant and length apart.
const TOLD_BY: usize = 256;

impl Duplicates {
    /// None, for a second socket that cuts packets to `snaplen` bytes unless that is 0.
    pub(crate) fn new(snaplen: u32) -> Self {
        let snaplen = usize::try_from(snaplen).unwrap_or(TOLD_BY);
        Self {
            expected: HashMap::default(),
            hasher: RandomState::new(),
            told_by: if snaplen == 0 {
                TOLD_BY
            } else {
                snaplen.min(TOLD_BY)
            },
            last: Timestamp::ZERO,
        }
    }

    pub(crate) fn add(&mut self, frame: &Frame<'_>) {
        *self.expected.entry(self.hash(frame)).or_default() += 1;
        self.last = self.last.max(frame.timestamp);
    }

    /// True for a packet of the second socket that has been handed on; each is one but once.
    pub(crate) fn take(&mut self, frame: &Frame<'_>) -> bool {
        if self.expected.is_empty() {
            return false;
        }
        if frame.timestamp > self.last.plus(OVERLAP) {
            self.expected = HashMap::default();
            return false;
        }
        let hash = self.hash(frame);
        let Some(count) = self.expected.get_mut(&hash) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.expected.remove(&hash);
        }
        true
    }

    fn hash(&self, frame: &Frame<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (frame.timestamp, frame.len, frame.tag).hash(&mut hasher);
        let told_by = frame.data.get(..self.told_by).unwrap_or(frame.data);
        told_by.hash(&mut hasher);
        hasher.finish()
    }
}

//! The bytes between what was read and what was parsed.

/// Bytes asked of the source in one read: a share of the L2 cache that leaves room for the flow
/// table's work, and few enough system calls (one for 1,600 small packets).
pub(super) const READ_SIZE: usize = 128 << 10;

/// A flat buffer, filled at its end and emptied from its start.
///
/// It holds at most one incomplete record between reads, so moving what is left to the front costs
/// less than one packet a read. It grows for a record longer than itself, up to
/// [`super::MAX_RECORD`] and its header, and never shrinks: about 1 MiB a stream at worst.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty one; memory is taken when it is first read into.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    /// What was read and not yet parsed.
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes `count` bytes off the front.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
    }

    /// Room to read into, never empty.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            self.grow_to(self.bytes.len() + READ_SIZE);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that the first `count` bytes of [`Self::spare`] are filled.
    pub(super) fn commit(&mut self, count: usize) {
        debug_assert!(self.end + count <= self.bytes.len());
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Makes room for a record of `total` bytes at the front, so that it can be read in one go.
    pub(super) fn expect(&mut self, total: usize) {
        if total > self.bytes.len() {
            self.grow_to(total);
        }
    }

    fn grow_to(&mut self, len: usize) {
        // Zeroed by the system, page by page as it is used: an idle stream costs a page or two.
        let mut grown = vec![0; len];
        let held = self.end - self.start;
        grown[..held].copy_from_slice(self.unread());
        (self.bytes, self.start, self.end) = (grown, 0, held);
    }
}

//! Bytes that begin where a page of memory does.

/// Where they begin is a multiple of this: the largest block that file systems and disks ask for who are
/// written to past the page cache (open(2), `O_DIRECT`).
pub const PAGE: usize = 4096;

/// Bytes to append to, as in a `Vec<u8>`, of which the first lies at a multiple of [`PAGE`].
#[derive(Debug, Default)]
pub struct PageBytes {
    /// The bytes, and what lies between the begin of this memory and its first page.
    memory: Vec<u8>,
    begin: usize,
}

impl PageBytes {
    /// Makes room for `more` bytes.
    #[inline]
    pub fn reserve(&mut self, more: usize) {
        if self.memory.capacity() - self.memory.len() < more {
            self.move_to(self.len() + more.max(self.len()));
        }
    }

    /// Gives back the memory that is not needed.
    pub fn shrink_to_fit(&mut self) {
        self.move_to(self.len());
    }

    #[cold]
    fn move_to(&mut self, capacity: usize) {
        let mut memory: Vec<u8> = Vec::with_capacity(capacity + PAGE);
        let begin = memory.as_ptr().align_offset(PAGE);
        memory.resize(begin, 0);
        memory.extend_from_slice(self.as_slice());
        *self = Self { memory, begin };
    }

    /// Appends `bytes`.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.memory.extend_from_slice(bytes);
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.begin..]
    }

    /// How many they are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len() - self.begin
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_begin_at_a_page_however_they_grow(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..20),
            reserved in 0usize..10_000,
            shrink_at in 0usize..20,
        ) {
            let mut bytes = PageBytes::default();
            prop_assert!(bytes.is_empty());
            bytes.reserve(reserved);
            for (number, piece) in pieces.iter().enumerate() {
                bytes.extend_from_slice(piece);
                if number == shrink_at {
                    bytes.shrink_to_fit();
                }
                prop_assert_eq!(bytes.as_slice().as_ptr().align_offset(PAGE), 0);
            }
            prop_assert_eq!(bytes.as_slice(), pieces.concat());
        }
    }

    #[test]
    fn what_is_reserved_is_not_moved() {
        let mut bytes = PageBytes::default();
        bytes.reserve(10_000);
        let before = bytes.as_slice().as_ptr();
        bytes.extend_from_slice(&[1; 10_000]);
        assert_eq!(bytes.as_slice().as_ptr(), before);
    }
}

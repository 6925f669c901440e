//! Bloom filters of 64-bit keys: "surely not here" in eight bytes of look-up.
//!
//! A filter is words of 64 bits, little endian. A key belongs to one word and five of its bits, so that a
//! test touches one place. With 12 bits a key, about one in fifty says yes to a key that it does not have.

const BITS_PER_KEY: usize = 12;

/// Makes the filter of `keys`, which may come more than once.
pub(super) fn build(keys: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let words = (keys.len() * BITS_PER_KEY).div_ceil(64).max(1);
    let mut filter = vec![[0; 8]; words];
    for key in keys {
        let (word, bits) = place(key, words);
        filter[word] = (u64::from_le_bytes(filter[word]) | bits).to_le_bytes();
    }
    filter.into_flattened()
}

/// False if `key` is surely none of those that `filter` was made of. True of damaged filters.
pub(super) fn may_have(filter: &[u8], key: u64) -> bool {
    let (words, _) = filter.as_chunks::<8>();
    if words.is_empty() {
        return true;
    }
    let (word, bits) = place(key, words.len());
    u64::from_le_bytes(words[word]) & bits == bits
}

/// The word and the bits of a key in a filter of so many words.
fn place(key: u64, words: usize) -> (usize, u64) {
    let hash = mix(key);
    // The upper half chooses the word, without a division; the lower has five times six bits.
    let word = (hash >> 32).wrapping_mul(words as u64) >> 32;
    let bits = (0..5).fold(0, |bits, number| bits | 1 << (hash >> (number * 6) & 63));
    (usize::try_from(word).unwrap_or_default(), bits)
}

/// Spreads what keys have in common (the finalizer of SplitMix64). Part of the format.
pub(super) fn mix(key: u64) -> u64 {
    let mut hash = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_key_is_denied(keys in prop::collection::vec(any::<u64>(), 0..600)) {
            let filter = build(keys.iter().copied());
            prop_assert!(keys.iter().all(|key| may_have(&filter, *key)));
        }

        #[test]
        fn any_bytes_answer(bytes in prop::collection::vec(any::<u8>(), 0..40), key: u64) {
            may_have(&bytes, key);
        }
    }

    #[test]
    fn most_other_keys_are_denied() {
        for count in [1u64, 40, 2_000] {
            let filter = build((0..count).collect::<Vec<_>>().into_iter());
            let wrong = (count..count + 10_000)
                .filter(|key| may_have(&filter, *key))
                .count();
            assert!(wrong < 500, "{wrong} of 10,000 with {count} keys");
        }
    }
}

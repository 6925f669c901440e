//! The first N items after a cursor, of any number that come in any order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Which end of the order comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, utoipa::ToSchema)]
pub(crate) enum Order {
    #[default]
    #[schema(rename = "asc")]
    Ascending,
    #[schema(rename = "desc")]
    Descending,
}

impl Order {
    fn compare<K: Ord>(self, a: &K, b: &K) -> Ordering {
        match self {
            Self::Ascending => a.cmp(b),
            Self::Descending => b.cmp(a),
        }
    }
}

/// Bounds of a page. The first item is always taken, so that paging ends even if it is larger than
/// `bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimit {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// Keeps the first items by key, within limits of number and bytes; memory never holds more than
/// that and one item.
pub(crate) struct PageBuilder<K, T> {
    heap: BinaryHeap<Slot<K, T>>,
    order: Order,
    after: Option<K>,
    limit: PageLimit,
    bytes: usize,
    /// The first key that had no room: nothing from it on may enter, or the page would have a gap.
    ceiling: Option<K>,
}

/// One page.
pub(crate) struct Page<K, T> {
    pub(crate) items: Vec<T>,
    /// The key of the last item, if there is more after it.
    pub(crate) next: Option<K>,
    pub(crate) bytes: usize,
}

struct Slot<K, T> {
    key: K,
    order: Order,
    bytes: usize,
    item: T,
}

impl<K: Ord, T> Ord for Slot<K, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.compare(&self.key, &other.key)
    }
}

impl<K: Ord, T> PartialOrd for Slot<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> PartialEq for Slot<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<K: Ord, T> Eq for Slot<K, T> {}

impl<K: Ord + Copy, T> PageBuilder<K, T> {
    pub(crate) fn new(order: Order, after: Option<K>, limit: PageLimit) -> Self {
        Self {
            heap: BinaryHeap::new(),
            order,
            after,
            limit,
            bytes: 0,
            ceiling: None,
        }
    }

    /// Offers an item that holds `bytes`; each key comes once.
    pub(crate) fn offer(&mut self, key: K, bytes: usize, item: T) {
        let comes_after = |bound: &K| self.order.compare(&key, bound) == Ordering::Greater;
        if self.after.as_ref().is_some_and(|after| !comes_after(after)) {
            return;
        }
        if self.ceiling.as_ref().is_some_and(comes_after) {
            return;
        }
        self.bytes += bytes;
        self.heap.push(Slot {
            key,
            order: self.order,
            bytes,
            item,
        });
        while self.heap.len() > self.limit.items || (self.bytes > self.limit.bytes && self.heap.len() > 1) {
            let Some(last) = self.heap.pop() else { return };
            self.bytes -= last.bytes;
            self.ceiling = Some(last.key);
        }
    }

    pub(crate) fn finish(self) -> Page<K, T> {
        let slots = self.heap.into_sorted_vec();
        let next = self.ceiling.and_then(|_| slots.last().map(|slot| slot.key));
        Page {
            items: slots.into_iter().map(|slot| slot.item).collect(),
            next,
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(order: Order, limit: PageLimit, sizes: &[(u32, usize)]) -> (Vec<u32>, usize) {
        let (mut seen, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let mut page = PageBuilder::new(order, after, limit);
            for (key, bytes) in sizes {
                page.offer(*key, *bytes, *key);
            }
            let page = page.finish();
            assert!(page.items.len() <= limit.items);
            seen.extend(page.items);
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => return (seen, pages),
            }
        }
    }

    #[test]
    fn pages_join_to_the_whole_in_either_order() {
        let items: Vec<(u32, usize)> = [7, 3, 9, 1, 5, 8, 2].map(|k| (k, 10)).into();
        let limit = PageLimit {
            items: 3,
            bytes: 1000,
        };
        assert_eq!(
            read_all(Order::Ascending, limit, &items),
            (vec![1, 2, 3, 5, 7, 8, 9], 3)
        );
        assert_eq!(
            read_all(Order::Descending, limit, &items),
            (vec![9, 8, 7, 5, 3, 2, 1], 3)
        );
    }

    #[test]
    fn a_full_last_page_says_that_there_is_no_more() {
        let items: Vec<(u32, usize)> = [1, 2, 3, 4].map(|k| (k, 1)).into();
        let limit = PageLimit {
            items: 2,
            bytes: 1000,
        };
        assert_eq!(read_all(Order::Ascending, limit, &items), (vec![1, 2, 3, 4], 2));
    }

    #[test]
    fn bytes_end_a_page_without_a_gap() {
        // 2 is evicted for its size; 3, which would fit, must not slip in before it.
        let items = [(1, 60), (2, 50), (3, 10), (4, 500), (5, 1)];
        let limit = PageLimit {
            items: 10,
            bytes: 100,
        };
        let (seen, pages) = read_all(Order::Ascending, limit, &items);
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert_eq!(pages, 4);
    }

    proptest::proptest! {
        #[test]
        fn pages_of_any_items_join_to_the_sorted_whole(
            items in proptest::collection::btree_map(0u32..500, 0usize..40, 0..60),
            reversed in proptest::bool::ANY,
            limit in 1usize..10,
            bytes in 0usize..100,
        ) {
            let offered: Vec<(u32, usize)> = items.iter().rev().map(|(key, bytes)| (*key, *bytes)).collect();
            let mut expected: Vec<u32> = items.into_keys().collect();
            let order = if reversed { Order::Descending } else { Order::Ascending };
            if reversed {
                expected.reverse();
            }
            let (seen, _) = read_all(order, PageLimit { items: limit, bytes }, &offered);
            proptest::prop_assert_eq!(seen, expected);
        }
    }
}

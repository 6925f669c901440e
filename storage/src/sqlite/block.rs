//! First updates of flows, many in one blob: a row for each costs ten times as much.
//!
//! For most flows the first update is the last. A flow that goes on gets a row then, and what the block has
//! of it is out of date but for its first interval. Flows are written side by side, in order of their numbers. Each is its [`columns`](super::columns) less what it has in common with the flow
//! before it: a mask of four bytes, little endian, with a bit for each column that differs, then for
//! each of those a byte `head` and what it says:
//!
//! | head | value |
//! |---|---|
//! | 0 | null |
//! | 1 to 8 | a number: as many bytes, little endian, of the distance from the column's number before, zigzag |
//! | 9 to 255 | `head - 9` bytes, or, if that is 246, a length of four bytes, little endian, and as many bytes |
//!
//! Before the first flow all columns are null and all numbers 0.

use super::columns::{COUNT, Damaged, Value, Values};

/// Flows of a block: one flow costs its reader all those before it, some 10 µs here.
const FLOWS: usize = 512;
/// A block ends when it is this long.
const BYTES: usize = 64 << 10;

const NULL: u8 = 0;
const BYTES_FROM: u8 = 9;
const LONG: u8 = 246;

/// The block being filled.
#[derive(Debug, Default)]
pub(super) struct Block {
    data: Vec<u8>,
    first: i64,
    last: i64,
    flows: usize,
    before: [Before; COUNT],
}

/// What a column held in the flow before.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    number: i64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Null,
    Int,
    /// These bytes of the block's data.
    Bytes {
        at: usize,
        len: usize,
    },
}

impl Block {
    /// Adds a flow; `id` is its number, above those before.
    pub(super) fn push(&mut self, id: i64, values: &Values<'_>) {
        let mask_at = self.data.len();
        self.data.extend_from_slice(&[0; 4]);
        let mut mask = 0_u32;
        for (column, value) in values.0.iter().enumerate() {
            if self.put(column, *value) {
                mask |= 1 << column;
            }
        }
        self.data[mask_at..mask_at + 4].copy_from_slice(&mask.to_le_bytes());
        if self.flows == 0 {
            self.first = id;
        }
        self.last = id;
        self.flows += 1;
    }

    /// The number of its first flow, if it has any.
    pub(super) fn first(&self) -> Option<i64> {
        (self.flows > 0).then_some(self.first)
    }

    pub(super) fn is_full(&self) -> bool {
        self.flows >= FLOWS || self.data.len() >= BYTES
    }

    /// The numbers of its first and last flow, and the blob, if it has any.
    pub(super) fn filled(&self) -> Option<(i64, i64, &[u8])> {
        Some((self.first()?, self.last, self.data.as_slice()))
    }

    pub(super) fn clear(&mut self) {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        *self = Self {
            data,
            ..Self::default()
        };
    }

    /// Writes what is new about a column; false if nothing is.
    #[inline]
    fn put(&mut self, column: usize, value: Value<'_>) -> bool {
        let before = self.before[column];
        let kind = match (value, before.kind) {
            (Value::Null, Kind::Null) => return false,
            (Value::Int(number), Kind::Int) if number == before.number => return false,
            (Value::Bytes(bytes), Kind::Bytes { at, len }) if bytes == &self.data[at..at + len] => {
                return false;
            }
            (Value::Null, _) => {
                self.data.push(NULL);
                Kind::Null
            }
            (Value::Int(number), _) => {
                self.put_number(number.wrapping_sub(before.number));
                self.before[column].number = number;
                Kind::Int
            }
            (Value::Bytes(bytes), _) => self.put_bytes(bytes),
        };
        self.before[column].kind = kind;
        true
    }

    #[inline]
    fn put_number(&mut self, distance: i64) {
        let zigzag = ((distance << 1) ^ (distance >> 63)).cast_unsigned();
        let len = 8 - (zigzag | 1).leading_zeros() as usize / 8;
        let end = self.data.len() + 1 + len;
        // All eight bytes, then as many as are needed: a copy of unknown length costs more. And put together as a
        // number: bytes that are read in other pieces than they were written in are waited for.
        let bytes = (u128::from(zigzag) << 8 | len as u128).to_le_bytes();
        self.data.extend_from_slice(&bytes[..9]);
        self.data.truncate(end);
    }

    /// Writes `bytes` and returns where they stand.
    fn put_bytes(&mut self, bytes: &[u8]) -> Kind {
        let len = bytes.len();
        if len < usize::from(LONG) {
            self.data.push(BYTES_FROM + len as u8);
        } else {
            self.data.push(BYTES_FROM + LONG);
            // Longer than 4 GiB is no value of a flow: SQLite would refuse it long before.
            self.data.extend_from_slice(&(len as u32).to_le_bytes());
        }
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        Kind::Bytes { at, len }
    }
}

/// Reads a block, flow by flow. Whoever meets an `Err` stops: what follows cannot be told.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    values: Values<'a>,
    /// The column's last number, also where it was something else since.
    numbers: [i64; COUNT],
}

impl<'a> Reader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self {
            rest: block,
            values: Values([Value::Null; COUNT]),
            numbers: [0; COUNT],
        }
    }

    /// The next flow's values, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&Values<'a>>, Damaged> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut mask = u32::from_le_bytes(self.take_array()?);
        while mask != 0 {
            let column = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let value = self.take_value(column)?;
            *self.values.0.get_mut(column).ok_or(Damaged)? = value;
        }
        Ok(Some(&self.values))
    }

    fn take_value(&mut self, column: usize) -> Result<Value<'a>, Damaged> {
        let [head] = self.take_array()?;
        Ok(match head {
            NULL => Value::Null,
            len @ 1..BYTES_FROM => {
                let mut bytes = [0; 8];
                bytes[..usize::from(len)].copy_from_slice(self.take(len.into())?);
                let zigzag = u64::from_le_bytes(bytes);
                let distance = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
                let number = self.numbers.get_mut(column).ok_or(Damaged)?;
                *number = number.wrapping_add(distance);
                Value::Int(*number)
            }
            _ => {
                let len = match head - BYTES_FROM {
                    LONG => u32::from_le_bytes(self.take_array()?) as usize,
                    len => len.into(),
                };
                Value::Bytes(self.take(len)?)
            }
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Owned {
        Null,
        Int(i64),
        Bytes(Vec<u8>),
    }

    fn value() -> impl Strategy<Value = Owned> {
        let bytes = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            (240usize..300).prop_map(|len| vec![7; len])
        ];
        prop_oneof![
            2 => Just(Owned::Null),
            3 => (0i64..3).prop_map(Owned::Int),
            2 => any::<i64>().prop_map(Owned::Int),
            2 => bytes.prop_map(Owned::Bytes),
        ]
    }

    fn block(flows: &[Vec<Owned>]) -> Block {
        let mut block = Block::default();
        for (id, flow) in (1..).zip(flows) {
            let mut values = Values([Value::Null; COUNT]);
            for (place, value) in values.0.iter_mut().zip(flow) {
                *place = match value {
                    Owned::Null => Value::Null,
                    Owned::Int(number) => Value::Int(*number),
                    Owned::Bytes(bytes) => Value::Bytes(bytes),
                };
            }
            block.push(id, &values);
        }
        block
    }

    fn read(data: &[u8]) -> (Vec<Vec<Owned>>, Result<(), Damaged>) {
        let (mut reader, mut flows) = (Reader::new(data), Vec::new());
        loop {
            match reader.next() {
                Ok(Some(values)) => flows.push(
                    values
                        .0
                        .iter()
                        .map(|value| match value {
                            Value::Null => Owned::Null,
                            Value::Int(number) => Owned::Int(*number),
                            Value::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
                        })
                        .collect(),
                ),
                Ok(None) => return (flows, Ok(())),
                Err(damaged) => return (flows, Err(damaged)),
            }
        }
    }

    proptest! {
        #[test]
        fn write_then_read(flows in prop::collection::vec(prop::collection::vec(value(), COUNT), 1..20)) {
            let mut block = block(&flows);
            let (first, last, data) = block.filled().unwrap();
            prop_assert_eq!((first, last), (1, flows.len() as i64));
            prop_assert_eq!(read(data), (flows, Ok(())));
            block.clear();
            prop_assert_eq!(block.filled(), None);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_cut_block_gives_the_flows_before_the_cut(
            flows in prop::collection::vec(prop::collection::vec(value(), COUNT), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let block = block(&flows);
            let (_, _, data) = block.filled().unwrap();
            let (found, _) = read(&data[..cut.index(data.len())]);
            prop_assert!(found.len() < flows.len());
            prop_assert_eq!(&found[..], &flows[..found.len()]);
        }
    }

    #[test]
    fn what_does_not_change_takes_no_room() {
        let flow = vec![Owned::Int(i64::MIN); COUNT];
        let (one, two) = (block(std::slice::from_ref(&flow)), block(&[flow.clone(), flow]));
        assert_eq!(two.filled().unwrap().2.len(), one.filled().unwrap().2.len() + 4);
    }
}

//! Many literals, of which a field may equal one.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::predicate::{FieldValue, Value, number_of};
use crate::flow::MacAddr;

/// The literals of `Within` and `Without`, found by hash: a query may have thousands, and is asked of each flow
/// and each node. As [`FieldValue`] compares one with a field, so this compares all.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Values(Arc<Index>);

#[derive(Default)]
struct Index {
    listed: Vec<Value>,
    ints: HashSet<i64>,
    bools: HashSet<bool>,
    texts: HashSet<Box<str>>,
    /// What texts say in one of several spellings.
    addresses: HashSet<IpAddr>,
    macs: HashSet<MacAddr>,
    /// Integers as decimals, for decimals and texts; the other two for any number.
    ints_as_numbers: HashSet<Number>,
    floats: HashSet<Number>,
    texts_as_numbers: HashSet<Number>,
}

/// A decimal that equals another if and only if their bits are equal: no NaN, and one zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Number(u64);

impl Number {
    fn new(number: f64) -> Option<Self> {
        // -0.0 + 0.0 is 0.0.
        (!number.is_nan()).then(|| Self((number + 0.0).to_bits()))
    }
}

impl Values {
    /// Whether `field` equals one of them.
    pub(super) fn contain(&self, field: &FieldValue<'_>) -> bool {
        let index = &*self.0;
        let number = || field.number().and_then(Number::new);
        let is_in = |numbers: &HashSet<Number>| {
            !numbers.is_empty() && number().is_some_and(|number| numbers.contains(&number))
        };
        match field {
            FieldValue::Int(int) => {
                index.ints.contains(int) || is_in(&index.floats) || is_in(&index.texts_as_numbers)
            }
            FieldValue::Float(_) => {
                is_in(&index.ints_as_numbers) || is_in(&index.floats) || is_in(&index.texts_as_numbers)
            }
            FieldValue::Bool(bool) => {
                index.bools.contains(bool) || index.texts.contains(field.text().as_ref())
            }
            FieldValue::Text(text) => {
                index.texts.contains(text.as_ref())
                    || index.has_spelling_of(text)
                    || is_in(&index.ints_as_numbers)
                    || is_in(&index.floats)
            }
        }
    }
}

impl Index {
    fn has_spelling_of(&self, text: &str) -> bool {
        let address = || text.parse().ok();
        let mac = || MacAddr::parse(text);
        (!self.addresses.is_empty() && address().is_some_and(|address| self.addresses.contains(&address)))
            || (!self.macs.is_empty() && mac().is_some_and(|mac| self.macs.contains(&mac)))
    }

    fn add(&mut self, value: &Value) {
        let number = number_of(value).and_then(Number::new);
        match value {
            Value::Int(int) => {
                self.ints.insert(*int);
                self.ints_as_numbers.extend(number);
            }
            Value::Float(_) => self.floats.extend(number),
            Value::Bool(bool) => drop(self.bools.insert(*bool)),
            Value::Text(text) => {
                self.texts.insert(text.as_str().into());
                self.addresses.extend(text.parse::<IpAddr>());
                self.macs.extend(MacAddr::parse(text));
                self.texts_as_numbers.extend(number);
            }
        }
    }
}

impl From<Vec<Value>> for Values {
    fn from(listed: Vec<Value>) -> Self {
        let mut index = Index::default();
        listed.iter().for_each(|value| index.add(value));
        index.listed = listed;
        Self(Arc::new(index))
    }
}

impl FromIterator<Value> for Values {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        values.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Values {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0.listed
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::Predicate;
    use super::*;

    /// Every literal against every field: as one by one.
    #[test]
    fn many_are_compared_as_one_is() {
        let texts = [
            "eth0",
            "ETH0",
            "1",
            "01",
            "1.0",
            "-0",
            "0",
            "1.5",
            "true",
            "false",
            "10.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "FE80:0::1",
            "aa:bb:cc:00:00:01",
            "AA-BB-CC-00-00-01",
            "nan",
            "inf",
            "",
            "9007199254740993",
        ];
        let numbers = [
            0.0,
            -0.0,
            1.0,
            1.5,
            f64::NAN,
            f64::INFINITY,
            9_007_199_254_740_992.0,
        ];
        let ints = [0, 1, -1, 9_007_199_254_740_992, 9_007_199_254_740_993, i64::MAX];
        let mut literals: Vec<Value> = texts.map(Value::from).into();
        literals.extend(numbers.map(Value::Float));
        literals.extend(ints.map(Value::Int));
        literals.extend([true, false].map(Value::Bool));
        let field = |literal: &Value| match literal {
            Value::Int(int) => FieldValue::Int(*int),
            Value::Float(float) => FieldValue::Float(*float),
            Value::Bool(bool) => FieldValue::Bool(*bool),
            Value::Text(text) => FieldValue::Text(Cow::Owned(text.clone())),
        };
        for found in literals.iter().map(field) {
            for literal in &literals {
                let one = Predicate::Eq(literal.clone()).test([found.clone()]);
                let many = Values::from(vec![literal.clone()]).contain(&found);
                assert_eq!(one, many, "{found:?} and {literal:?}");
            }
        }
        let all = Values::from(literals.clone());
        assert!(literals.iter().map(field).all(|found| {
            let is_nan = matches!(found, FieldValue::Float(float) if float.is_nan());
            all.contain(&found) || is_nan
        }));
        assert!(!all.contain(&FieldValue::Text("eth1".into())) && !all.contain(&FieldValue::Int(7)));
    }
}

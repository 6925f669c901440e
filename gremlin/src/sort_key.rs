//! What things are ordered by.

use std::cmp::Ordering;
use std::net::IpAddr;

use flowtap_flow::filter::FieldValue;

/// A value to order by. Values of one field are of one variant; between variants the order has no
/// meaning, but there is one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SortKey {
    Int(i64),
    Float(f64),
    Bool(bool),
    Address(IpAddr),
    Text(String),
}

impl SortKey {
    pub(crate) fn of(value: FieldValue<'_>) -> Self {
        match value {
            FieldValue::Int(int) => Self::Int(int),
            FieldValue::Float(float) => Self::Float(float),
            FieldValue::Bool(bool) => Self::Bool(bool),
            FieldValue::Text(text) => text
                .parse()
                .map_or_else(|_| Self::Text(text.into_owned()), Self::Address),
        }
    }

    /// The order of two places: by key in either direction; those without one last in both.
    pub(crate) fn compare(descending: bool, a: Option<&Self>, b: Option<&Self>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if descending => b.order(a),
            (Some(a), Some(b)) => a.order(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }

    fn variant(&self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::Float(_) => 1,
            Self::Bool(_) => 2,
            Self::Address(_) => 3,
            Self::Text(_) => 4,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Address(a), Self::Address(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.variant().cmp(&other.variant()),
        }
    }
}

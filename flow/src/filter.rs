//! The one filter over flows: Gremlin compiles to it, the live table evaluates it, stores translate it.

mod field;
mod predicate;
mod values;

pub use field::{FlowField, LayerEnd, LayerPart, MetricField, collect_json};
pub use predicate::{FieldValue, Ipv4Cidr, Pattern, Predicate, Value};
pub use values::Values;

use crate::flow::Flow;

/// A condition on flows.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum FlowFilter {
    /// Every flow.
    #[default]
    All,
    /// One field.
    Field(FlowField, Predicate),
    /// All of these.
    And(Vec<FlowFilter>),
    /// Any of these.
    Or(Vec<FlowFilter>),
    /// Not this.
    Not(Box<FlowFilter>),
}

impl FlowFilter {
    /// `path` equals `value`.
    #[must_use]
    pub fn eq(path: &str, value: impl Into<Value>) -> Self {
        Self::Field(FlowField::parse(path), Predicate::Eq(value.into()))
    }

    /// Both this and `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, filter) | (filter, Self::All) => filter,
            (Self::And(mut filters), other) => {
                filters.push(other);
                Self::And(filters)
            }
            (first, second) => Self::And(vec![first, second]),
        }
    }

    /// True if `flow` meets the condition.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        match self {
            Self::All => true,
            Self::Field(field, predicate) => predicate.test(field.values(flow)),
            Self::And(filters) => filters.iter().all(|f| f.matches(flow)),
            Self::Or(filters) => filters.iter().any(|f| f.matches(flow)),
            Self::Not(filter) => !filter.matches(flow),
        }
    }
}

//! What `Has` and its kin ask of nodes and edges.

use std::ops::ControlFlow;

use flowtap_flow::filter::Predicate;

use super::field::{Element, Field};
use crate::arguments;
use crate::condition::Condition;
use crate::error::QueryError;
use crate::syntax::ast::{Argument, Step, StepName};

/// A condition on elements: all of its criteria, or any of them. Without criteria all elements meet it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ElementFilter {
    either: bool,
    criteria: Vec<Criterion>,
}

/// What is asked of one field.
#[derive(Clone, Debug)]
pub(crate) struct Criterion {
    field: Field,
    condition: Condition,
    /// As the user wrote it.
    pub(crate) text: String,
}

impl ElementFilter {
    /// That of `Has`, `HasEither`, `HasKey`, `HasNot`, or the optional one of other steps.
    pub(crate) fn of(step: &Step) -> Result<Self, QueryError> {
        let conditions = match step.name {
            StepName::HasKey => vec![(arguments::text(step)?, Condition::exists())],
            StepName::HasNot => vec![(arguments::text(step)?, Condition::absent())],
            StepName::Has | StepName::HasEither => arguments::required_conditions(step)?,
            _ => arguments::conditions(step)?,
        };
        Ok(Self {
            either: step.name == StepName::HasEither,
            ..Self::new(conditions, &step.arguments)
        })
    }

    /// All of these pairs.
    pub(crate) fn all_of(pairs: &[Argument]) -> Result<Self, QueryError> {
        Ok(Self::new(arguments::pairs(pairs)?, pairs))
    }

    /// Any of these pairs.
    pub(crate) fn any_of(pairs: &[Argument]) -> Result<Self, QueryError> {
        Ok(Self {
            either: true,
            ..Self::all_of(pairs)?
        })
    }

    /// `key` is `value`.
    pub(crate) fn equal(key: &str, value: &str) -> Self {
        let criterion = Criterion {
            field: Field::parse(key),
            condition: Predicate::Eq(value.into()).into(),
            text: format!("'{key}', '{value}'"),
        };
        Self {
            either: false,
            criteria: vec![criterion],
        }
    }

    fn new(conditions: Vec<(String, Condition)>, arguments: &[Argument]) -> Self {
        let texts = arguments.chunks(2).map(|pair| {
            let pair: Vec<String> = pair.iter().map(Argument::to_string).collect();
            pair.join(", ")
        });
        let criteria = conditions.into_iter().zip(texts);
        Self {
            either: false,
            criteria: criteria
                .map(|((key, condition), text)| Criterion {
                    field: Field::parse(&key),
                    condition,
                    text,
                })
                .collect(),
        }
    }

    pub(crate) fn matches(&self, element: &impl Element) -> bool {
        let mut criteria = self.criteria.iter();
        if self.either && !self.criteria.is_empty() {
            criteria.any(|criterion| criterion.matches(element))
        } else {
            criteria.all(|criterion| criterion.matches(element))
        }
    }

    pub(crate) fn criteria(&self) -> &[Criterion] {
        &self.criteria
    }
}

impl Criterion {
    pub(crate) fn matches(&self, element: &impl Element) -> bool {
        self.condition
            .any_of()
            .iter()
            .any(|predicate| holds(predicate, &self.field, element))
    }
}

/// As [`Predicate::test`], value by value: nothing is collected, and what is there without being a
/// plain value (an object, an empty list) exists and differs from everything.
fn holds(predicate: &Predicate, field: &Field, element: &impl Element) -> bool {
    let (wanted_of_all, must_exist) = match predicate {
        Predicate::Exists => return field.is_present(element),
        Predicate::Absent => return !field.is_present(element),
        Predicate::Ne(_) => (true, true),
        Predicate::Nee(_) | Predicate::Without(_) => (true, false),
        _ => (false, false),
    };
    // All values must pass until one does not; or none has until one does.
    let mut holds = wanted_of_all;
    let present = field.visit(element, &mut |value| {
        if predicate.test([value]) == wanted_of_all {
            return ControlFlow::Continue(());
        }
        holds = !wanted_of_all;
        ControlFlow::Break(())
    });
    holds && (present || !must_exist)
}

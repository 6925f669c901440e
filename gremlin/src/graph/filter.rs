//! What `Has` and its kin ask of nodes and edges.

use std::net::IpAddr;
use std::ops::ControlFlow;

use flowtap_flow::filter::{FieldValue, Predicate, Value};
use flowtap_flow::flow::MacAddr;

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
    /// The text that the field must be, where it can be nothing else: see [`plain_text`].
    plain: Option<String>,
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
        let condition = Predicate::Eq(value.into()).into();
        let criterion = Criterion::new(key, condition, format!("'{key}', '{value}'"));
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
                .map(|((key, condition), text)| Criterion::new(&key, condition, text))
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
    fn new(key: &str, condition: Condition, text: String) -> Self {
        let plain = match condition.any_of() {
            [Predicate::Eq(Value::Text(text))] => plain_text(text),
            _ => None,
        };
        Self {
            field: Field::parse(key),
            condition,
            plain,
            text,
        }
    }

    pub(crate) fn matches(&self, element: &impl Element) -> bool {
        if let Some(plain) = &self.plain {
            let mut equal = false;
            self.field.visit(element, &mut |value| match value {
                FieldValue::Text(text) if text == *plain => {
                    equal = true;
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            });
            return equal;
        }
        self.condition
            .any_of()
            .iter()
            .any(|predicate| holds(predicate, &self.field, element))
    }
}

/// `text`, if no other text equals it: it is no address, which has several spellings, and nothing that a
/// number or a truth value equals. Names and IDs are such, and are looked for in all nodes there are.
fn plain_text(text: &str) -> Option<String> {
    let has_spellings = text.parse::<IpAddr>().is_ok() || MacAddr::parse(text).is_some();
    let is_value = text.parse::<f64>().is_ok() || ["true", "false"].contains(&text);
    (!has_spellings && !is_value).then(|| text.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is compared as plain text gives what the predicate gives.
    #[test]
    fn the_short_way_and_the_long_one_agree() {
        let node = serde_json::json!({"ID": "n", "Metadata": {"a": [
            "eth0", "10.0.0.1", "fe80::1", "fa:16:3e:00:00:01", "1", "true", "1.5", "inf", "", 1, 1.5, true, false,
        ]}});
        let node: flowtap_topology::Node = serde_json::from_value(node).unwrap();
        let field = Field::parse("a");
        for text in [
            "eth0",
            "ETH0",
            "eth",
            "10.0.0.1",
            "FE80:0::1",
            "FA-16-3E-00-00-01",
            "1",
            "01",
            "1.0",
            "1.5",
            "true",
            "false",
            "True",
            "inf",
            "nan",
            "",
            " ",
            "-",
        ] {
            let criterion = Criterion::new("a", Predicate::Eq(text.into()).into(), String::new());
            let long = holds(&Predicate::Eq(text.into()), &field, &node);
            assert_eq!(criterion.matches(&node), long, "{text:?}");
        }
        assert!(plain_text("eth0").is_some() && plain_text("7").is_none());
    }
}

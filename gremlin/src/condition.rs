//! What `Has` asks of one field, and how it becomes a flow filter.

use std::borrow::Cow;

use flowtap_flow::filter::{FieldValue, FlowField, FlowFilter, Ipv4Cidr, Pattern, Predicate, Value};

use crate::error::QueryError;
use crate::syntax::ast::{Argument, ArgumentValue, PredicateName};

/// Met if any of its predicates is. All but `Outside` are one predicate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    any_of: Vec<Predicate>,
}

impl Condition {
    /// The field is there.
    pub(crate) fn exists() -> Self {
        Predicate::Exists.into()
    }

    /// The field is not there.
    pub(crate) fn absent() -> Self {
        Predicate::Absent.into()
    }

    /// What it is made of.
    pub(crate) fn any_of(&self) -> &[Predicate] {
        &self.any_of
    }

    /// Reads a value (equal to it) or a predicate.
    pub(crate) fn of(argument: &Argument) -> Result<Self, QueryError> {
        match &argument.value {
            ArgumentValue::Literal(value) => Ok(Predicate::Eq(value.clone()).into()),
            ArgumentValue::Predicate(name, arguments) => predicate(argument.column, *name, arguments),
            ArgumentValue::Word(word) => {
                let message = format!("expected a value or a predicate such as NE, got: {word}");
                Err(QueryError::at(argument.column, message))
            }
        }
    }

    /// As a filter on `field` of a flow.
    pub(crate) fn on(&self, field: &FlowField) -> FlowFilter {
        let mut filters = self
            .any_of
            .iter()
            .map(|p| FlowFilter::Field(field.clone(), p.clone()));
        match (self.any_of.len(), filters.next()) {
            (1, Some(only)) => only,
            (_, first) => FlowFilter::Or(first.into_iter().chain(filters).collect()),
        }
    }

    /// Tests the values that a field has.
    pub(crate) fn test(&self, values: &[FieldValue<'_>]) -> bool {
        self.any_of
            .iter()
            .any(|predicate| predicate.test(values.iter().map(lend)))
    }
}

impl From<Predicate> for Condition {
    fn from(predicate: Predicate) -> Self {
        Self {
            any_of: vec![predicate],
        }
    }
}

fn lend<'a>(value: &'a FieldValue<'_>) -> FieldValue<'a> {
    match value {
        FieldValue::Int(int) => FieldValue::Int(*int),
        FieldValue::Float(float) => FieldValue::Float(*float),
        FieldValue::Bool(bool) => FieldValue::Bool(*bool),
        FieldValue::Text(text) => FieldValue::Text(Cow::Borrowed(text.as_ref())),
    }
}

fn predicate(column: usize, name: PredicateName, arguments: &[Argument]) -> Result<Condition, QueryError> {
    let one = || match arguments {
        [only] => literal(name, only),
        _ => Err(wrong_count(column, "One parameter", name, arguments)),
    };
    let two = || match arguments {
        [low, high] => Ok((literal(name, low)?, literal(name, high)?)),
        _ => Err(wrong_count(column, "Two parameters", name, arguments)),
    };
    let text = |what: &str| match one()? {
        Value::Text(text) => Ok(text),
        _ => Err(QueryError::at(
            arguments.first().map_or(column, |a| a.column),
            what,
        )),
    };
    let list = || match arguments {
        [] => Err(wrong_count(column, "One parameter or more", name, arguments)),
        _ => arguments
            .iter()
            .map(|argument| literal(name, argument))
            .collect::<Result<Vec<_>, _>>(),
    };
    Ok(Condition::from(match name {
        PredicateName::Ne => Predicate::Ne(one()?),
        PredicateName::Nee => Predicate::Nee(one()?),
        PredicateName::Lt => Predicate::Lt(one()?),
        PredicateName::Gt => Predicate::Gt(one()?),
        PredicateName::Lte => Predicate::Lte(one()?),
        PredicateName::Gte => Predicate::Gte(one()?),
        PredicateName::Inside => two().map(|(low, high)| Predicate::Inside(low, high))?,
        PredicateName::Between => two().map(|(low, high)| Predicate::Between(low, high))?,
        PredicateName::Outside => {
            // Skydive asks for both, which nothing can be.
            let (low, high) = two()?;
            return Ok(Condition {
                any_of: vec![Predicate::Lt(low), Predicate::Gt(high)],
            });
        }
        PredicateName::Within => Predicate::Within(list()?.into()),
        PredicateName::Without => Predicate::Without(list()?.into()),
        PredicateName::Regex => {
            let source = text("REGEX predicate expects a string as parameter")?;
            Predicate::Regex(Pattern::new(&source).map_err(|error| {
                // The last line of a long report that shows the pattern as we wrapped it.
                let reason = error.rsplit("error: ").next().unwrap_or(&error);
                QueryError::at(column, format!("Regex '{source}': {reason}"))
            })?)
        }
        PredicateName::Ipv4Range => {
            let cidr = text("Ipv4Range value has to be a string")?;
            let parsed = Ipv4Cidr::parse(&cidr).ok_or_else(|| {
                QueryError::at(
                    column,
                    format!("expected an IPv4 network such as 10.0.0.0/8, got: {cidr}"),
                )
            })?;
            Predicate::Ipv4Range(parsed)
        }
        PredicateName::Metadata => {
            return Err(QueryError::at(column, "Metadata stands in ShortestPathTo only"));
        }
    }))
}

fn literal(name: PredicateName, argument: &Argument) -> Result<Value, QueryError> {
    match &argument.value {
        ArgumentValue::Literal(value) => Ok(value.clone()),
        _ => Err(QueryError::at(
            argument.column,
            format!("{name} expects a value, got: {argument}"),
        )),
    }
}

fn wrong_count(column: usize, expected: &str, name: PredicateName, got: &[Argument]) -> QueryError {
    QueryError::at(
        column,
        format!("{expected} expected with {name}, got {}", got.len()),
    )
}

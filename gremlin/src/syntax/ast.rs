//! The syntax tree. Displayed, it is a query again.

use std::fmt;

use flowtap_flow::filter::Value;

pub use super::names::{PredicateName, StepName, Word};

/// A query: `G` and the steps after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Its steps, first to last, without the leading `G`.
    pub steps: Vec<Step>,
}

/// One step: a name and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where its name stands, in characters from 1.
    pub column: usize,
    /// Which step.
    pub name: StepName,
    /// What stood between the parentheses.
    pub arguments: Vec<Argument>,
}

/// One argument of a step or a predicate.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Where it begins, in characters from 1.
    pub column: usize,
    /// What it is.
    pub value: ArgumentValue,
}

/// What an argument is.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgumentValue {
    /// A string, a number, a truth value.
    Literal(Value),
    /// `NE(1)`, `Within('a', 'b')`, `Metadata('Name', 'eth0')`.
    Predicate(PredicateName, Vec<Argument>),
    /// `ASC`, `DESC`, `FOREVER`, `NOW`.
    Word(Word),
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("G")?;
        self.steps.iter().try_for_each(|step| write!(f, ".{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            StepName::G => f.write_str(self.name.as_str()),
            _ => write!(f, "{}({})", self.name, List(&self.arguments)),
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            ArgumentValue::Literal(Value::Int(int)) => write!(f, "{int}"),
            ArgumentValue::Literal(Value::Bool(bool)) => write!(f, "{bool}"),
            ArgumentValue::Literal(Value::Float(float)) => {
                // `{}` never writes an exponent, which the lexer would not read; but it writes a
                // whole number without its point.
                let text = float.to_string();
                let point = if text.contains('.') { "" } else { ".0" };
                write!(f, "{text}{point}")
            }
            // No string can hold both quotes: there are no escapes.
            ArgumentValue::Literal(Value::Text(text)) if text.contains('\'') => write!(f, "\"{text}\""),
            ArgumentValue::Literal(Value::Text(text)) => write!(f, "'{text}'"),
            ArgumentValue::Predicate(name, arguments) => write!(f, "{name}({})", List(arguments)),
            ArgumentValue::Word(word) => write!(f, "{word}"),
        }
    }
}

struct List<'a>(&'a [Argument]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, argument)| {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{argument}")
        })
    }
}

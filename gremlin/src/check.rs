//! Static checks: every step takes what the step before it gives, and its arguments fit.

use std::collections::HashSet;

use flowtap_flow::filter::{FlowFilter, Value};

use crate::arguments;
use crate::error::QueryError;
use crate::kind::Kind;
use crate::syntax::ast::{ArgumentValue, Query, Step, StepName};
use crate::syntax::{parse_chain, parse_query};

/// Parses and type-checks `text`: a [`Query`] that comes out is well formed.
///
/// Never panics, and reads at most 64 KiB of text, 256 steps, and predicates nested 8 deep.
///
/// # Errors
/// What is wrong, with the column and what was expected.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    let query = parse_query(text)?;
    query.kind().map(|_| query)
}

impl Query {
    /// The kind of its answer.
    ///
    /// # Errors
    /// The first step that does not fit.
    pub fn kind(&self) -> Result<Kind, QueryError> {
        let mut remembered = HashSet::new();
        self.steps.iter().try_fold(Kind::Graph, |input, step| {
            let output = input.after(step.name).ok_or_else(|| not_available(step, input))?;
            arguments::check(step)?;
            check_names(step, &mut remembered)?;
            Ok(output)
        })
    }
}

fn not_available(step: &Step, input: Kind) -> QueryError {
    let (name, steps) = (step.name, input.steps());
    let take = if input == Kind::Graph { "takes" } else { "take" };
    QueryError::at(
        step.column,
        format!("step {name} is not available on {input}; {input} {take}: {steps}"),
    )
}

/// `Select` takes what an `As` before it gave.
fn check_names<'a>(step: &'a Step, remembered: &mut HashSet<&'a str>) -> Result<(), QueryError> {
    for argument in &step.arguments {
        let ArgumentValue::Literal(Value::Text(name)) = &argument.value else {
            continue;
        };
        match step.name {
            StepName::As => {
                remembered.insert(name);
            }
            StepName::Select if !remembered.contains(name.as_str()) => {
                let message = format!("Key {name} not registered. Need to be registered using 'As' step");
                return Err(QueryError::at(argument.column, message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads a flow filter as `--filter` and the API take it: `Has` and `HasEither` steps without the
/// `G.Flows()` in front, for instance `Has('Application', 'DNS').HasEither('NodeTID', 'a')`.
/// No text is every flow.
///
/// # Errors
/// What is wrong, with the column.
pub fn parse_flow_filter(text: &str) -> Result<FlowFilter, QueryError> {
    parse_chain(text)?
        .iter()
        .try_fold(FlowFilter::All, |filter, step| match step.name {
            StepName::Has | StepName::HasEither => Ok(filter.and(arguments::flow_filter(step)?)),
            other => {
                let message =
                    format!("step {other} is not available in a filter; a filter takes: Has, HasEither");
                Err(QueryError::at(step.column, message))
            }
        })
}

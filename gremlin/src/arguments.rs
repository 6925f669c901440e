//! The arguments of each step: how many, of which type, and what they mean.

use std::net::IpAddr;

use flowtap_flow::filter::{FlowField, FlowFilter, Value};

use crate::condition::Condition;
use crate::error::QueryError;
use crate::syntax::ast::{Argument, ArgumentValue, PredicateName, Step, StepName, Word};
use crate::time::TimeSpec;

/// Parts of a key between its dots. Metadata has up to 32 levels, whose names may have dots of their own.
const MAX_KEY_PARTS: usize = 128;

/// How `Sort` orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortSpec {
    pub(crate) descending: bool,
    /// `None` for the default of what is sorted.
    pub(crate) key: Option<String>,
}

/// Checks number and types of the arguments of any step.
pub(crate) fn check(step: &Step) -> Result<(), QueryError> {
    use StepName as S;
    if let S::HasKey | S::HasNot | S::Values | S::ValueMap | S::Dedup | S::Sort | S::Sum | S::Metrics =
        step.name
    {
        step.arguments.iter().try_for_each(bounded_key)?;
    }
    match step.name {
        S::G | S::Count | S::Keys | S::SubGraph | S::RawPackets | S::Sockets => none(step),
        S::V | S::E => element(step),
        S::At => TimeSpec::of(step).map(drop),
        S::Has | S::HasEither => required_conditions(step).map(drop),
        S::Flows
        | S::Out
        | S::In
        | S::Both
        | S::OutE
        | S::InE
        | S::BothE
        | S::OutV
        | S::InV
        | S::BothV
        | S::Nodes
        | S::Hops
        | S::CaptureNode => conditions(step).map(drop),
        S::HasKey | S::HasNot | S::Values | S::As | S::Bpf => text(step).map(drop),
        S::NextHop => address(step).map(drop),
        S::Dedup => dedup(step).map(drop),
        S::Sort => sort(step).map(drop),
        S::Limit | S::Range => range(step).map(drop),
        S::Sum | S::Metrics | S::Group => optional_text(step).map(drop),
        S::ValueMap | S::Select => texts(step).and_then(|keys| at_least_one(step, &keys)),
        S::ShortestPathTo => shortest_path_to(step).map(drop),
        S::Aggregates => aggregates(step).map(drop),
        S::MoreThan => more_than(step).map(drop),
        S::Ascendants | S::Descendants | S::Neighbors => spread(step).map(drop),
        S::Workflow => workflow(step),
    }
}

fn none(step: &Step) -> Result<(), QueryError> {
    match step.arguments.first() {
        None => Ok(()),
        Some(first) => Err(QueryError::at(
            first.column,
            format!("{} accepts no parameter", step.name),
        )),
    }
}

/// `V()`, `V('id')`, `V('key', value, …)`.
fn element(step: &Step) -> Result<(), QueryError> {
    match step.arguments.as_slice() {
        [] => Ok(()),
        [id] => as_text(id).map(drop).ok_or_else(|| {
            QueryError::at(
                id.column,
                format!("{} parameter must be a string, got: {id}", step.name),
            )
        }),
        more if more.len() % 2 == 0 => conditions(step).map(drop),
        more => Err(QueryError::at(
            step.column,
            format!(
                "{} accepts at most one parameter, or pairs k,v, got {}",
                step.name,
                more.len()
            ),
        )),
    }
}

/// Pairs of a key and what is asked of it; a key alone must exist. At least one.
pub(crate) fn required_conditions(step: &Step) -> Result<Vec<(String, Condition)>, QueryError> {
    if step.arguments.is_empty() {
        return Err(QueryError::at(
            step.column,
            "At least one parameter must be provided",
        ));
    }
    conditions(step)
}

/// Pairs of a key and what is asked of it, or one key alone, or nothing.
pub(crate) fn conditions(step: &Step) -> Result<Vec<(String, Condition)>, QueryError> {
    match step.arguments.as_slice() {
        [key] => Ok(vec![(string_key(key)?, Condition::exists())]),
        more => pairs(more),
    }
}

pub(crate) fn pairs(arguments: &[Argument]) -> Result<Vec<(String, Condition)>, QueryError> {
    let (pairs, rest) = arguments.as_chunks::<2>();
    if let [alone] = rest {
        let message = format!("slice must be defined by pair k,v: {alone} has no value");
        return Err(QueryError::at(alone.column, message));
    }
    pairs
        .iter()
        .map(|[key, condition]| Ok((string_key(key)?, Condition::of(condition)?)))
        .collect()
}

/// Checks that a key has no more parts than it is reasonable to look for: names may have dots, so that every way to
/// cut it is tried.
fn bounded_key(argument: &Argument) -> Result<(), QueryError> {
    let parts = as_text(argument).map_or(0, |key| key.split('.').count());
    if parts > MAX_KEY_PARTS {
        let message =
            format!("the key has {parts} parts between its dots, a key may have up to {MAX_KEY_PARTS}");
        return Err(QueryError::at(argument.column, message));
    }
    Ok(())
}

fn string_key(argument: &Argument) -> Result<String, QueryError> {
    bounded_key(argument)?;
    as_text(argument).map(str::to_owned).ok_or_else(|| {
        QueryError::at(
            argument.column,
            format!("keys should be of string type, got: {argument}"),
        )
    })
}

/// Exactly one string.
pub(crate) fn text(step: &Step) -> Result<String, QueryError> {
    match step.arguments.as_slice() {
        [only] => as_text(only)
            .map(str::to_owned)
            .ok_or_else(|| not_text(step, only)),
        more => {
            let message = format!(
                "{} requires 1 parameter of type string, got {}",
                step.name,
                more.len()
            );
            Err(QueryError::at(step.column, message))
        }
    }
}

/// One string or nothing.
pub(crate) fn optional_text(step: &Step) -> Result<Option<String>, QueryError> {
    match step.arguments.as_slice() {
        [] => Ok(None),
        [only] => as_text(only)
            .map(|t| Some(t.to_owned()))
            .ok_or_else(|| not_text(step, only)),
        [_, second, ..] => Err(QueryError::at(
            second.column,
            format!("{} accepts at most 1 parameter", step.name),
        )),
    }
}

fn not_text(step: &Step, argument: &Argument) -> QueryError {
    QueryError::at(
        argument.column,
        format!("{} parameter has to be a string, got: {argument}", step.name),
    )
}

pub(crate) fn texts(step: &Step) -> Result<Vec<String>, QueryError> {
    step.arguments
        .iter()
        .map(|a| as_text(a).map(str::to_owned).ok_or_else(|| not_text(step, a)))
        .collect()
}

fn at_least_one(step: &Step, keys: &[String]) -> Result<(), QueryError> {
    if keys.is_empty() {
        return Err(QueryError::at(
            step.column,
            format!("{} requires at least one key", step.name),
        ));
    }
    Ok(())
}

/// The keys of `Dedup`.
pub(crate) fn dedup(step: &Step) -> Result<Vec<String>, QueryError> {
    step.arguments
        .iter()
        .map(|argument| {
            as_text(argument).map(str::to_owned).ok_or_else(|| {
                let message = format!("Dedup parameters have to be string keys, got: {argument}");
                QueryError::at(argument.column, message)
            })
        })
        .collect()
}

/// `Sort()`, `Sort('key')`, `Sort(DESC)`, `Sort(DESC, 'key')`.
pub(crate) fn sort(step: &Step) -> Result<SortSpec, QueryError> {
    let order = |argument: &Argument| match &argument.value {
        ArgumentValue::Word(Word::Asc) => Some(false),
        ArgumentValue::Word(Word::Desc) => Some(true),
        _ => None,
    };
    match step.arguments.as_slice() {
        [] => Ok(SortSpec {
            descending: false,
            key: None,
        }),
        [only] => match (order(only), as_text(only)) {
            (Some(descending), _) => Ok(SortSpec {
                descending,
                key: None,
            }),
            (None, Some(key)) => Ok(SortSpec {
                descending: false,
                key: Some(key.to_owned()),
            }),
            (None, None) => Err(not_text(step, only)),
        },
        [first, second] => {
            let descending = order(first).ok_or_else(|| {
                QueryError::at(first.column, format!("Use ASC or DESC predicate, got: {first}"))
            })?;
            let key = as_text(second).ok_or_else(|| {
                let message = format!("Second sort parameter has to be a string key, got: {second}");
                QueryError::at(second.column, message)
            })?;
            Ok(SortSpec {
                descending,
                key: Some(key.to_owned()),
            })
        }
        [_, _, third, ..] => Err(QueryError::at(
            third.column,
            "Sort accepts 1 predicate and 1 string parameter",
        )),
    }
}

/// `Limit(n)` is `Range(0, n)`: from the first, included, to the last, excluded.
pub(crate) fn range(step: &Step) -> Result<(u64, u64), QueryError> {
    match (step.name, step.arguments.as_slice()) {
        (StepName::Range, [from, to]) => {
            let (low, high) = (count(step, from)?, count(step, to)?);
            if low > high {
                let message = format!("Range goes from the smaller to the larger, got: {from}, {to}");
                return Err(QueryError::at(from.column, message));
            }
            Ok((low, high))
        }
        (StepName::Range, more) => Err(QueryError::at(
            step.column,
            format!("Range requires 2 parameters, got {}", more.len()),
        )),
        (_, [only]) => Ok((0, count(step, only)?)),
        (_, more) => Err(QueryError::at(
            step.column,
            format!("{} requires 1 parameter, got {}", step.name, more.len()),
        )),
    }
}

fn count(step: &Step, argument: &Argument) -> Result<u64, QueryError> {
    as_int(argument)
        .and_then(|int| u64::try_from(int).ok())
        .ok_or_else(|| {
            let message = format!("{} expects integers of 0 or more, got: {argument}", step.name);
            QueryError::at(argument.column, message)
        })
}

/// Seconds of one slice.
pub(crate) fn aggregates(step: &Step) -> Result<i64, QueryError> {
    const DEFAULT_SECONDS: i64 = 30;
    match step.arguments.as_slice() {
        [] => Ok(DEFAULT_SECONDS),
        [seconds] => as_int(seconds).filter(|s| *s > 0).ok_or_else(|| {
            let message = format!("Aggregates parameter has to be a positive number, got: {seconds}");
            QueryError::at(seconds.column, message)
        }),
        [_, second, ..] => Err(QueryError::at(
            second.column,
            "Aggregates accepts at most 1 parameter",
        )),
    }
}

/// The size that groups must exceed. Skydive wants the number in a string; both are read.
pub(crate) fn more_than(step: &Step) -> Result<u64, QueryError> {
    match step.arguments.as_slice() {
        [] => Ok(1),
        [size] => {
            let int = as_int(size).or_else(|| as_text(size).and_then(|text| text.parse().ok()));
            int.and_then(|int| u64::try_from(int).ok()).ok_or_else(|| {
                let message = format!("MoreThan parameter must be positive, got: {size}");
                QueryError::at(size.column, message)
            })
        }
        [_, second, ..] => Err(QueryError::at(
            second.column,
            "MoreThan do require 0 or 1 parameter",
        )),
    }
}

/// What `ShortestPathTo` looks for, and which edges it may take: pairs of a key and what is asked of it.
pub(crate) fn shortest_path_to(step: &Step) -> Result<(&[Argument], &[Argument]), QueryError> {
    let metadata = |argument: &Argument| match &argument.value {
        ArgumentValue::Predicate(PredicateName::Metadata, inner) => pairs(inner).map(drop),
        _ => Err(QueryError::at(
            argument.column,
            format!("expected Metadata(k, v), got: {argument}"),
        )),
    };
    step.arguments.iter().try_for_each(metadata)?;
    match step.arguments.as_slice() {
        [target] => Ok((of_metadata(target), &[])),
        [target, through] => Ok((of_metadata(target), of_metadata(through))),
        _ => {
            let message = "ShortestPathTo predicate accepts only 1 or 2 parameters";
            Err(QueryError::at(step.column, message))
        }
    }
}

fn of_metadata(argument: &Argument) -> &[Argument] {
    match &argument.value {
        ArgumentValue::Predicate(_, inner) => inner,
        _ => &[],
    }
}

/// `Neighbors('RelationType', 'layer2', 3)`: pairs of which an edge must meet one, then a depth.
pub(crate) fn spread(step: &Step) -> Result<(&[Argument], Option<u64>), QueryError> {
    let (pairs_of, depth) = match step.arguments.split_last() {
        Some((last, before)) if step.arguments.len() % 2 == 1 => (before, Some(count(step, last)?)),
        _ => (step.arguments.as_slice(), None),
    };
    pairs(pairs_of)?;
    Ok((pairs_of, depth))
}

/// The address of `NextHop`.
pub(crate) fn address(step: &Step) -> Result<IpAddr, QueryError> {
    let text = text(step)?;
    text.parse().map_err(|_| {
        let column = step.arguments.first().map_or(step.column, |a| a.column);
        let message = format!("NextHop parameter have to be a valid IP address, got: {text}");
        QueryError::at(column, message)
    })
}

fn workflow(step: &Step) -> Result<(), QueryError> {
    let name = step.arguments.first().and_then(as_text);
    name.map(drop)
        .ok_or_else(|| QueryError::at(step.column, "Workflow requires the name of a workflow"))
}

/// The filter of a `Flows`, `Has` or `HasEither` step.
pub(crate) fn flow_filter(step: &Step) -> Result<FlowFilter, QueryError> {
    let conditions = if step.name == StepName::Flows {
        conditions(step)
    } else {
        required_conditions(step)
    }?;
    let mut filters: Vec<FlowFilter> = conditions
        .into_iter()
        .map(|(key, condition)| condition.on(&FlowField::parse(&key)))
        .collect();
    Ok(match (filters.len(), step.name) {
        (0, _) => FlowFilter::All,
        (1, _) => filters.remove(0),
        (_, StepName::HasEither) => FlowFilter::Or(filters),
        _ => FlowFilter::And(filters),
    })
}

pub(crate) fn as_text(argument: &Argument) -> Option<&str> {
    match &argument.value {
        ArgumentValue::Literal(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn as_int(argument: &Argument) -> Option<i64> {
    match &argument.value {
        ArgumentValue::Literal(Value::Int(int)) => Some(*int),
        _ => None,
    }
}

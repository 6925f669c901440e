//! What became of a transaction: RFC 7047 §4.1.3 and §5.2.

use serde::Deserialize;
use uuid::Uuid;

use super::datum::Atom;
use super::error::OvsdbError;
use super::row::Row;

/// What one operation did.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationResult {
    /// The name of the row that was made.
    Inserted(Uuid),
    /// How many rows met the conditions.
    Count(u64),
    /// The rows that met the conditions.
    Rows(Vec<Row>),
    /// It is done, and there is nothing to say.
    Done,
}

/// The answer to one operation, before it is known to which; an error if `error` is there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    uuid: Option<Atom>,
    count: Option<u64>,
    rows: Option<Vec<Row>>,
    error: Option<String>,
    details: Option<String>,
}

impl From<Answer> for OperationResult {
    fn from(answer: Answer) -> Self {
        let Answer {
            uuid, count, rows, ..
        } = answer;
        uuid.and_then(|uuid| uuid.as_uuid())
            .map(Self::Inserted)
            .or(count.map(Self::Count))
            .or(rows.map(Self::Rows))
            .unwrap_or(Self::Done)
    }
}

/// Reads the answer to a transaction of so many operations: one result for each, and perhaps an error of
/// the commit after them.
///
/// # Errors
/// [`OvsdbError::Transaction`], [`OvsdbError::Protocol`].
pub(super) fn results(
    expected: usize,
    answers: Vec<Option<Answer>>,
) -> Result<Vec<OperationResult>, OvsdbError> {
    if answers.len() < expected {
        return Err(OvsdbError::Protocol(format!(
            "it answered {} of {expected} operations",
            answers.len()
        )));
    }
    let mut results = Vec::with_capacity(expected);
    for (index, answer) in answers.into_iter().enumerate() {
        let answer = answer.unwrap_or_default();
        if let Some(error) = answer.error {
            return Err(OvsdbError::Transaction {
                operation: (index < expected).then_some(index),
                error,
                details: answer.details.unwrap_or_default(),
            });
        }
        if index < expected {
            results.push(answer.into());
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(operations: usize, answer: serde_json::Value) -> Result<Vec<OperationResult>, OvsdbError> {
        results(operations, serde_json::from_value(answer).unwrap())
    }

    #[test]
    fn results_are_typed() {
        let results = answered(
            4,
            json!([{"uuid": ["uuid", Uuid::max()]}, {"count": 2}, {"rows": [{"name": "a"}]}, {}]),
        );
        assert_eq!(
            results.unwrap(),
            [
                OperationResult::Inserted(Uuid::max()),
                OperationResult::Count(2),
                OperationResult::Rows(vec![Row::new().with("name", "a")]),
                OperationResult::Done,
            ]
        );
    }

    #[test]
    fn errors_name_the_operation_or_the_commit() {
        let error = answered(
            2,
            json!([{}, {"error": "constraint violation", "details": "7 is odd"}]),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "OVSDB refused the transaction at operation 1: constraint violation (7 is odd)"
        );
        let error = answered(3, json!([{}, {"error": "timed out"}, null])).unwrap_err();
        assert!(matches!(
            error,
            OvsdbError::Transaction {
                operation: Some(1),
                ..
            }
        ));
        let error = answered(1, json!([{}, {"error": "referential integrity violation"}])).unwrap_err();
        assert!(matches!(error, OvsdbError::Transaction { operation: None, .. }));
        let error = answered(2, json!([{}])).unwrap_err();
        assert!(matches!(error, OvsdbError::Protocol(_)));
    }
}

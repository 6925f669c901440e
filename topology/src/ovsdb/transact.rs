//! Transactions: RFC 7047 §4.1.3 and §5.2.

use std::time::Duration;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::datum::Datum;
use super::row::Row;

/// Operations that are done all together or not at all.
#[derive(Clone, Debug)]
pub struct Transaction {
    database: Box<str>,
    operations: Vec<Operation>,
}

/// Which rows an operation is about: all conditions must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Condition(Box<str>, &'static str, Datum);

impl Condition {
    /// `column` holds `value` and nothing else.
    #[must_use]
    pub fn equal(column: &str, value: impl Into<Datum>) -> Self {
        Self(column.into(), "==", value.into())
    }

    /// `column` holds something else.
    #[must_use]
    pub fn not_equal(column: &str, value: impl Into<Datum>) -> Self {
        Self(column.into(), "!=", value.into())
    }

    /// The set or map in `column` holds all of `value`.
    #[must_use]
    pub fn includes(column: &str, value: impl Into<Datum>) -> Self {
        Self(column.into(), "includes", value.into())
    }

    /// The set or map in `column` holds nothing of `value`.
    #[must_use]
    pub fn excludes(column: &str, value: impl Into<Datum>) -> Self {
        Self(column.into(), "excludes", value.into())
    }

    /// The row named `uuid`.
    #[must_use]
    pub fn row(uuid: Uuid) -> Self {
        Self::equal("_uuid", uuid)
    }
}

/// How an operation changes a column in place.
#[derive(Clone, Debug, Serialize)]
pub struct Mutation(Box<str>, &'static str, Datum);

impl Mutation {
    /// Adds to the number in `column`: `next_cfg` is counted up so.
    #[must_use]
    pub fn add(column: &str, number: i64) -> Self {
        Self(column.into(), "+=", number.into())
    }

    /// Puts elements into a set, or pairs into a map; a key that is there keeps its value.
    #[must_use]
    pub fn insert(column: &str, elements: impl Into<Datum>) -> Self {
        Self(column.into(), "insert", elements.into())
    }

    /// Takes elements out of a set; or pairs, or a set of keys, out of a map.
    #[must_use]
    pub fn delete(column: &str, elements: impl Into<Datum>) -> Self {
        Self(column.into(), "delete", elements.into())
    }
}

/// What a `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum WaitUntil {
    /// The rows are as given.
    #[serde(rename = "==")]
    Equal,
    /// The rows are not as given.
    #[serde(rename = "!=")]
    Different,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Insert {
        table: Box<str>,
        row: Row,
        #[serde(rename = "uuid-name", skip_serializing_if = "Option::is_none")]
        uuid_name: Option<Box<str>>,
    },
    Select {
        table: Box<str>,
        r#where: Vec<Condition>,
        columns: Vec<Box<str>>,
    },
    Update {
        table: Box<str>,
        r#where: Vec<Condition>,
        row: Row,
    },
    Mutate {
        table: Box<str>,
        r#where: Vec<Condition>,
        mutations: Vec<Mutation>,
    },
    Delete {
        table: Box<str>,
        r#where: Vec<Condition>,
    },
    Wait {
        #[serde(serialize_with = "milliseconds")]
        timeout: Duration,
        table: Box<str>,
        r#where: Vec<Condition>,
        columns: Vec<Box<str>>,
        until: WaitUntil,
        rows: Vec<Row>,
    },
    Comment {
        comment: Box<str>,
    },
}

impl Transaction {
    /// A transaction on `database` that does nothing yet.
    #[must_use]
    pub fn new(database: &str) -> Self {
        Self {
            database: database.into(),
            operations: Vec::new(),
        }
    }

    /// Makes a row. Its result is [`Inserted`](super::OperationResult::Inserted).
    #[must_use]
    pub fn insert(self, table: &str, row: Row) -> Self {
        self.then(Operation::Insert {
            table: table.into(),
            row,
            uuid_name: None,
        })
    }

    /// The same, and calls the row `name` (letters, digits and `_`), so that operations before and after
    /// may hold [`Atom::named`](super::Atom::named) in its place.
    #[must_use]
    pub fn insert_named(self, name: &str, table: &str, row: Row) -> Self {
        self.then(Operation::Insert {
            table: table.into(),
            row,
            uuid_name: Some(name.into()),
        })
    }

    /// Reads `columns` of rows, `_uuid` only if it is among them: [`Rows`](super::OperationResult::Rows).
    #[must_use]
    pub fn select(self, table: &str, rows: impl IntoIterator<Item = Condition>, columns: &[&str]) -> Self {
        self.then(Operation::Select {
            table: table.into(),
            r#where: rows.into_iter().collect(),
            columns: boxed(columns),
        })
    }

    /// Sets columns of rows: [`Count`](super::OperationResult::Count).
    #[must_use]
    pub fn update(self, table: &str, rows: impl IntoIterator<Item = Condition>, row: Row) -> Self {
        self.then(Operation::Update {
            table: table.into(),
            r#where: rows.into_iter().collect(),
            row,
        })
    }

    /// Changes columns of rows in place: [`Count`](super::OperationResult::Count).
    #[must_use]
    pub fn mutate(
        self,
        table: &str,
        rows: impl IntoIterator<Item = Condition>,
        mutations: impl IntoIterator<Item = Mutation>,
    ) -> Self {
        self.then(Operation::Mutate {
            table: table.into(),
            r#where: rows.into_iter().collect(),
            mutations: mutations.into_iter().collect(),
        })
    }

    /// Removes rows: [`Count`](super::OperationResult::Count). Rows that nothing names any more go by themselves,
    /// except in root tables.
    #[must_use]
    pub fn delete(self, table: &str, rows: impl IntoIterator<Item = Condition>) -> Self {
        self.then(Operation::Delete {
            table: table.into(),
            r#where: rows.into_iter().collect(),
        })
    }

    /// Goes on only when `columns` of the rows that meet the conditions are, or are not, as in
    /// `expected`; fails with `timed out` after `timeout`. With no time it is a check, which keeps
    /// two writers from undoing each other's work.
    #[must_use]
    pub fn wait(
        self,
        table: &str,
        rows: impl IntoIterator<Item = Condition>,
        columns: &[&str],
        until: WaitUntil,
        expected: impl IntoIterator<Item = Row>,
        timeout: Duration,
    ) -> Self {
        self.then(Operation::Wait {
            timeout,
            table: table.into(),
            r#where: rows.into_iter().collect(),
            columns: boxed(columns),
            until,
            rows: expected.into_iter().collect(),
        })
    }

    /// Leaves a note in the database's log.
    #[must_use]
    pub fn comment(self, text: &str) -> Self {
        self.then(Operation::Comment { comment: text.into() })
    }

    fn then(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// How many operations there are.
    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }
}

impl Serialize for Transaction {
    /// The parameters of `transact`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let database = std::iter::once(Parameter::Database(&self.database));
        serializer.collect_seq(database.chain(self.operations.iter().map(Parameter::Operation)))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parameter<'a> {
    Database(&'a str),
    Operation(&'a Operation),
}

fn boxed(columns: &[&str]) -> Vec<Box<str>> {
    columns.iter().map(|&column| column.into()).collect()
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::datum::Atom;
    use super::*;

    #[test]
    fn operations_are_written_as_the_rfc_has_them() {
        let uuid = Uuid::nil();
        let transaction = Transaction::new("Open_vSwitch")
            .insert_named("mirror", "Mirror", Row::new().with("name", "mir0"))
            .mutate(
                "Bridge",
                [Condition::row(uuid)],
                [Mutation::insert("mirrors", Atom::named("mirror"))],
            )
            .update(
                "Port",
                [Condition::equal("name", "tap0")],
                Row::new().with("tag", 7),
            )
            .delete(
                "Mirror",
                [Condition::includes("external_ids", Datum::map([("a", "b")]))],
            )
            .wait(
                "Bridge",
                [],
                &["sflow"],
                WaitUntil::Equal,
                [Row::new().with("sflow", Datum::set::<Uuid>([]))],
                Duration::ZERO,
            )
            .comment("why");
        let row = json!(["uuid", "00000000-0000-0000-0000-000000000000"]);
        assert_eq!(
            serde_json::to_value(&transaction).unwrap(),
            json!([
                "Open_vSwitch",
                {"op": "insert", "table": "Mirror", "row": {"name": "mir0"}, "uuid-name": "mirror"},
                {"op": "mutate", "table": "Bridge", "where": [["_uuid", "==", row]],
                    "mutations": [["mirrors", "insert", ["named-uuid", "mirror"]]]},
                {"op": "update", "table": "Port", "where": [["name", "==", "tap0"]], "row": {"tag": 7}},
                {"op": "delete", "table": "Mirror",
                    "where": [["external_ids", "includes", ["map", [["a", "b"]]]]]},
                {"op": "wait", "timeout": 0, "table": "Bridge", "where": [], "columns": ["sflow"],
                    "until": "==", "rows": [{"sflow": ["set", []]}]},
                {"op": "comment", "comment": "why"},
            ])
        );
    }
}

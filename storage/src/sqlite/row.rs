//! A flow as a row of its own: what may still change.

use rusqlite::types::{Null, ValueRef};
use rusqlite::{CachedStatement, Connection, Row};

use super::columns::{COUNT, Value, Values};

/// Writes a flow's row, new or not. Replacing a row by its number costs no more than an update, and
/// takes the same parameters.
const REPLACE: &str = "INSERT OR REPLACE INTO flow VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
     ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, \
     ?30, ?31, ?32)";

/// [`REPLACE`], prepared, with what is bound to it. Flows resemble the one before: most values stay,
/// and need not be bound again (binding all took 15 % of the time of a row).
pub(super) struct FlowStatement<'c> {
    statement: CachedStatement<'c>,
    bound: [Bound; COUNT],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Unknown,
    Null,
    Int(i64),
}

impl<'c> FlowStatement<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            statement: connection.prepare_cached(REPLACE)?,
            bound: [Bound::Unknown; COUNT],
        })
    }

    /// Writes a row.
    pub(super) fn execute(&mut self, values: &Values<'_>) -> rusqlite::Result<()> {
        for (place, value) in values.0.iter().enumerate() {
            self.bind(place, *value)?;
        }
        self.statement.raw_execute().map(drop)
    }

    fn bind(&mut self, place: usize, value: Value<'_>) -> rusqlite::Result<()> {
        let as_bound = match value {
            Value::Null => Bound::Null,
            Value::Int(number) => Bound::Int(number),
            Value::Bytes(_) => Bound::Unknown,
        };
        if as_bound != Bound::Unknown && self.bound[place] == as_bound {
            return Ok(());
        }
        self.bound[place] = as_bound;
        // SQLite counts parameters from 1.
        match value {
            Value::Null => self.statement.raw_bind_parameter(place + 1, Null),
            Value::Int(number) => self.statement.raw_bind_parameter(place + 1, number),
            Value::Bytes(bytes) => self.statement.raw_bind_parameter(place + 1, bytes),
        }
    }
}

/// The values of a row of [`super::columns::NAMES`].
pub(super) fn values<'r>(row: &'r Row<'_>) -> rusqlite::Result<Values<'r>> {
    let mut values = [Value::Null; COUNT];
    for (column, value) in values.iter_mut().enumerate() {
        *value = match row.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Value::Bytes(bytes),
            // No column has decimals: as odd as a text where a number belongs.
            ValueRef::Real(_) => Value::Bytes(&[]),
        };
    }
    Ok(Values(values))
}

//! A row of a table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::datum::{Atom, Datum};

/// A row, or those columns of it that are known: `<row>` of RFC 7047 §5.1.
///
/// A column that is missing reads as empty: servers leave out columns that hold their default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Row {
    columns: BTreeMap<Box<str>, Datum>,
}

impl Row {
    /// A row without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a column.
    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<Datum>) -> Self {
        self.columns.insert(column.into(), value.into());
        self
    }

    /// What is in a column, if it is known.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Datum> {
        self.columns.get(column)
    }

    /// The columns that are known, by name.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Datum)> {
        self.columns.iter().map(|(name, datum)| (&**name, datum))
    }

    /// The atoms in a column.
    #[must_use]
    pub fn atoms(&self, column: &str) -> &[Atom] {
        self.get(column).map_or(&[], Datum::atoms)
    }

    /// The first text in a column; `None` if it is empty or missing.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        self.atoms(column)
            .first()
            .and_then(Atom::as_str)
            .filter(|text| !text.is_empty())
    }

    /// The first integer in a column.
    #[must_use]
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.atoms(column).first().and_then(Atom::as_integer)
    }

    /// The rows that a column names.
    pub fn uuids(&self, column: &str) -> impl Iterator<Item = Uuid> {
        self.atoms(column).iter().filter_map(Atom::as_uuid)
    }

    /// The texts of a map by their keys.
    pub fn texts(&self, column: &str) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(column)
            .filter_map(|(key, value)| Some((key, value.as_str()?)))
    }

    /// The integers of a map by their keys.
    pub fn integers(&self, column: &str) -> impl Iterator<Item = (&str, i64)> {
        self.pairs(column)
            .filter_map(|(key, value)| Some((key, value.as_integer()?)))
    }

    /// The text under `key` of a map.
    #[must_use]
    pub fn text_at(&self, column: &str, key: &str) -> Option<&str> {
        self.texts(column)
            .find(|(name, _)| *name == key)
            .map(|(_, text)| text)
            .filter(|text| !text.is_empty())
    }

    fn pairs(&self, column: &str) -> impl Iterator<Item = (&str, &Atom)> {
        self.get(column)
            .map_or(&[][..], Datum::pairs)
            .iter()
            .filter_map(|(key, value)| Some((key.as_str()?, value)))
    }

    pub(super) fn into_columns(self) -> impl Iterator<Item = (Box<str>, Datum)> {
        self.columns.into_iter()
    }

    pub(super) fn column_mut(&mut self, column: &str) -> Option<&mut Datum> {
        self.columns.get_mut(column)
    }

    pub(super) fn set(&mut self, column: Box<str>, datum: Datum) {
        self.columns.insert(column, datum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_and_a_set_of_one_read_alike() {
        let row: Row =
            serde_json::from_str(r#"{"a":7,"b":["set",[7,8]],"c":["set",[]],"d":"","e":"x"}"#).unwrap();
        assert_eq!(row.integer("a"), Some(7));
        assert_eq!(row.integer("b"), Some(7));
        assert_eq!(row.integer("c"), None);
        assert_eq!(row.text("d"), None, "the default of a text");
        assert_eq!(row.text("e"), Some("x"));
        assert_eq!(row.text("missing"), None);
    }

    #[test]
    fn maps_are_read_by_key() {
        let row = Row::new()
            .with("external_ids", Datum::map([("vm-id", "1"), ("iface-id", "2")]))
            .with("statistics", Datum::map([("rx_bytes", 5)]));
        assert_eq!(row.text_at("external_ids", "vm-id"), Some("1"));
        assert_eq!(row.text_at("external_ids", "vm"), None);
        assert_eq!(row.integers("statistics").collect::<Vec<_>>(), [("rx_bytes", 5)]);
    }
}

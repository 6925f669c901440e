//! A copy of some tables, kept up to date.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::datum::{Atom, Datum};
use super::error::OvsdbError;
use super::row::Row;
use super::schema::{Schema, Shape};
use super::update::{RowUpdate2, Tables, Updates};

/// A row that came, changed or went.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// Its table.
    pub table: Arc<str>,
    /// Its name.
    pub uuid: Uuid,
    /// How it was; `None` if it was not there.
    pub before: Option<Arc<Row>>,
    /// How it is; `None` if it went.
    pub after: Option<Arc<Row>>,
}

/// The rows of the tables that are followed.
///
/// A row of 15 columns with statistics is about 4 KiB. The server decides how many there are; what
/// it may send at once is bounded by [`super::Limits::max_message`].
#[derive(Debug, Default)]
pub(super) struct Replica {
    tables: HashMap<Arc<str>, HashMap<Uuid, Arc<Row>>>,
}

impl Replica {
    /// Takes the server's changes over, and adds those that are real to `changes`; also those before
    /// an error.
    ///
    /// # Errors
    /// [`OvsdbError::Protocol`] if the server changes a row that it never told of: then this copy is
    /// of no use any more and must be replaced.
    pub(super) fn apply(
        &mut self,
        updates: Updates,
        schema: &Schema,
        changes: &mut Vec<RowChange>,
    ) -> Result<(), OvsdbError> {
        match updates {
            Updates::Whole(tables) => each(tables, |table, uuid, update| {
                self.put(table, uuid, update.new, changes);
                Ok(())
            }),
            Updates::Differences(tables) => each(tables, |table, uuid, update| {
                let row = match update {
                    RowUpdate2::Initial(row) | RowUpdate2::Insert(row) => Some(row),
                    RowUpdate2::Modify(difference) => {
                        let known = self.tables.get(table).and_then(|rows| rows.get(&uuid));
                        let mut row = known.map(|row| Row::clone(row)).ok_or_else(|| {
                            OvsdbError::Protocol(format!(
                                "it changed row {uuid} of {table}, which it never sent"
                            ))
                        })?;
                        patch(&mut row, difference, |column| schema.shape(table, column));
                        Some(row)
                    }
                    RowUpdate2::Delete(()) => None,
                };
                self.put(table, uuid, row, changes);
                Ok(())
            }),
        }
    }

    /// Takes the whole contents over, and returns how they differ from before: rows that are the same
    /// do not appear.
    ///
    /// # Errors
    /// As [`Replica::apply`].
    pub(super) fn replace(
        &mut self,
        contents: Updates,
        schema: &Schema,
    ) -> Result<Vec<RowChange>, OvsdbError> {
        let mut fresh = Self::default();
        fresh.apply(contents, schema, &mut Vec::new())?;
        let mut changes = Vec::new();
        for (table, rows) in &self.tables {
            for (uuid, row) in rows {
                if fresh
                    .tables
                    .get(table)
                    .is_none_or(|rows| !rows.contains_key(uuid))
                {
                    changes.push(RowChange {
                        table: Arc::clone(table),
                        uuid: *uuid,
                        before: Some(Arc::clone(row)),
                        after: None,
                    });
                }
            }
        }
        for (table, rows) in &fresh.tables {
            let known = self.tables.get(table);
            for (uuid, row) in rows {
                let before = known.and_then(|rows| rows.get(uuid));
                if before != Some(row) {
                    changes.push(RowChange {
                        table: Arc::clone(table),
                        uuid: *uuid,
                        before: before.cloned(),
                        after: Some(Arc::clone(row)),
                    });
                }
            }
        }
        *self = fresh;
        Ok(changes)
    }

    fn put(&mut self, table: &str, uuid: Uuid, row: Option<Row>, changes: &mut Vec<RowChange>) {
        let name = match self.tables.get_key_value(table) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(table),
        };
        let rows = self.tables.entry(Arc::clone(&name)).or_default();
        let after = row.map(Arc::new);
        let before = match &after {
            Some(row) => rows.insert(uuid, Arc::clone(row)),
            None => rows.remove(&uuid),
        };
        if before != after {
            changes.push(RowChange {
                table: name,
                uuid,
                before,
                after,
            });
        }
    }
}

fn each<T>(
    tables: Tables<T>,
    mut take: impl FnMut(&str, Uuid, T) -> Result<(), OvsdbError>,
) -> Result<(), OvsdbError> {
    for (table, rows) in tables {
        for (uuid, row) in rows {
            take(&table, uuid, row)?;
        }
    }
    Ok(())
}

/// Changes the columns of `row` by their `difference`.
fn patch(row: &mut Row, difference: Row, shape: impl Fn(&str) -> Option<Shape>) {
    for (column, change) in difference.into_columns() {
        let shape = shape(&column).unwrap_or(Shape::Single);
        match row.column_mut(&column) {
            Some(known) if shape == Shape::Set => toggle(known, change),
            Some(known) if shape == Shape::Map => merge(known, change),
            _ => row.set(column, change),
        }
    }
}

/// What is in one of the two sets, but not in both.
fn toggle(known: &mut Datum, change: Datum) {
    let mut atoms: Vec<Atom> = known.atoms().to_vec();
    for atom in change.atoms() {
        match atoms.iter().position(|known| known == atom) {
            Some(index) => drop(atoms.swap_remove(index)),
            None => atoms.push(atom.clone()),
        }
    }
    *known = Datum::Set(atoms);
}

/// A pair that is the same in both goes; any other comes, or takes the place of the one with its key.
fn merge(known: &mut Datum, change: Datum) {
    let mut pairs: Vec<(Atom, Atom)> = known.pairs().to_vec();
    for (key, value) in change.pairs() {
        match pairs.iter().position(|(known, _)| known == key) {
            Some(index) if pairs[index].1 == *value => drop(pairs.swap_remove(index)),
            Some(index) => pairs[index].1 = value.clone(),
            None => pairs.push((key.clone(), value.clone())),
        }
    }
    *known = Datum::Map(pairs);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn schema() -> Schema {
        serde_json::from_value(json!({"tables": {"Port": {"columns": {
            "name": {"type": "string"},
            "tag": {"type": {"key": "integer", "min": 0, "max": 1}},
            "trunks": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
            "external_ids": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
        }}}}))
        .unwrap()
    }

    fn differences(update: Value) -> Updates {
        let uuid = Uuid::nil().to_string();
        Updates::Differences(serde_json::from_value(json!({"Port": {uuid: update}})).unwrap())
    }

    fn apply(replica: &mut Replica, update: Value) -> Vec<RowChange> {
        let mut changes = Vec::new();
        let applied = replica.apply(differences(update), &schema(), &mut changes);
        applied.map(|()| changes).unwrap()
    }

    fn row(replica: &Replica) -> &Row {
        &replica.tables["Port"][&Uuid::nil()]
    }

    #[test]
    fn differences_are_put_on_what_is_known() {
        let mut replica = Replica::default();
        let insert = json!({"insert": {"name": "tap0", "tag": 1, "trunks": ["set", [1, 2]],
            "external_ids": ["map", [["a", "1"], ["b", "2"], ["c", "3"]]]}});
        let changes = apply(&mut replica, insert);
        assert!(changes[0].before.is_none());
        let modify = json!({"modify": {"tag": 7, "trunks": ["set", [2, 3]],
            "external_ids": ["map", [["a", "1"], ["b", "9"], ["d", "4"]]]}});
        let changes = apply(&mut replica, modify);
        assert_eq!(changes[0].before.as_ref().unwrap().integer("tag"), Some(1));
        let row = row(&replica);
        assert_eq!((row.text("name"), row.integer("tag")), (Some("tap0"), Some(7)));
        assert_eq!(row.atoms("trunks"), [1.into(), 3.into()]);
        let mut ids: Vec<_> = row.texts("external_ids").collect();
        ids.sort_unstable();
        assert_eq!(ids, [("b", "9"), ("c", "3"), ("d", "4")]);
    }

    #[test]
    fn sets_of_one_and_default_columns_change_too() {
        let mut replica = Replica::default();
        let steps = [
            (json!({"initial": {"name": "tap0"}}), vec![]),
            (json!({"modify": {"trunks": 5}}), vec![5]),
            (json!({"modify": {"trunks": 6}}), vec![5, 6]),
            (json!({"modify": {"trunks": 5}}), vec![6]),
            (json!({"modify": {"trunks": 6}}), vec![]),
        ];
        for (update, trunks) in steps {
            apply(&mut replica, update);
            let known: Vec<_> = row(&replica)
                .atoms("trunks")
                .iter()
                .filter_map(Atom::as_integer)
                .collect();
            assert_eq!(known, trunks);
        }
        apply(&mut replica, json!({"modify": {"tag": 4}}));
        apply(&mut replica, json!({"modify": {"tag": ["set", []]}}));
        assert_eq!(row(&replica).integer("tag"), None);
        let changes = apply(&mut replica, json!({"delete": null}));
        assert!(changes[0].after.is_none());
        assert!(replica.tables["Port"].is_empty());
    }

    #[test]
    fn a_change_of_an_unknown_row_is_an_error() {
        let unknown = differences(json!({"modify": {"tag": 4}}));
        let applied = Replica::default().apply(unknown, &schema(), &mut Vec::new());
        let error = applied.unwrap_err();
        assert!(error.to_string().contains("which it never sent"), "{error}");
    }

    #[test]
    fn a_replacement_tells_only_what_differs() {
        let (mut replica, schema) = (Replica::default(), schema());
        let contents = |rows: Value| Updates::Whole(serde_json::from_value(json!({"Port": rows})).unwrap());
        let uuid = |number| Uuid::from_u128(number).to_string();
        let first = contents(json!({
            uuid(1): {"new": {"name": "stays"}}, uuid(2): {"new": {"name": "goes"}},
            uuid(3): {"new": {"name": "changes", "tag": 1}}}));
        assert_eq!(replica.replace(first, &schema).unwrap().len(), 3);
        let second = contents(json!({
            uuid(1): {"new": {"name": "stays"}}, uuid(3): {"new": {"name": "changes", "tag": 2}},
            uuid(4): {"new": {"name": "comes"}}}));
        let mut changes = replica.replace(second, &schema).unwrap();
        changes.sort_by_key(|change| change.uuid);
        let names: Vec<_> = changes
            .iter()
            .map(|change| {
                let name =
                    |row: &Option<Arc<Row>>| row.as_ref().and_then(|row| row.text("name").map(str::to_owned));
                (name(&change.before), name(&change.after))
            })
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            names,
            [
                (text("goes"), None),
                (text("changes"), text("changes")),
                (None, text("comes"))
            ]
        );
    }
}

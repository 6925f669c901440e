//! What of a database's schema a client must know.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// How a column changes, which decides how the server writes a change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// At most one value: a change is the new value.
    Single,
    /// A set: a change is what came or went.
    Set,
    /// A map: a change is what came, went or has another value.
    Map,
}

/// The tables of a database, with their columns.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Schema {
    tables: HashMap<String, Table>,
}

#[derive(Debug, Deserialize)]
struct Table {
    columns: HashMap<String, Column>,
}

#[derive(Debug, Deserialize)]
struct Column {
    #[serde(rename = "type", deserialize_with = "shape")]
    shape: Shape,
}

/// Reads `<type>` of RFC 7047 §3.2: the name of a type, or an object that says more.
fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
    let kind = Value::deserialize(deserializer)?;
    Ok(if !kind["value"].is_null() {
        Shape::Map
    } else if kind["max"].is_null() || kind["max"] == 1 {
        Shape::Single
    } else {
        Shape::Set
    })
}

impl Schema {
    /// How a column changes; `None` if there is no such column.
    pub(super) fn shape(&self, table: &str, column: &str) -> Option<Shape> {
        Some(self.tables.get(table)?.columns.get(column)?.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_come_from_the_types() {
        let schema: Schema = serde_json::from_value(serde_json::json!({
            "name": "Open_vSwitch", "version": "8.3.1", "cksum": "1 2",
            "tables": {"Port": {"isRoot": false, "columns": {
                "name": {"type": "string", "mutable": false},
                "tag": {"type": {"key": {"type": "integer", "minInteger": 0}, "min": 0, "max": 1}},
                "mac": {"type": {"key": "string"}},
                "trunks": {"type": {"key": {"type": "integer"}, "min": 0, "max": 4096}},
                "interfaces": {"type": {"key": {"type": "uuid", "refTable": "Interface"}, "max": "unlimited"}},
                "external_ids": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            }}}
        }))
        .unwrap();
        let shape = |column| schema.shape("Port", column);
        assert_eq!(shape("name"), Some(Shape::Single));
        assert_eq!(shape("tag"), Some(Shape::Single));
        assert_eq!(shape("mac"), Some(Shape::Single));
        assert_eq!(shape("trunks"), Some(Shape::Set));
        assert_eq!(shape("interfaces"), Some(Shape::Set));
        assert_eq!(shape("external_ids"), Some(Shape::Map));
        assert_eq!(shape("missing"), None);
        assert_eq!(schema.shape("Missing", "name"), None);
    }
}

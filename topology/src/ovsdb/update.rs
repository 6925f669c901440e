//! How the server tells rows and their changes: RFC 7047 §4.1.5 and §4.1.6, and Open vSwitch's own two
//! later forms (ovsdb-server(7), "Monitor_cond" and "Update2 Notification").

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use super::row::Row;

/// Rows by table and name.
pub(super) type Tables<T> = HashMap<Box<str>, HashMap<Uuid, T>>;

/// `<row-update>`: `new` holds the columns that are there now; it is missing if the row went.
#[derive(Debug, Deserialize)]
pub(super) struct RowUpdate {
    pub(super) new: Option<Row>,
}

/// `<row-update2>`. Columns with their default value are left out of a new row.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RowUpdate2 {
    /// The row was there when the monitor began.
    Initial(Row),
    /// The row is new.
    Insert(Row),
    /// The columns that changed, each as its change: see [`super::schema::Shape`].
    Modify(Row),
    /// The row went.
    Delete(()),
}

/// One message of changes, whichever form the server has.
#[derive(Debug)]
pub(super) enum Updates {
    /// Of `monitor`.
    Whole(Tables<RowUpdate>),
    /// Of `monitor_cond` and `monitor_cond_since`.
    Differences(Tables<RowUpdate2>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_form_names_what_happened() {
        let tables: Tables<RowUpdate2> = serde_json::from_str(
            r#"{"Port":{"00000000-0000-0000-0000-000000000000":{"delete":null},
                "00000000-0000-0000-0000-000000000001":{"modify":{"tag":7}}}}"#,
        )
        .unwrap();
        let port = &tables["Port"];
        assert!(matches!(port[&Uuid::nil()], RowUpdate2::Delete(())));
        assert!(
            matches!(&port[&Uuid::from_u128(1)], RowUpdate2::Modify(row) if row.integer("tag") == Some(7))
        );
        assert!(serde_json::from_str::<RowUpdate2>(r#"{"replace":{}}"#).is_err());
    }
}

//! What users declared, in `catalog.db`.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params, types::Type};
use serde_json::Value;

use super::catalog::Catalog;
use super::lock::DirectoryLock;
use crate::error::StoreError;

/// Resources of one kind. They are read whole at the start, and each is some KiB; more is a mistake.
const MAX_OF_KIND: u32 = 10_000;

/// A document that a user declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its name among those of its kind.
    pub uuid: String,
    /// What it says.
    pub document: Value,
}

/// Documents by kind and UUID: `noderule`, `edgerule`, `node`, `edge`, `capture`. A change is on disk
/// when its call returns.
#[derive(Clone, Debug)]
pub struct Resources {
    catalog: Arc<Catalog>,
    _lock: Arc<DirectoryLock>,
}

impl Resources {
    pub(super) fn new(catalog: Arc<Catalog>, lock: Arc<DirectoryLock>) -> Self {
        Self { catalog, _lock: lock }
    }

    /// All of a kind, in the order in which they were made. One whose document cannot be read is left out, and
    /// told in the log.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn list(&self, kind: &str) -> Result<Vec<Resource>, StoreError> {
        let sql = "SELECT uuid, document FROM resource WHERE kind = ?1 ORDER BY number";
        self.catalog.run("read", |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([kind])?;
            let mut readable = Vec::new();
            while let Some(row) = rows.next()? {
                match resource(row) {
                    Ok(resource) => readable.push(resource),
                    Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                        let id: String = row.get(0)?;
                        tracing::error!(kind, %id, %error, "what was declared cannot be read, it is left out");
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(readable)
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn get(&self, kind: &str, uuid: &str) -> Result<Option<Resource>, StoreError> {
        let sql = "SELECT uuid, document FROM resource WHERE kind = ?1 AND uuid = ?2";
        self.catalog.run("read", |connection| {
            connection
                .prepare_cached(sql)?
                .query_row([kind, uuid], resource)
                .optional()
        })
    }

    /// Makes it, or gives the one that is there another document; its place in the order stays.
    ///
    /// # Errors
    /// [`StoreError::TooManyResources`], [`StoreError::Full`], [`StoreError::Database`].
    pub fn put(&self, kind: &str, uuid: &str, document: &Value) -> Result<(), StoreError> {
        // The bound is part of the statement: two callers at once cannot both take the last place.
        let sql = "INSERT INTO resource (kind, uuid, document)
                   SELECT ?1, ?2, ?3
                   WHERE EXISTS (SELECT 1 FROM resource WHERE kind = ?1 AND uuid = ?2)
                      OR (SELECT count(*) FROM resource WHERE kind = ?1) < ?4
                   ON CONFLICT (kind, uuid) DO UPDATE SET document = excluded.document";
        let document = document.to_string();
        let written = self.catalog.run("write", |connection| {
            connection
                .prepare_cached(sql)?
                .execute(params![kind, uuid, document, MAX_OF_KIND])
        })?;
        if written == 0 {
            return Err(StoreError::TooManyResources {
                kind: kind.to_owned(),
                max: MAX_OF_KIND,
            });
        }
        Ok(())
    }

    /// Removes it; returns whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn delete(&self, kind: &str, uuid: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM resource WHERE kind = ?1 AND uuid = ?2";
        let deleted = self.catalog.run("write", |connection| {
            connection.prepare_cached(sql)?.execute([kind, uuid])
        })?;
        Ok(deleted > 0)
    }
}

fn resource(row: &Row<'_>) -> rusqlite::Result<Resource> {
    let document = serde_json::from_str(row.get_ref(1)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
    Ok(Resource {
        uuid: row.get(0)?,
        document,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{SqliteOptions, SqliteStore};

    #[test]
    fn resources_outlive_the_process_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let open = || SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap();
        let resources = open().resources();
        resources.put("noderule", "b", &json!({"Name": "first"})).unwrap();
        resources
            .put("noderule", "a", &json!({"Name": "second"}))
            .unwrap();
        resources.put("edgerule", "b", &json!([1, null])).unwrap();
        resources
            .put("noderule", "b", &json!({"Name": "changed"}))
            .unwrap();
        drop(resources);
        let resources = open().resources();
        let names = |kind| {
            let all = resources.list(kind).unwrap().into_iter();
            all.map(|resource| (resource.uuid, resource.document))
                .collect::<Vec<_>>()
        };
        let rules = [
            ("b".to_owned(), json!({"Name": "changed"})),
            ("a".to_owned(), json!({"Name": "second"})),
        ];
        assert_eq!(names("noderule"), rules);
        assert_eq!(names("edgerule"), [("b".to_owned(), json!([1, null]))]);
        assert_eq!(names("node"), []);
        assert!(resources.delete("noderule", "b").unwrap());
        assert!(!resources.delete("noderule", "b").unwrap());
        assert_eq!(resources.get("noderule", "b").unwrap(), None);
        assert_eq!(
            resources.get("noderule", "a").unwrap().unwrap().document["Name"],
            "second"
        );
    }

    #[test]
    fn one_that_cannot_be_read_keeps_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap();
        let resources = store.resources();
        resources.put("node", "a", &json!({"Name": "a"})).unwrap();
        let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (uuid, document) in [("deep", nested.as_str()), ("cut", "{")] {
            let insert = "INSERT INTO resource (kind, uuid, document) VALUES ('node', ?1, ?2)";
            store
                .catalog
                .run("write", |connection| connection.execute(insert, [uuid, document]))
                .unwrap();
        }
        resources.put("node", "b", &json!({"Name": "b"})).unwrap();
        let uuids: Vec<_> = resources
            .list("node")
            .unwrap()
            .into_iter()
            .map(|resource| resource.uuid)
            .collect();
        assert_eq!(uuids, ["a", "b"]);
    }

    #[test]
    fn a_kind_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap();
        let resources = store.resources();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                    INSERT INTO resource (kind, uuid, document) SELECT 'node', i, '{}' FROM n";
        store
            .catalog
            .run("write", |connection| connection.execute(fill, [MAX_OF_KIND]))
            .unwrap();
        let refused = resources.put("node", "one more", &json!({})).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "there are 10000 resources of kind node already, delete some"
        );
        resources.put("node", "7", &json!({"Name": "x"})).unwrap();
        resources.put("edge", "one more", &json!({})).unwrap();
    }
}

//! What nodes and edges have in common: what they must say, who may delete them, and patches.

use flowtap_topology::{Graph, Metadata};
use json_patch::Patch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::DeclaredError;

/// Who says so, of what users declared: Skydive's word.
pub(super) fn origin(graph: &Graph) -> String {
    format!("api.{}", graph.host_name())
}

/// Checks that a node says what identifies it.
pub(crate) fn check_node(metadata: &Metadata) -> Result<(), DeclaredError> {
    let node_type = text(metadata, "Type");
    let needed: &[&str] = match node_type {
        "netns" => &["Name", "Type", "Path"],
        "ovsbridge" | "ovsport" => &["Name", "Type", "UUID"],
        _ => &["Name", "Type"],
    };
    let what = if node_type.is_empty() || needed.len() == 2 {
        "a node".to_owned()
    } else {
        format!("a node of type {node_type}")
    };
    check(metadata, needed, what)
}

/// Checks that an edge says what it means.
pub(crate) fn check_edge(metadata: &Metadata) -> Result<(), DeclaredError> {
    check(metadata, &["RelationType"], "an edge".to_owned())
}

fn check(metadata: &Metadata, needed: &[&str], what: String) -> Result<(), DeclaredError> {
    if needed.iter().all(|key| !text(metadata, key).is_empty()) {
        return Ok(());
    }
    Err(DeclaredError::Incomplete {
        what,
        needed: needed.join(" and "),
    })
}

pub(crate) fn text<'m>(metadata: &'m Metadata, key: &str) -> &'m str {
    metadata.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `element` after `patch`, which is about its JSON (RFC 6902).
pub(super) fn patched<T: Serialize + DeserializeOwned>(
    element: &T,
    patch: &Patch,
) -> Result<T, DeclaredError> {
    let mut document = serde_json::to_value(element).map_err(DeclaredError::Unwritable)?;
    json_patch::patch(&mut document, patch)?;
    serde_json::from_value(document).map_err(DeclaredError::Patched)
}

/// Puts what identifies a node back into its metadata: as with Skydive, no patch changes it.
pub(crate) fn keep_identity(metadata: &mut Metadata, before: &Metadata) {
    for key in ["TID", "Name", "Type"] {
        match before.get(key) {
            Some(value) => metadata.insert(key.to_owned(), value.clone()),
            None => metadata.remove(key),
        };
    }
}

/// Makes the changes that lead from `before` to `after` in `said` as well, and no others: in the graph a
/// node has more than its user said of it (its TID, what rules added), and that is not theirs to keep.
pub(super) fn carry_over(before: &Metadata, after: &Metadata, said: &mut Metadata) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        said.remove(key);
    }
    for (key, value) in after {
        match (before.get(key), value) {
            (Some(old), _) if old == value => {}
            (Some(Value::Object(old)), Value::Object(new)) if said.get(key).is_none_or(Value::is_object) => {
                let inner = said.entry(key.as_str()).or_insert_with(|| Metadata::new().into());
                if let Some(inner) = inner.as_object_mut() {
                    carry_over(old, new, inner);
                }
            }
            _ => drop(said.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_carried_over_and_nothing_else() {
        let metadata = |value: Value| value.as_object().unwrap().clone();
        let before =
            metadata(json!({"Name": "a", "TID": "t", "Rack": 7, "ExtID": {"mine": 1, "rule": 2}, "Old": 1}));
        let after = metadata(
            json!({"Name": "a", "TID": "t", "Rack": 8, "ExtID": {"mine": 3, "rule": 2}, "New": [1]}),
        );
        let mut said = metadata(json!({"Name": "a", "Rack": 7, "ExtID": {"mine": 1}, "Old": 1}));
        carry_over(&before, &after, &mut said);
        assert_eq!(
            said,
            metadata(json!({"Name": "a", "Rack": 8, "ExtID": {"mine": 3}, "New": [1]}))
        );
    }
}

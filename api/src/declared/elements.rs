//! What nodes and edges have in common: what they must say, who may delete them, and patches.

use flowtap_topology::{Graph, MAX_DEPTH, Metadata, TopologyError, is_deeper, is_too_deep};
use json_patch::{Patch, PatchOperation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::DeclaredError;

/// Who says so, of what users declared: Skydive's word.
pub(super) fn origin(graph: &Graph) -> String {
    format!("api.{}", graph.host_name())
}

/// Bytes of the metadata that a user or a publisher may give an element. A graph that is full of such
/// nodes takes 6 GiB; an interface with all that netlink tells of it has 11 KiB.
const MAX_METADATA: usize = 64 << 10;

/// Checks that a node says what identifies it, and not too much.
pub(crate) fn check_node(metadata: &Metadata) -> Result<(), DeclaredError> {
    check_size(metadata)?;
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

/// Checks that an edge says what it means, and not too much.
pub(crate) fn check_edge(metadata: &Metadata) -> Result<(), DeclaredError> {
    check_size(metadata)?;
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

/// Checks that there is not too much of it, and that it is not nested too deep.
pub(super) fn check_size(metadata: &Metadata) -> Result<(), DeclaredError> {
    check_growth(0, metadata)
}

/// Checks that what has become of metadata of `before` bytes is not too much. What a watcher sees may be
/// more; then it may not grow. Nor may it be nested deeper than any element's.
pub(crate) fn check_growth(before: usize, metadata: &Metadata) -> Result<(), DeclaredError> {
    if is_too_deep(metadata) {
        return Err(too_deep());
    }
    let bytes = size(metadata);
    if bytes <= MAX_METADATA.max(before) {
        return Ok(());
    }
    Err(DeclaredError::TooLarge {
        bytes,
        max: MAX_METADATA,
    })
}

pub(crate) fn too_deep() -> DeclaredError {
    TopologyError::TooDeep { max: MAX_DEPTH }.into()
}

/// Bytes of metadata as JSON, about. Only for what is known not to be too deep.
pub(crate) fn size(metadata: &Metadata) -> usize {
    let entries = metadata.iter();
    entries
        .map(|(key, value)| key.len() + 4 + size_of_value(value))
        .sum()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(values) => values.iter().map(|value| size_of_value(value) + 1).sum::<usize>() + 2,
        Value::Object(entries) => size(entries) + 2,
    }
}

/// The metadata of `element` after `patch`, which is about the element's JSON (RFC 6902).
pub(super) fn patched<T>(
    element: &T,
    metadata: fn(T) -> Metadata,
    patch: &Patch,
) -> Result<Metadata, DeclaredError>
where
    T: Serialize + DeserializeOwned,
{
    let mut document = serde_json::to_value(element).map_err(DeclaredError::Unwritable)?;
    let before = size_of_value(&document);
    for operation in &patch.0 {
        check_levels(operation, &document)?;
        json_patch::patch(&mut document, std::slice::from_ref(operation))?;
        // A few copies of what was copied fill any memory: they are stopped on the way.
        if let PatchOperation::Copy(_) = operation {
            let bytes = size_of_value(&document);
            if bytes > before + MAX_METADATA {
                return Err(DeclaredError::TooLarge {
                    bytes,
                    max: MAX_METADATA,
                });
            }
        }
    }
    let patched = serde_json::from_value(document).map_err(DeclaredError::Patched)?;
    Ok(metadata(patched))
}

/// Checks that what `operation` puts into an element's JSON is not nested too deep there: before it is, for a
/// few copies of what was copied are too deep for any stack.
fn check_levels(operation: &PatchOperation, document: &Value) -> Result<(), DeclaredError> {
    let (path, value) = match operation {
        PatchOperation::Add(add) => (&add.path, Some(&add.value)),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
        PatchOperation::Move(moved) => (&moved.path, document.pointer(moved.from.as_str())),
        PatchOperation::Copy(copy) => (&copy.path, document.pointer(copy.from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    // The metadata is the element's second level.
    let left = (MAX_DEPTH + 1).saturating_sub(path.count());
    match value {
        Some(value) if is_deeper(value, left) => Err(too_deep()),
        _ => Ok(()),
    }
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

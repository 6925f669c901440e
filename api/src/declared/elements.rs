//! What nodes and edges have in common: what they must say, who may delete them, and patches.

use flowtap_topology::{Graph, Metadata, Snapshot};
use json_patch::Patch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::DeclaredError;

/// Who says so, of what users declared: Skydive's word.
pub(super) fn origin(graph: &Graph) -> String {
    format!("api.{}", graph.host_name())
}

/// Whether `origin` is that of the watchers and rules of `graph`.
pub(super) fn is_ours(graph: &Graph, snapshot: &Snapshot, origin: &str) -> bool {
    snapshot
        .node(graph.host())
        .is_some_and(|host| *host.origin == *origin)
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
        "node".to_owned()
    } else {
        format!("node of type {node_type}")
    };
    check(metadata, needed, what)
}

/// Checks that an edge says what it means.
pub(crate) fn check_edge(metadata: &Metadata) -> Result<(), DeclaredError> {
    check(metadata, &["RelationType"], "edge".to_owned())
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

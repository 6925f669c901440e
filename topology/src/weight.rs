//! What elements take in memory, about: for whoever has to keep to a limit.

use serde_json::Value;

use crate::element::{Edge, Metadata, Node};

/// What a JSON value takes in memory, about.
#[must_use]
pub fn json_bytes(value: &Value) -> u64 {
    let inner = match value {
        Value::String(text) => size(text.len()),
        Value::Array(values) => values.iter().map(json_bytes).sum(),
        Value::Object(map) => metadata_bytes(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size(size_of::<Value>()) + inner
}

/// What metadata takes in memory, about.
#[must_use]
pub fn metadata_bytes(metadata: &Metadata) -> u64 {
    // 64: a node of the map's tree, shared, and the string's own header.
    let entries = metadata.iter();
    entries
        .map(|(key, value)| 64 + size(key.len()) + json_bytes(value))
        .sum()
}

impl Node {
    /// What it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size(size_of::<Self>()) + metadata_bytes(&self.metadata)
    }
}

impl Edge {
    /// What it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size(size_of::<Self>()) + metadata_bytes(&self.metadata)
    }
}

/// `usize` has at most 64 bits wherever this runs.
fn size(bytes: usize) -> u64 {
    bytes as u64
}

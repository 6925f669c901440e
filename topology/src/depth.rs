//! How deep metadata nests.
//!
//! Whatever reads, compares, writes or drops metadata goes down into it level by level, on the stack: what
//! other programs may say of the graph has to have a bound, and JSON readers have one as well (often 128).

use serde_json::Value;

use crate::element::Metadata;

/// Levels of objects and lists that the metadata of an element may have, itself the first: `{"a": [1]}` has two.
/// What watchers see has up to four.
pub const MAX_DEPTH: usize = 32;

/// Whether `metadata` has more levels than [`MAX_DEPTH`]. It looks no deeper than that.
#[must_use]
pub fn is_too_deep(metadata: &Metadata) -> bool {
    let mut values = metadata.values();
    values.any(|value| is_deeper(value, MAX_DEPTH - 1))
}

/// Whether `value` has more than so many `levels` of objects and lists. It looks no deeper than that.
#[must_use]
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = levels.checked_sub(1);
    match (value, inner) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(values), Some(inner)) => values.iter().any(|value| is_deeper(value, inner)),
        (Value::Object(entries), Some(inner)) => entries.values().any(|value| is_deeper(value, inner)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_are_counted() {
        let value = json!({"a": [1, {"b": []}]});
        assert!(is_deeper(&value, 3) && !is_deeper(&value, 4));
        assert!(is_deeper(&json!([]), 0) && !is_deeper(&json!("text"), 0));
        let nested = |levels| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
        let metadata = |levels| nested(levels).as_object().unwrap().clone();
        assert!(!is_too_deep(&metadata(MAX_DEPTH)));
        assert!(is_too_deep(&metadata(MAX_DEPTH + 1)));
    }
}

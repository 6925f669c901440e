//! Entries within entries of metadata: `ExtID.vm-id` is `vm-id` of the object `ExtID`.
//!
//! A name may have dots itself, as those of Open vSwitch's `external_ids` often do: the whole path is tried as
//! a name before it is cut at its first dot.

use serde_json::Value;
use serde_json::map::Entry;

use crate::depth::{MAX_DEPTH, is_deeper};
use crate::element::Metadata;

/// What `path` leads to.
#[must_use]
pub fn get<'m>(metadata: &'m Metadata, path: &str) -> Option<&'m Value> {
    if let Some(value) = metadata.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    get(metadata.get(first)?.as_object()?, rest)
}

/// Whether metadata that [`set`] made of nothing but `path` and `value` has no more levels than [`MAX_DEPTH`].
#[must_use]
pub fn fits(path: &str, value: &Value) -> bool {
    let parts = path.split('.').take(MAX_DEPTH + 1).count();
    MAX_DEPTH
        .checked_sub(parts)
        .is_some_and(|left| !is_deeper(value, left))
}

/// Makes `path` lead to `value`. What is in the way and is no object stays, and nothing is set; nor is what does
/// not [`fit`](fits): whoever has it from others asks first, and tells them.
pub fn set(metadata: &mut Metadata, path: &str, value: Value) {
    if fits(path, &value) {
        put(metadata, path, value);
    }
}

fn put(metadata: &mut Metadata, path: &str, value: Value) {
    let nested = path.split_once('.').filter(|_| !metadata.contains_key(path));
    let Some((first, rest)) = nested else {
        metadata.insert(path.to_owned(), value);
        return;
    };
    let inner = match metadata.entry(first) {
        Entry::Vacant(vacant) => vacant.insert(Value::Object(Metadata::new())),
        Entry::Occupied(occupied) => occupied.into_mut(),
    };
    if let Some(inner) = inner.as_object_mut() {
        put(inner, rest, value);
    }
}

/// Makes `path` lead nowhere; objects that are empty then go as well.
pub fn remove(metadata: &mut Metadata, path: &str) {
    if metadata.remove(path).is_some() {
        return;
    }
    let Some((first, rest)) = path.split_once('.') else {
        return;
    };
    if let Some(inner) = metadata.get_mut(first).and_then(Value::as_object_mut) {
        remove(inner, rest);
        if inner.is_empty() {
            metadata.remove(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(value: Value) -> Metadata {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_path_has_a_bound() {
        let path = |parts: usize| vec!["a"; parts].join(".");
        let mut all = Metadata::new();
        for parts in [MAX_DEPTH + 1, 30_000] {
            assert!(!fits(&path(parts), &Value::Null));
            set(&mut all, &path(parts), json!(1));
            assert_eq!(get(&all, &path(parts)), None);
            remove(&mut all, &path(parts));
        }
        set(&mut all, &path(MAX_DEPTH), json!([1]));
        assert!(all.is_empty());
        set(&mut all, &path(MAX_DEPTH), json!(1));
        assert!(!crate::is_too_deep(&all));
        assert_eq!(get(&all, &path(MAX_DEPTH)), Some(&json!(1)));
    }

    #[test]
    fn paths_lead_into_objects() {
        let mut all = metadata(json!({"ExtID": {"vm-id": "7", "a.b": 1}, "MTU": 1500}));
        assert_eq!(get(&all, "ExtID.vm-id"), Some(&json!("7")));
        assert_eq!(get(&all, "ExtID.a.b"), Some(&json!(1)));
        assert_eq!(get(&all, "MTU.x"), None);
        set(&mut all, "ExtID.vm-id", json!("8"));
        set(&mut all, "New.deep.er", json!(true));
        set(&mut all, "MTU.x", json!("in the way"));
        let expected = json!({"ExtID": {"vm-id": "8", "a.b": 1}, "MTU": 1500, "New": {"deep": {"er": true}}});
        assert_eq!(all, metadata(expected));
        for path in ["New.deep.er", "ExtID.a.b", "ExtID.none", "none.none"] {
            remove(&mut all, path);
        }
        assert_eq!(all, metadata(json!({"ExtID": {"vm-id": "8"}, "MTU": 1500})));
    }
}

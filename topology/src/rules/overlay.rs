//! What rules have put over the metadata of a node, and what is under it.
//!
//! Entries of rules are paths, and the paths of two rules may lead into each other: one sets `Rack`, another
//! `Rack.unit`. So it is not entries that are undone but their sum: of each entry of the metadata that rules
//! have changed, what it was and what they made of it is known. What others write meanwhile is told from that
//! by comparing all three.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::element::Metadata;
use crate::path;

/// What rules have made of a node's metadata, by the first name of a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overlay(BTreeMap<String, Layer>);

/// What rules have made of an entry.
#[derive(Clone, Debug, PartialEq)]
struct Layer {
    /// What stood there.
    before: Option<Value>,
    ours: Option<Value>,
}

impl Overlay {
    /// Takes everything off that rules have put on; what others have written since stays.
    pub(super) fn take_off(&self, metadata: &mut Metadata) {
        for (key, layer) in &self.0 {
            match under(layer.before.as_ref(), layer.ours.as_ref(), metadata.get(key)) {
                Some(value) => metadata.insert(key.clone(), value),
                None => metadata.remove(key),
            };
        }
    }

    /// Sets `entries`, in order, over metadata that nothing of rules is on.
    pub(super) fn put_on(entries: &[(String, Value)], metadata: &mut Metadata) -> Self {
        let mut before: BTreeMap<&str, Option<Value>> = BTreeMap::new();
        for (key, _) in entries {
            for top in tops(key) {
                before.entry(top).or_insert_with(|| metadata.get(top).cloned());
            }
        }
        for (key, value) in entries {
            path::set(metadata, key, value.clone());
        }
        let layers = before.into_iter().filter_map(|(top, before)| {
            let ours = metadata.get(top).cloned();
            (ours != before).then(|| (top.to_owned(), Layer { before, ours }))
        });
        Self(layers.collect())
    }
}

/// The entries of the metadata that a path may change: the one of its whole name, for names may have dots,
/// and that of its first part.
fn tops(path: &str) -> impl Iterator<Item = &str> {
    let first = path.split_once('.').map(|(first, _)| first);
    std::iter::once(path).chain(first)
}

/// What is under `ours`, which was put over `before`, now that `found` stands there.
fn under(before: Option<&Value>, ours: Option<&Value>, found: Option<&Value>) -> Option<Value> {
    if found == ours {
        return before.cloned();
    }
    // Without anything of ours in it somebody has written over all of it.
    let (Some(Value::Object(found)), Some(Value::Object(ours)), true) =
        (found, ours, has_ours(before, ours, found))
    else {
        return found.cloned();
    };
    let before = before.and_then(Value::as_object);
    let of_before = |key: &String| before.and_then(|before| before.get(key));
    let keys = before.into_iter().flat_map(Metadata::keys).chain(found.keys());
    let under: Metadata = keys
        .filter_map(|key| Some((key.clone(), under(of_before(key), ours.get(key), found.get(key))?)))
        .collect();
    (before.is_some() || !under.is_empty()).then_some(Value::Object(under))
}

/// Whether something is found that rules have set.
fn has_ours(before: Option<&Value>, ours: Option<&Value>, found: Option<&Value>) -> bool {
    match (ours, found) {
        (Some(_), _) if ours == found => ours != before,
        (Some(Value::Object(ours)), Some(Value::Object(found))) => ours.iter().any(|(key, ours)| {
            let before = before.and_then(|before| before.get(key));
            has_ours(before, Some(ours), found.get(key))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(value: Value) -> Metadata {
        value.as_object().unwrap().clone()
    }

    fn put(entries: &[(&str, Value)], metadata: &mut Metadata) -> Overlay {
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        Overlay::put_on(&entries, metadata)
    }

    #[test]
    fn paths_that_lead_into_each_other_come_off_together() {
        let bare = metadata(json!({"Rack": {"row": 7}, "MTU": 1500}));
        let mut node = bare.clone();
        let overlay = put(
            &[
                ("Rack", json!({"unit": 1})),
                ("Rack.unit", json!(2)),
                ("New.a.b", json!(3)),
                ("MTU", json!(9)),
            ],
            &mut node,
        );
        assert_eq!(
            node,
            metadata(json!({"Rack": {"unit": 2}, "New": {"a": {"b": 3}}, "MTU": 9}))
        );
        overlay.take_off(&mut node);
        assert_eq!(node, bare);
    }

    #[test]
    fn what_others_write_stays() {
        let mut node = metadata(json!({"ExtID": {"vm-id": "7"}, "Ovs": {"Error": "none"}}));
        let overlay = put(
            &[
                ("ExtID.owner", json!("net")),
                ("Ovs.note", json!(1)),
                ("Gone.a", json!(1)),
            ],
            &mut node,
        );
        // One is written anew as a whole, one in part, one is taken away.
        node["ExtID"] = json!({"vm-id": "8"});
        node["Ovs"]["Error"] = json!("no device");
        node["Ovs"]["Other"] = json!(true);
        node.remove("Gone");
        overlay.take_off(&mut node);
        let expected = json!({"ExtID": {"vm-id": "8"}, "Ovs": {"Error": "no device", "Other": true}});
        assert_eq!(node, metadata(expected));
    }

    #[test]
    fn names_may_have_dots() {
        let mut node = metadata(json!({"a.b": 1, "a": {"c": 2}}));
        let bare = node.clone();
        let overlay = put(&[("a.b", json!(5)), ("a.c", json!(6))], &mut node);
        assert_eq!(node, metadata(json!({"a.b": 5, "a": {"c": 6}})));
        overlay.take_off(&mut node);
        assert_eq!(node, bare);
    }
}

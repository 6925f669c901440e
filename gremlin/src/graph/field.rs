//! Fields of nodes and edges: how queries name them, and what stands there.

use std::borrow::Cow;
use std::ops::ControlFlow;

use flowtap_flow::filter::FieldValue;
use flowtap_topology::{Edge, Metadata, Node};
use serde_json::Value as Json;

/// A field of a node or edge: `@ID`, or a path into the metadata such as `ExtID.vm-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// What elements have besides metadata.
    Own(Own),
    /// The keys on the way, joined by dots. Keys may hold dots themselves.
    Metadata(String),
}

/// What elements have besides metadata; `Parent` and `Child` are those of edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    Id,
    Host,
    Origin,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
    Revision,
    Parent,
    Child,
}

impl Own {
    /// All of them, by the names that queries use.
    const ALL: [(&'static str, Self); 9] = [
        ("@ID", Self::Id),
        ("@Host", Self::Host),
        ("@Origin", Self::Origin),
        ("@CreatedAt", Self::CreatedAt),
        ("@UpdatedAt", Self::UpdatedAt),
        ("@DeletedAt", Self::DeletedAt),
        ("@Revision", Self::Revision),
        ("@Parent", Self::Parent),
        ("@Child", Self::Child),
    ];
}

/// A node or an edge.
pub(crate) trait Element {
    fn id(&self) -> &str;

    /// In milliseconds since the Unix epoch.
    fn created_at(&self) -> i64;

    fn metadata(&self) -> &Metadata;

    /// `None` for what it does not have.
    fn own(&self, field: Own) -> Option<FieldValue<'_>>;

    /// What `path` means besides the metadata.
    fn own_by_path(&self, _path: &str) -> Option<FieldValue<'_>> {
        None
    }
}

macro_rules! common {
    ($element:expr, $field:expr) => {
        match $field {
            Own::Id => Some(text($element.id.as_str())),
            Own::Host => Some(text(&$element.host)),
            Own::Origin => Some(text(&$element.origin)),
            Own::CreatedAt => Some(FieldValue::Int($element.created_at)),
            Own::UpdatedAt => Some(FieldValue::Int($element.updated_at)),
            Own::DeletedAt => $element.deleted_at.map(FieldValue::Int),
            Own::Revision => i64::try_from($element.revision).ok().map(FieldValue::Int),
            Own::Parent | Own::Child => None,
        }
    };
}

fn text(text: &str) -> FieldValue<'_> {
    FieldValue::Text(Cow::Borrowed(text))
}

impl Element for Node {
    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn created_at(&self) -> i64 {
        self.created_at
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn own(&self, field: Own) -> Option<FieldValue<'_>> {
        common!(self, field)
    }
}

impl Element for Edge {
    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn created_at(&self) -> i64 {
        self.created_at
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn own(&self, field: Own) -> Option<FieldValue<'_>> {
        match field {
            Own::Parent => Some(text(self.parent.as_str())),
            Own::Child => Some(text(self.child.as_str())),
            common => common!(self, common),
        }
    }

    /// Skydive names the ends of an edge without `@`.
    fn own_by_path(&self, path: &str) -> Option<FieldValue<'_>> {
        match path {
            "Parent" => self.own(Own::Parent),
            "Child" => self.own(Own::Child),
            _ => None,
        }
    }
}

impl Field {
    pub(crate) fn parse(name: &str) -> Self {
        if let Some((_, own)) = Own::ALL.iter().find(|(known, _)| *known == name) {
            return Self::Own(*own);
        }
        let path = name.strip_prefix("Metadata.").unwrap_or(name);
        Self::Metadata(path.to_owned())
    }

    /// Hands each plain value that stands here to `sink` until it breaks: a list stands for each of
    /// its elements, also on the way. Says whether there is anything, were it no plain value.
    pub(crate) fn visit<'a, E: Element>(
        &self,
        element: &'a E,
        sink: &mut dyn FnMut(FieldValue<'a>) -> ControlFlow<()>,
    ) -> bool {
        let own = match self {
            Self::Own(own) => element.own(*own),
            Self::Metadata(path) => element.own_by_path(path),
        };
        let mut present = own.is_some();
        if let Some(value) = own
            && sink(value).is_break()
        {
            return true;
        }
        if let Self::Metadata(path) = self {
            // Whoever breaks has seen what it wants: how the walk ended says nothing more.
            let _ended = find(element.metadata(), path, &mut |value| {
                present |= !value.is_null();
                plain_values(value, sink)
            });
        }
        present
    }

    /// Whether anything stands here; `null` is nothing.
    pub(crate) fn is_present(&self, element: &impl Element) -> bool {
        self.visit(element, &mut |_| ControlFlow::Continue(()))
    }

    /// The first plain value.
    pub(crate) fn first<'a, E: Element>(&self, element: &'a E) -> Option<FieldValue<'a>> {
        let mut first = None;
        self.visit(element, &mut |value| {
            first = Some(value);
            ControlFlow::Break(())
        });
        first
    }

    /// What stands here as JSON, objects and lists included; inside a list, the list of what stands
    /// there in each element. `None` for nothing, `null` and what is empty.
    pub(crate) fn json(&self, element: &impl Element) -> Option<Json> {
        let path = match self {
            Self::Own(own) => return element.own(*own).map(to_json),
            Self::Metadata(path) => path,
        };
        if let Some(value) = reach(element.metadata(), path) {
            return (!is_empty(value)).then(|| value.clone());
        }
        let mut found = Vec::new();
        let _all = find(element.metadata(), path, &mut |value| {
            if !is_empty(value) {
                found.push(value.clone());
            }
            ControlFlow::Continue(())
        });
        if found.is_empty() {
            return element.own_by_path(path).map(to_json);
        }
        Some(Json::Array(found))
    }

    /// The names of all fields of `element`: with `@` what it has itself, then its metadata with dots.
    pub(crate) fn names(element: &impl Element, sink: &mut dyn FnMut(&str)) {
        for (name, own) in Own::ALL {
            if element.own(own).is_some() || own == Own::DeletedAt {
                sink(name);
            }
        }
        names_in(element.metadata(), &mut String::new(), sink);
    }
}

pub(crate) fn to_json(value: FieldValue<'_>) -> Json {
    match value {
        FieldValue::Int(int) => Json::from(int),
        FieldValue::Float(float) => Json::from(float),
        FieldValue::Bool(bool) => Json::Bool(bool),
        FieldValue::Text(text) => Json::String(text.into_owned()),
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(elements) => elements.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The ways to cut `path` into a key and the rest: at each dot, and the whole as a key.
fn cuts(path: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let at_dots = path
        .match_indices('.')
        .map(move |(at, _)| (&path[..at], Some(&path[at + 1..])));
    at_dots.chain([(path, None)])
}

/// What stands at `path` with objects alone on the way.
fn reach<'a>(map: &'a Metadata, path: &str) -> Option<&'a Json> {
    cuts(path).find_map(|(key, rest)| match (map.get(key)?, rest) {
        (value, None) => Some(value),
        (Json::Object(inner), Some(rest)) => reach(inner, rest),
        _ => None,
    })
}

/// Hands on all that stands at `path`. No part of the metadata is looked at twice: each lies behind
/// one cut alone.
fn find<'a>(
    map: &'a Metadata,
    path: &str,
    sink: &mut dyn FnMut(&'a Json) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for (key, rest) in cuts(path) {
        match (map.get(key), rest) {
            (None, _) => {}
            (Some(value), None) => sink(value)?,
            (Some(value), Some(rest)) => find_in(value, rest, sink)?,
        }
    }
    ControlFlow::Continue(())
}

fn find_in<'a>(
    value: &'a Json,
    path: &str,
    sink: &mut dyn FnMut(&'a Json) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match value {
        Json::Object(map) => find(map, path, sink),
        Json::Array(elements) => elements
            .iter()
            .try_for_each(|element| find_in(element, path, sink)),
        _ => ControlFlow::Continue(()),
    }
}

fn plain_values<'a>(
    value: &'a Json,
    sink: &mut dyn FnMut(FieldValue<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match value {
        Json::String(value) => sink(text(value)),
        Json::Bool(bool) => sink(FieldValue::Bool(*bool)),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => sink(FieldValue::Int(int)),
            (None, Some(float)) => sink(FieldValue::Float(float)),
            (None, None) => ControlFlow::Continue(()),
        },
        Json::Array(elements) => elements
            .iter()
            .try_for_each(|element| plain_values(element, sink)),
        Json::Null | Json::Object(_) => ControlFlow::Continue(()),
    }
}

fn names_in(map: &Metadata, path: &mut String, sink: &mut dyn FnMut(&str)) {
    let length = path.len();
    for (key, value) in map {
        path.push_str(key);
        sink(path);
        if let Json::Object(inner) = value {
            path.push('.');
            names_in(inner, path, sink);
        }
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> Node {
        let node = json!({
            "ID": "n1", "CreatedAt": 7, "Host": "h",
            "Metadata": {
                "Name": "eth0", "MTU": 1500, "Nothing": null, "Empty": [], "Bare": {},
                "IPV4": ["10.0.0.1/24", "10.0.1.1/24"],
                "ExtID": {"vm-id": "v", "a.b": {"c.d": 1}},
                "flat.key-1": true,
                "Captures": [{"ID": "c1"}, {"ID": "c2"}, {"Name": "x"}],
                "x": {"y": 1}, "x.y": 2,
            }
        });
        serde_json::from_value(node).unwrap()
    }

    fn values(name: &str) -> Vec<Json> {
        let node = node();
        let mut values = Vec::new();
        Field::parse(name).visit(&node, &mut |value| {
            values.push(to_json(value));
            ControlFlow::Continue(())
        });
        values
    }

    #[test]
    fn names_lead_to_values() {
        for (name, expected) in [
            ("Name", json!(["eth0"])),
            ("Metadata.Name", json!(["eth0"])),
            ("@ID", json!(["n1"])),
            ("@CreatedAt", json!([7])),
            ("@DeletedAt", json!([])),
            ("@Parent", json!([])),
            ("ID", json!([])),
            ("IPV4", json!(["10.0.0.1/24", "10.0.1.1/24"])),
            ("ExtID.vm-id", json!(["v"])),
            ("ExtID.a.b.c.d", json!([1])),
            ("flat.key-1", json!([true])),
            ("Captures.ID", json!(["c1", "c2"])),
            ("x.y", json!([1, 2])),
            ("x.y.z", json!([])),
            ("Name.x", json!([])),
            ("", json!([])),
            ("..", json!([])),
        ] {
            assert_eq!(Json::Array(values(name)), expected, "{name}");
        }
    }

    #[test]
    fn null_alone_is_nothing() {
        let present = |name| Field::parse(name).is_present(&node());
        assert!(present("Empty") && present("Bare") && present("ExtID") && present("Captures.ID"));
        assert!(!present("Nothing") && !present("None") && !present("Captures.Kind"));
    }

    #[test]
    fn json_is_given_whole() {
        for (name, expected) in [
            ("MTU", Some(json!(1500))),
            ("IPV4", Some(json!(["10.0.0.1/24", "10.0.1.1/24"]))),
            ("ExtID.a.b", Some(json!({"c.d": 1}))),
            ("Captures.ID", Some(json!(["c1", "c2"]))),
            ("Captures.Name", Some(json!(["x"]))),
            ("Empty", None),
            ("Bare", None),
            ("Nothing", None),
            ("@Host", Some(json!("h"))),
        ] {
            assert_eq!(Field::parse(name).json(&node()), expected, "{name}");
        }
    }

    #[test]
    fn ends_of_edges_have_two_names() {
        let edge: Edge =
            serde_json::from_value(json!({"ID": "e", "Parent": "p", "Child": "c", "Metadata": {}})).unwrap();
        for name in ["Parent", "@Parent"] {
            assert_eq!(Field::parse(name).json(&edge), Some(json!("p")), "{name}");
            assert!(Field::parse(name).is_present(&edge));
        }
    }

    #[test]
    fn every_name_is_told() {
        let mut names = Vec::new();
        Field::names(&node(), &mut |name| names.push(name.to_owned()));
        assert_eq!(names[..3], ["@ID", "@Host", "@Origin"]);
        for name in [
            "@DeletedAt",
            "ExtID",
            "ExtID.a.b",
            "ExtID.a.b.c.d",
            "flat.key-1",
            "Captures",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        assert!(!names.contains(&"@Parent".to_owned()));
    }
}

//! Messages: Skydive's envelope, and changes of the graph in it.

use flowtap_topology::{Change, Metadata};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::handshake::GRAPH;

/// A message of a client.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Incoming {
    pub(super) namespace: String,
    pub(super) r#type: String,
    /// A reply carries the same.
    #[serde(rename = "UUID")]
    pub(super) uuid: String,
    pub(super) obj: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outgoing<'a, T> {
    namespace: &'a str,
    r#type: &'a str,
    #[serde(rename = "UUID")]
    uuid: &'a str,
    status: u16,
    obj: T,
}

/// A change of some entries of an element's metadata.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entries<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    updated_at: i64,
    revision: u64,
    ops: Vec<Op<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Op<'a> {
    /// 1: it is `value` now; 2: it has gone.
    r#type: u8,
    key: &'a str,
    value: Option<&'a Value>,
}

/// A message about the graph that answers none.
pub(super) fn tell<T: Serialize>(kind: &str, object: T) -> String {
    reply(kind, &Uuid::new_v4().to_string(), 200, object)
}

/// A message about the graph that answers the one with this `uuid`.
pub(super) fn reply<T: Serialize>(kind: &str, uuid: &str, status: u16, object: T) -> String {
    let message = Outgoing {
        namespace: GRAPH,
        r#type: kind,
        uuid,
        status,
        obj: object,
    };
    let mut text = Vec::new();
    crate::body::write_json(&message, &mut text);
    // What serde_json writes is UTF-8.
    String::from_utf8(text).unwrap_or_default()
}

/// A change as a message; if `partial`, updates tell what has changed alone.
pub(super) fn change(change: &Change, partial: bool) -> String {
    match change {
        Change::NodeAdded(node) => tell("NodeAdded", node),
        Change::NodeUpdated { node, before } if partial => {
            let entries = Entries {
                id: node.id.as_str(),
                updated_at: node.updated_at,
                revision: node.revision,
                ops: ops(&before.metadata, &node.metadata),
            };
            tell("NodePartiallyUpdated", entries)
        }
        Change::NodeUpdated { node, .. } => tell("NodeUpdated", node),
        Change::NodeDeleted(node) => tell("NodeDeleted", node),
        Change::EdgeAdded(edge) => tell("EdgeAdded", edge),
        Change::EdgeUpdated { edge, before } if partial => {
            let entries = Entries {
                id: edge.id.as_str(),
                updated_at: edge.updated_at,
                revision: edge.revision,
                ops: ops(&before.metadata, &edge.metadata),
            };
            tell("EdgePartiallyUpdated", entries)
        }
        Change::EdgeUpdated { edge, .. } => tell("EdgeUpdated", edge),
        Change::EdgeDeleted(edge) => tell("EdgeDeleted", edge),
    }
}

/// What leads from one metadata to another: whole entries.
fn ops<'a>(before: &'a Metadata, now: &'a Metadata) -> Vec<Op<'a>> {
    let set = now.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    let set = set.map(|(key, value)| Op {
        r#type: 1,
        key,
        value: Some(value),
    });
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    let gone = gone.map(|key| Op {
        r#type: 2,
        key,
        value: None,
    });
    set.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use flowtap_topology::{Graph, NodeSpec};
    use serde_json::{from_str, json};

    use super::*;

    #[test]
    fn updates_are_whole_or_partial() {
        let graph = Graph::new("compute-1");
        let spec = NodeSpec::new(graph.host(), "device", "eth0")
            .with("MTU", 1500)
            .with("Speed", 10);
        let id = graph.upsert_node(spec).unwrap();
        let (_, mut events) = graph.subscribe();
        graph.edit(|edit| {
            edit.update_node(&id, |metadata| {
                metadata.insert("MTU".to_owned(), 9000.into());
                metadata.remove("Speed");
            })
            .unwrap();
        });
        let event = events.try_next().unwrap().unwrap();
        let whole: Value = from_str(&change(&event.change, false)).unwrap();
        assert_eq!(
            (&whole["Namespace"], &whole["Status"]),
            (&json!("Graph"), &json!(200))
        );
        assert_eq!(
            (&whole["Type"], &whole["Obj"]["Metadata"]["MTU"]),
            (&json!("NodeUpdated"), &json!(9000))
        );
        let partial: Value = from_str(&change(&event.change, true)).unwrap();
        assert_eq!(partial["Type"], "NodePartiallyUpdated");
        let ops =
            json!([{"Type": 1, "Key": "MTU", "Value": 9000}, {"Type": 2, "Key": "Speed", "Value": null}]);
        assert_eq!(partial["Obj"]["Ops"], ops);
        assert_eq!(
            (&partial["Obj"]["ID"], &partial["Obj"]["Revision"]),
            (&json!(id), &json!(2))
        );
        assert_ne!(whole["UUID"], partial["UUID"]);
    }
}

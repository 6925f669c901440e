//! Nodes and edges, with the JSON that Skydive's clients read.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::identity::{EdgeId, NodeId, Tid};

/// What is known of a node or edge, by name.
pub type Metadata = serde_json::Map<String, Value>;

/// One thing of the graph. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    /// Its name in the graph.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// What is known of it: always `Name`, `Type` and `TID`.
    pub metadata: Metadata,
    /// The host whose flowtap knows of it.
    pub host: Arc<str>,
    /// Who says so: `agent.` and the host.
    pub origin: Arc<str>,
    /// When it was first seen.
    pub created_at: i64,
    /// When its metadata last changed; metrics do not count.
    pub updated_at: i64,
    /// When it went away; `null` while it is there.
    pub deleted_at: Option<i64>,
    /// How often its metadata changed, plus one.
    pub revision: u64,
}

impl Node {
    /// `Metadata.TID`.
    #[must_use]
    pub fn tid(&self) -> Option<Tid> {
        self.text("TID").map(Tid::from)
    }

    /// `Metadata.Name`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("Name")
    }

    /// `Metadata.Type`: `host`, `sflowagent`, `switchport`.
    #[must_use]
    pub fn node_type(&self) -> Option<&str> {
        self.text("Type")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.as_str()
    }
}

/// A relation of two nodes. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Edge {
    /// Its name in the graph.
    #[serde(rename = "ID")]
    pub id: EdgeId,
    /// From where: the owner of an ownership.
    pub parent: NodeId,
    /// To where.
    pub child: NodeId,
    /// `Metadata.RelationType`; the only thing that is known of an edge.
    #[serde(rename = "Metadata", serialize_with = "relation_as_metadata")]
    pub relation: Arc<str>,
    /// The host whose flowtap knows of it.
    pub host: Arc<str>,
    /// Who says so.
    pub origin: Arc<str>,
    /// When it was first seen.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
    /// When it went away; `null` while it is there.
    pub deleted_at: Option<i64>,
    /// How often it changed, plus one.
    pub revision: u64,
}

fn relation_as_metadata<S: Serializer>(relation: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([("RelationType", relation)])
}

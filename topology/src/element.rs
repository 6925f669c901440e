//! Nodes and edges, with the JSON that Skydive's clients read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{EdgeId, NodeId, Tid};

/// What is known of a node or edge, by name.
pub type Metadata = serde_json::Map<String, Value>;

/// The relation of an owner (`Parent`) and what it owns: it gives the child its TID.
pub const OWNERSHIP: &str = "ownership";

/// The relation of two nodes that frames pass between.
pub const LAYER2: &str = "layer2";

/// One thing of the graph. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    /// Its name in the graph.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// What is known of it: mostly `Name` and `Type`, and `TID` where something owns it.
    #[serde(default)]
    pub metadata: Metadata,
    /// The host whose flowtap knows of it.
    #[serde(default = "nobody")]
    pub host: Arc<str>,
    /// Who says so: `agent.` and the host.
    #[serde(default = "nobody")]
    pub origin: Arc<str>,
    /// When it was first seen.
    #[serde(default)]
    pub created_at: i64,
    /// When its metadata last changed; metrics do not count.
    #[serde(default)]
    pub updated_at: i64,
    /// When it went away; `null` while it is there.
    #[serde(default)]
    pub deleted_at: Option<i64>,
    /// How often its metadata changed, plus one.
    #[serde(default)]
    pub revision: u64,
}

impl Node {
    /// `Metadata.TID`.
    #[must_use]
    pub fn tid(&self) -> Option<Tid> {
        self.tid_text().map(Tid::from)
    }

    /// `Metadata.Name`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("Name")
    }

    /// `Metadata.Type`: `host`, `netns`, `device`, `ovsbridge`, `sflowagent`…
    #[must_use]
    pub fn node_type(&self) -> Option<&str> {
        self.text("Type")
    }

    pub(crate) fn tid_text(&self) -> Option<&str> {
        self.text("TID")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.as_str()
    }
}

/// A relation of two nodes. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Edge {
    /// Its name in the graph.
    #[serde(rename = "ID")]
    pub id: EdgeId,
    /// From where: the owner of an ownership.
    pub parent: NodeId,
    /// To where.
    pub child: NodeId,
    /// What is known of it: `RelationType`, and for some `Type` and more.
    #[serde(default)]
    pub metadata: Metadata,
    /// The host whose flowtap knows of it.
    #[serde(default = "nobody")]
    pub host: Arc<str>,
    /// Who says so.
    #[serde(default = "nobody")]
    pub origin: Arc<str>,
    /// When it was first seen.
    #[serde(default)]
    pub created_at: i64,
    /// When it last changed.
    #[serde(default)]
    pub updated_at: i64,
    /// When it went away; `null` while it is there.
    #[serde(default)]
    pub deleted_at: Option<i64>,
    /// How often it changed, plus one.
    #[serde(default)]
    pub revision: u64,
}

impl Edge {
    /// `Metadata.RelationType`: [`OWNERSHIP`], [`LAYER2`]…; empty if it has none.
    #[must_use]
    pub fn relation(&self) -> &str {
        let relation = self.metadata.get("RelationType").and_then(Value::as_str);
        relation.unwrap_or_default()
    }

    /// Whether the parent owns the child.
    #[must_use]
    pub fn is_ownership(&self) -> bool {
        self.relation() == OWNERSHIP
    }
}

fn nobody() -> Arc<str> {
    Arc::from("")
}

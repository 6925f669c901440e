//! Nodes, edges and the rules that make them.

use flowtap_topology::rules::{Action, EdgeRule, NodeRule};
use flowtap_topology::{Edge, Metadata, Node};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A node. Whoever makes one says `Metadata` (`Name` and `Type` at least) and, if they like, `ID` and
/// `Host`; the rest is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDocument {
    /// Its name in the graph.
    #[serde(rename = "ID")]
    pub id: String,
    /// What is known of it.
    #[serde(deserialize_with = "map_or_null")]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// The host it is on.
    pub host: String,
    /// Who says so: `agent.` and the host for what flowtap sees, `api.` and the host for what users
    /// made, a publisher's type and ID.
    pub origin: String,
    /// When it was first seen, ms since the Unix epoch.
    pub created_at: i64,
    /// When its metadata last changed, ms since the Unix epoch.
    pub updated_at: i64,
    /// When it went away, ms since the Unix epoch; `null` while it is there.
    pub deleted_at: Option<i64>,
    /// How often its metadata changed, plus one.
    pub revision: u64,
}

impl From<&Node> for NodeDocument {
    fn from(node: &Node) -> Self {
        Self {
            id: node.id.to_string(),
            metadata: node.metadata.clone(),
            host: node.host.to_string(),
            origin: node.origin.to_string(),
            created_at: node.created_at,
            updated_at: node.updated_at,
            deleted_at: node.deleted_at,
            revision: node.revision,
        }
    }
}

/// An edge. Whoever makes one says `Parent`, `Child` and `Metadata` (`RelationType` at least).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct EdgeDocument {
    /// Its name in the graph.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node that it comes from.
    pub parent: String,
    /// The node that it leads to.
    pub child: String,
    /// What is known of it.
    #[serde(deserialize_with = "map_or_null")]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// The host it is on.
    pub host: String,
    /// As of a node.
    pub origin: String,
    /// When it was first seen, ms since the Unix epoch.
    pub created_at: i64,
    /// When its metadata last changed, ms since the Unix epoch.
    pub updated_at: i64,
    /// When it went away, ms since the Unix epoch; `null` while it is there.
    pub deleted_at: Option<i64>,
    /// How often its metadata changed, plus one.
    pub revision: u64,
}

impl From<&Edge> for EdgeDocument {
    fn from(edge: &Edge) -> Self {
        Self {
            id: edge.id.to_string(),
            parent: edge.parent.to_string(),
            child: edge.child.to_string(),
            metadata: edge.metadata.clone(),
            host: edge.host.to_string(),
            origin: edge.origin.to_string(),
            created_at: edge.created_at,
            updated_at: edge.updated_at,
            deleted_at: edge.deleted_at,
            revision: edge.revision,
        }
    }
}

/// A graph, or a part of one. Clients read it; the server writes the same from its own types.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct TopologyDocument {
    /// Its nodes.
    pub nodes: Vec<NodeDocument>,
    /// Its edges.
    pub edges: Vec<EdgeDocument>,
}

/// A rule that makes a node, or adds to the metadata of all nodes that a query names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NodeRuleDocument {
    /// Its name; the server gives it.
    #[serde(rename = "UUID", default)]
    pub uuid: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What the new node gets (`Name` and `Type` at least), or what is added. A key with dots leads
    /// into objects.
    #[serde(default, deserialize_with = "map_or_null")]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// `create` or `update`.
    #[schema(value_type = String)]
    pub action: Action,
    /// The nodes that are updated: a Gremlin query.
    #[serde(default)]
    pub query: String,
    /// What keeps it from doing all that it should, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl NodeRuleDocument {
    pub(crate) fn new(rule: NodeRule, problem: Option<String>) -> Self {
        let NodeRule {
            uuid,
            name,
            description,
            metadata,
            action,
            query,
        } = rule;
        Self {
            uuid,
            name,
            description,
            metadata,
            action,
            query,
            problem,
        }
    }
}

impl From<NodeRuleDocument> for NodeRule {
    fn from(document: NodeRuleDocument) -> Self {
        Self {
            uuid: document.uuid,
            name: document.name,
            description: document.description,
            metadata: document.metadata,
            action: document.action,
            query: document.query,
        }
    }
}

/// A rule that links every node that one query names with every node that another names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct EdgeRuleDocument {
    /// Its name; the server gives it.
    #[serde(rename = "UUID")]
    pub uuid: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// The parents: a Gremlin query.
    pub src: String,
    /// The children: a Gremlin query.
    pub dst: String,
    /// What the edges get: `RelationType` at least.
    #[serde(deserialize_with = "map_or_null")]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// What keeps it from doing all that it should, if anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl EdgeRuleDocument {
    pub(crate) fn new(rule: EdgeRule, problem: Option<String>) -> Self {
        let EdgeRule {
            uuid,
            name,
            description,
            src,
            dst,
            metadata,
        } = rule;
        Self {
            uuid,
            name,
            description,
            src,
            dst,
            metadata,
            problem,
        }
    }
}

impl From<EdgeRuleDocument> for EdgeRule {
    fn from(document: EdgeRuleDocument) -> Self {
        Self {
            uuid: document.uuid,
            name: document.name,
            description: document.description,
            src: document.src,
            dst: document.dst,
            metadata: document.metadata,
        }
    }
}

/// Skydive's clients write `null` where they have nothing to say.
fn map_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use flowtap_topology::{Graph, LAYER2, NodeSpec};
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn documents_are_what_the_graph_writes() {
        let graph = Graph::new("compute-1");
        let eth0 = graph
            .upsert_node(NodeSpec::new(graph.host(), "device", "eth0"))
            .unwrap();
        graph.link(graph.host(), &eth0, LAYER2, Metadata::new()).unwrap();
        for node in graph.nodes() {
            let written = to_value(&*node).unwrap();
            assert_eq!(to_value(NodeDocument::from(&*node)).unwrap(), written);
            assert_eq!(
                from_value::<NodeDocument>(written).unwrap(),
                NodeDocument::from(&*node)
            );
        }
        for edge in graph.edges() {
            let written = to_value(&*edge).unwrap();
            assert_eq!(to_value(EdgeDocument::from(&*edge)).unwrap(), written);
            assert_eq!(
                from_value::<EdgeDocument>(written).unwrap(),
                EdgeDocument::from(&*edge)
            );
        }
    }

    #[test]
    fn null_is_nothing_and_rules_say_their_action() {
        let node: NodeDocument = from_value(json!({"ID": "x", "Metadata": null})).unwrap();
        assert_eq!((node.id.as_str(), node.metadata.len()), ("x", 0));
        let rule: NodeRuleDocument = from_value(json!({"Action": "Create", "Metadata": null})).unwrap();
        assert_eq!(to_value(rule).unwrap()["Action"], "create");
        let error = from_value::<NodeRuleDocument>(json!({"Action": "delete"})).unwrap_err();
        assert_eq!(error.to_string(), "Action must be create or update");
    }
}

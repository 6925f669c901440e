//! Rules as users declare them, with the JSON that Skydive's clients write.

use serde::{Deserialize, Serialize};

use super::RuleError;
use crate::depth::MAX_DEPTH;
use crate::element::Metadata;
use crate::error::TopologyError;
use crate::identity::NodeId;
use crate::path;

/// What a [`NodeRule`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Action {
    /// Makes a node.
    Create,
    /// Adds to the metadata of nodes.
    Update,
}

impl TryFrom<String> for Action {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.to_ascii_lowercase().as_str() {
            "create" => Ok(Self::Create),
            "update" => Ok(Self::Update),
            _ => Err("Action must be create or update"),
        }
    }
}

impl From<Action> for &'static str {
    fn from(action: Action) -> Self {
        match action {
            Action::Create => "create",
            Action::Update => "update",
        }
    }
}

/// Makes a node, or adds to the metadata of all nodes that a query names, as long as there is the rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeRule {
    /// The rule's own name.
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
    #[serde(default)]
    pub metadata: Metadata,
    /// Which of the two.
    pub action: Action,
    /// The nodes that are updated.
    #[serde(default)]
    pub query: String,
}

impl NodeRule {
    pub(super) fn check(&self) -> Result<(), RuleError> {
        match self.action {
            Action::Create if self.created_id().is_none() => Err(RuleError::NoNameOrType),
            Action::Update if self.query.is_empty() => Err(RuleError::NoQuery("Query")),
            Action::Update if self.metadata.is_empty() => Err(RuleError::NoMetadata),
            Action::Update if !self.metadata.iter().all(|(key, value)| path::fits(key, value)) => {
                Err(TopologyError::TooDeep { max: MAX_DEPTH }.into())
            }
            _ => Ok(()),
        }
    }

    /// The ID of the node that it makes: of `Type` and `Name`, so that it is the same after a restart.
    pub(super) fn created_id(&self) -> Option<NodeId> {
        let text = |key| {
            self.metadata
                .get(key)?
                .as_str()
                .filter(|text: &&str| !text.is_empty())
        };
        Some(NodeId::of(&[text("Type")?, text("Name")?]))
    }

    /// The metadata of the node that it makes.
    pub(super) fn created_metadata(&self, id: &NodeId) -> Metadata {
        let mut metadata = self.metadata.clone();
        metadata.insert("TID".to_owned(), id.as_str().into());
        if metadata.get("Type").is_some_and(|text| text == "fabric") {
            metadata.insert("Probe".to_owned(), "fabric".into());
        }
        metadata
    }
}

/// Links every node that one query names with every node that another names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EdgeRule {
    /// The rule's own name.
    #[serde(rename = "UUID", default)]
    pub uuid: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The parents.
    #[serde(default)]
    pub src: String,
    /// The children.
    #[serde(default)]
    pub dst: String,
    /// What the edges get: `RelationType` at least.
    #[serde(default)]
    pub metadata: Metadata,
}

impl EdgeRule {
    pub(super) fn check(&self) -> Result<(), RuleError> {
        if self.src.is_empty() {
            return Err(RuleError::NoQuery("Src"));
        }
        if self.dst.is_empty() {
            return Err(RuleError::NoQuery("Dst"));
        }
        if self.relation().is_empty() {
            return Err(RuleError::NoRelation);
        }
        Ok(())
    }

    pub(super) fn relation(&self) -> &str {
        let relation = self.metadata.get("RelationType");
        relation.and_then(|text| text.as_str()).unwrap_or_default()
    }
}

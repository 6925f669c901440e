//! Identities: UUIDv5 in the OID namespace, by Skydive's recipes, so that they are the same after
//! each restart.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::element::Metadata;

/// UUIDv5 in the OID namespace, as Skydive's library makes it: with 01 for the two bits of the variant,
/// which RFC 9562 §4.1 wants to be 10. So flows that Skydive has kept point at the same nodes.
fn uuid5(parts: &[&str]) -> Arc<str> {
    let mut bytes = Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.concat().as_bytes()).into_bytes();
    bytes[8] = bytes[8] & 0x3f | 0x40;
    Uuid::from_bytes(bytes).to_string().into()
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The UUID in its hyphenated form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
    };
}

identity! {
    /// Names one node of the graph.
    NodeId
}
identity! {
    /// Names one edge of the graph: UUIDv5 of parent, child and relation.
    EdgeId
}
identity! {
    /// What flows point at (`NodeTID`): stable across restarts, and the same on every analyzer.
    Tid
}

impl Tid {
    /// The TID of a host: UUIDv5 of its name.
    #[must_use]
    pub fn host(name: &str) -> Self {
        Self(uuid5(&[name]))
    }

    /// The TID of a node owned by another: UUIDv5 of the owner's TID, `key` and the node's type,
    /// with nothing between them.
    ///
    /// `key` is what tells the node from its siblings for good. Mostly that is its name; where the
    /// name is learnt later, or may change, it is something else (a switch port's ifIndex).
    #[must_use]
    pub fn owned(owner: &Self, key: &str, node_type: &str) -> Self {
        Self(uuid5(&[&owner.0, key, node_type]))
    }

    /// The TID of a node with this metadata that `owner` owns on the host with the TID `host`; `key`
    /// takes the place of its name. `None` if it lacks `Type`, or the name.
    ///
    /// A network namespace is known by its `Path` and an Open vSwitch bridge or port by its `UUID`,
    /// wherever they are hung up; everything else by its owner.
    pub(crate) fn of(host: &Self, owner: &Self, key: Option<&str>, metadata: &Metadata) -> Option<Self> {
        let text = |key: &str| metadata.get(key)?.as_str().filter(|text| !text.is_empty());
        let node_type = text("Type")?;
        let root = match node_type {
            "netns" => text("Path"),
            "ovsbridge" | "ovsport" => text("UUID"),
            _ => None,
        };
        match root {
            Some(root) => Some(Self(uuid5(&[&host.0, root, node_type]))),
            None => Some(Self::owned(owner, key.or_else(|| text("Name"))?, node_type)),
        }
    }
}

impl From<&NodeId> for Tid {
    /// The TID of a node that is its own root: what a user drew in the configuration.
    fn from(id: &NodeId) -> Self {
        Self(Arc::clone(&id.0))
    }
}

impl NodeId {
    /// The ID of what is known by `parts`, with nothing between them.
    pub(crate) fn of(parts: &[&str]) -> Self {
        Self(uuid5(parts))
    }

    /// An ID that nothing else has: UUIDv4.
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The ID of a node that is the same thing whenever it is seen again: its TID.
    pub(crate) fn stable(tid: &Tid) -> Self {
        Self(Arc::clone(&tid.0))
    }
}

impl EdgeId {
    /// The ID of the edge from `parent` to `child` that says `relation`.
    #[must_use]
    pub fn of(parent: &NodeId, child: &NodeId, relation: &str) -> Self {
        Self(uuid5(&[&parent.0, &child.0, relation]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tids_follow_skydives_recipe() {
        // python3: uuid.uuid5(uuid.NAMESPACE_OID, "compute-1"), with the 17th digit's upper bits made 01;
        // then str of that + "10.0.0.11" + "sflowagent"
        let host = Tid::host("compute-1");
        assert_eq!(host.as_str(), "0689e113-1b57-5949-5c58-8a46197ca490");
        let agent = Tid::owned(&host, "10.0.0.11", "sflowagent");
        assert_eq!(agent.as_str(), "e1053fb6-3aa4-5128-7797-c6ab7b9db8d2");
    }

    #[test]
    fn ids_are_those_that_skydive_gave() {
        // From the sample graph that Skydive's own web page ships with.
        let tor = NodeId::of(&["fabric", "TOR"]);
        assert_eq!(tor.as_str(), "a5182659-131c-596b-5ef0-72e175ae886d");
        let port = NodeId::of(&["fabric", "TOR_PORT_1"]);
        assert_eq!(port.as_str(), "991bc1c4-0ddc-5793-7832-3d3b82ce2064");
    }
}

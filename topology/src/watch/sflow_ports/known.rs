//! Ports of sFlow agents and interfaces of switches, by what both know of themselves.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::element::Node;
use crate::identity::NodeId;

/// What both know of the same thing: ifindex and name.
pub(super) type Key = (i64, Box<str>);

/// Which side a node is on, and what it is found by.
enum Side {
    Port(Key),
    Interface(Key),
}

fn side(node: &Node) -> Option<Side> {
    let key = (
        node.metadata.get("IfIndex").and_then(Value::as_i64)?,
        node.name()?.into(),
    );
    if node.node_type() == Some("switchport") {
        Some(Side::Port(key))
    } else if node.metadata.contains_key("OfPort") {
        Some(Side::Interface(key))
    } else {
        None
    }
}

/// Ports and interfaces by what they are found by. Bounded by the graph; some 150 bytes each.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) ports: HashMap<Key, BTreeSet<NodeId>>,
    pub(super) interfaces: HashMap<Key, BTreeSet<NodeId>>,
    /// Those to look at.
    pub(super) dirty: HashSet<Key>,
}

impl Known {
    pub(super) fn add(&mut self, node: &Node) {
        if let Some((nodes, key)) = self.place(node) {
            nodes.entry(key).or_default().insert(node.id.clone());
        }
    }

    pub(super) fn remove(&mut self, node: &Node) {
        if let Some((nodes, key)) = self.place(node)
            && let Some(same) = nodes.get_mut(&key)
        {
            same.remove(&node.id);
            if same.is_empty() {
                nodes.remove(&key);
            }
        }
    }

    /// Where a node belongs, which is to be looked at then.
    fn place(&mut self, node: &Node) -> Option<(&mut HashMap<Key, BTreeSet<NodeId>>, Key)> {
        let (nodes, key) = match side(node)? {
            Side::Port(key) => (&mut self.ports, key),
            Side::Interface(key) => (&mut self.interfaces, key),
        };
        self.dirty.insert(key.clone());
        Some((nodes, key))
    }

    pub(super) fn look_at(&mut self, node: &Node) {
        let _place = self.place(node);
    }

    pub(super) fn look_at_all(&mut self) {
        self.dirty.extend(self.ports.keys().cloned());
    }
}

//! Which interface is joined to which, across namespaces.
//!
//! Each watcher says of its interfaces what they want to be joined to: a port its bridge, a veth its
//! peer. The edge is made as soon as both are there, whoever comes last, and made anew when one of them
//! was gone for a while.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::element::{LAYER2, Metadata};
use crate::graph::Edit;
use crate::identity::{EdgeId, NodeId};

use super::netns::NamespaceId;

/// An interface on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Port {
    // The order of veth peers, by which their edge has a direction: first the index.
    pub(super) index: u32,
    pub(super) namespace: NamespaceId,
}

/// What an interface is to what it wants to be joined to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A port of a bridge, or a VLAN on its ground: the other is the parent.
    Child,
    /// One of two equals: the one with the higher index is the parent.
    Peer,
}

/// That an interface wants to be joined to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) to: Port,
    pub(super) role: Role,
    /// `Type` of the edge: `bridge`, `veth`, `vlan`.
    pub(super) kind: String,
}

/// The interfaces of all watched namespaces, and what they want. It is as large as the graph's
/// interfaces are many. Whoever locks it holds the graph already.
#[derive(Debug, Default)]
pub(super) struct Wiring(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    nodes: HashMap<Port, NodeId>,
    wants: HashMap<Port, Vec<Want>>,
    /// Who wants this one.
    wanted: HashMap<Port, BTreeSet<Port>>,
}

impl Wiring {
    /// Notes the node of an interface that came, and joins it to those that want it.
    pub(super) fn appear(&self, edit: &mut Edit<'_>, port: Port, node: &NodeId) {
        let mut inner = self.inner();
        inner.nodes.insert(port, node.clone());
        let suitors = inner.wanted.get(&port).cloned().unwrap_or_default();
        for from in suitors {
            let wants = inner.wants.get(&from).map(Vec::as_slice).unwrap_or_default();
            for want in wants.iter().filter(|want| want.to == port) {
                inner.join(edit, from, want);
            }
        }
    }

    /// Notes all that an interface wants, and joins it to what is there; it is parted from what it no
    /// longer wants.
    ///
    /// Returns the ends of pairs that do not agree, to be looked at again: the kernel makes one end
    /// before the other and says nothing more of the first, nor of one whose other end was moved.
    pub(super) fn want(&self, edit: &mut Edit<'_>, from: Port, wants: Vec<Want>) -> Vec<Port> {
        let mut inner = self.inner();
        let before = inner.wants.remove(&from).unwrap_or_default();
        let mut disagree = Vec::new();
        for old in before.iter().filter(|old| !wants.contains(old)) {
            inner.part(edit, from, old);
            if inner.wants_as_peer(old.to, from) {
                disagree.extend([from, old.to]);
            }
        }
        for want in &wants {
            inner.wanted.entry(want.to).or_default().insert(from);
            inner.join(edit, from, want);
            let is_new = !before.contains(want);
            if want.role == Role::Peer && is_new && !inner.wants_as_peer(want.to, from) {
                disagree.push(want.to);
            }
        }
        if !wants.is_empty() {
            inner.wants.insert(from, wants);
        }
        disagree
    }

    /// Forgets an interface that is gone. Its edges went with its node; others still want it, in case it
    /// comes back.
    pub(super) fn vanish(&self, port: Port) {
        let mut inner = self.inner();
        inner.nodes.remove(&port);
        for want in inner.wants.remove(&port).unwrap_or_default() {
            inner.not_wanted(port, want.to);
        }
    }

    /// Forgets a namespace's interfaces.
    pub(super) fn vanish_all(&self, namespace: NamespaceId) {
        let ports: Vec<_> = self.inner().ports_of(namespace);
        for port in ports {
            self.vanish(port);
        }
    }

    /// How many interfaces are known.
    #[cfg(test)]
    fn len(&self) -> (usize, usize, usize) {
        let inner = self.inner();
        (inner.nodes.len(), inner.wants.len(), inner.wanted.len())
    }

    // Each method leaves the three maps in step, or a port too much that nothing is found by.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn ports_of(&self, namespace: NamespaceId) -> Vec<Port> {
        let mut ports: BTreeSet<_> = self.nodes.keys().copied().collect();
        ports.extend(self.wants.keys());
        ports.retain(|port| port.namespace == namespace);
        ports.into_iter().collect()
    }

    /// Parent and child of the edge, if both are there.
    fn ends(&self, from: Port, want: &Want) -> Option<(&NodeId, &NodeId)> {
        let (this, other) = (self.nodes.get(&from)?, self.nodes.get(&want.to)?);
        Some(match want.role {
            Role::Peer if from > want.to => (this, other),
            Role::Child | Role::Peer => (other, this),
        })
    }

    fn join(&self, edit: &mut Edit<'_>, from: Port, want: &Want) {
        if let Some((parent, child)) = self.ends(from, want) {
            let extra = Metadata::from_iter([("Type".to_owned(), Value::from(want.kind.as_str()))]);
            // It fails if one of them was deleted by somebody else or the graph is full of edges: the
            // next look at the interface tries again.
            let _ = edit.link(parent, child, LAYER2, extra);
        }
    }

    fn part(&mut self, edit: &mut Edit<'_>, from: Port, want: &Want) {
        // The other end of a veth wants the same edge, until it too says otherwise.
        if let Some((parent, child)) = self.ends(from, want) {
            edit.unlink(&EdgeId::of(parent, child, LAYER2));
        }
        self.not_wanted(from, want.to);
    }

    fn wants_as_peer(&self, from: Port, to: Port) -> bool {
        let wants = self.wants.get(&from).map(Vec::as_slice).unwrap_or_default();
        wants.iter().any(|want| want.role == Role::Peer && want.to == to)
    }

    fn not_wanted(&mut self, from: Port, to: Port) {
        if let Some(suitors) = self.wanted.get_mut(&to) {
            suitors.remove(&from);
            if suitors.is_empty() {
                self.wanted.remove(&to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Graph, NodeSpec};

    const BLUE: NamespaceId = NamespaceId { device: 4, inode: 1 };
    const RED: NamespaceId = NamespaceId { device: 4, inode: 2 };

    fn port(namespace: NamespaceId, index: u32) -> Port {
        Port { index, namespace }
    }

    fn peer(to: Port) -> Vec<Want> {
        vec![Want {
            to,
            role: Role::Peer,
            kind: "veth".into(),
        }]
    }

    fn node(graph: &Graph, name: &str) -> NodeId {
        graph
            .upsert_node(NodeSpec::new(graph.host(), "veth", name))
            .unwrap()
    }

    fn wires(graph: &Graph) -> Vec<(String, String)> {
        let snapshot = graph.snapshot();
        let name = |id: &NodeId| snapshot.node(id).unwrap().name().unwrap().to_owned();
        let wires = snapshot.edges().filter(|edge| edge.relation() == LAYER2);
        wires
            .map(|edge| (name(&edge.parent), name(&edge.child)))
            .collect()
    }

    #[test]
    fn peers_have_one_edge_whoever_comes_first() {
        for order in [[0, 1], [1, 0]] {
            let graph = Graph::new("h");
            let wiring = Wiring::default();
            let ends = [
                (port(BLUE, 2), "low", port(RED, 3)),
                (port(RED, 3), "high", port(BLUE, 2)),
            ];
            for (own, name, other) in order.map(|end| ends[end]) {
                let node = node(&graph, name);
                graph.edit(|edit| {
                    wiring.appear(edit, own, &node);
                    wiring.want(edit, own, peer(other));
                });
            }
            assert_eq!(wires(&graph), [("high".to_owned(), "low".to_owned())]);
        }
    }

    #[test]
    fn an_interface_that_came_back_is_joined_again() {
        let graph = Graph::new("h");
        let wiring = Wiring::default();
        let (own, other) = (port(BLUE, 2), port(RED, 2));
        let low = node(&graph, "low");
        graph.edit(|edit| {
            wiring.appear(edit, own, &low);
            wiring.want(edit, own, peer(other));
        });
        for _ in 0..2 {
            let high = node(&graph, "high");
            graph.edit(|edit| wiring.appear(edit, other, &high));
            assert_eq!(wires(&graph).len(), 1);
            graph.edit(|edit| {
                edit.remove_node(&high);
                wiring.vanish_all(RED);
            });
            assert_eq!(wires(&graph).len(), 0);
        }
        graph.edit(|edit| {
            wiring.want(edit, own, Vec::new());
            wiring.vanish(own);
        });
        assert_eq!(wiring.len(), (0, 0, 0), "nothing is left behind");
    }

    #[test]
    fn ends_that_do_not_agree_are_looked_at_again() {
        let graph = Graph::new("h");
        let wiring = Wiring::default();
        let (own, other) = (port(BLUE, 2), port(RED, 2));
        graph.edit(|edit| {
            assert_eq!(wiring.want(edit, own, peer(other)), [other], "it has not said so");
            assert_eq!(wiring.want(edit, own, peer(other)), [], "it was looked at");
            assert_eq!(wiring.want(edit, other, peer(own)), [], "they agree");
            // What was heard last of it may be older than what was seen.
            assert_eq!(wiring.want(edit, other, Vec::new()), [other, own]);
            assert_eq!(wiring.want(edit, other, peer(own)), []);
        });
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_parted_from_it() {
        let graph = Graph::new("h");
        let wiring = Wiring::default();
        let (own, bridge) = (port(BLUE, 2), port(BLUE, 3));
        let nodes = [node(&graph, "port"), node(&graph, "br0")];
        let member = Want {
            to: bridge,
            role: Role::Child,
            kind: "bridge".into(),
        };
        graph.edit(|edit| {
            wiring.appear(edit, own, &nodes[0]);
            wiring.want(edit, own, vec![member]);
            wiring.appear(edit, bridge, &nodes[1]);
        });
        assert_eq!(wires(&graph), [("br0".to_owned(), "port".to_owned())]);
        graph.edit(|edit| wiring.want(edit, own, Vec::new()));
        assert_eq!(wires(&graph), []);
    }
}

//! A part of the graph, and how it changes.

use std::collections::HashMap;
use std::sync::Arc;

use flowtap_topology::{Change, Edge, EdgeId, Node, NodeId, Snapshot};
use serde::Serialize;

/// Nodes and edges as one JSON document, as Skydive's clients read a graph.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Elements {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) edges: Vec<Arc<Edge>>,
}

impl Elements {
    pub(crate) fn of(graph: &Snapshot) -> Self {
        Self {
            nodes: graph.nodes().cloned().collect(),
            edges: graph.edges().cloned().collect(),
        }
    }
}

/// The part of the graph that one reader sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    nodes: HashMap<NodeId, Arc<Node>>,
    edges: HashMap<EdgeId, Arc<Edge>>,
}

impl View {
    pub(crate) fn new(
        nodes: impl IntoIterator<Item = Arc<Node>>,
        edges: impl IntoIterator<Item = Arc<Edge>>,
    ) -> Self {
        Self {
            nodes: nodes.into_iter().map(|node| (node.id.clone(), node)).collect(),
            edges: edges.into_iter().map(|edge| (edge.id.clone(), edge)).collect(),
        }
    }

    /// These nodes of `graph`, and the edges between them.
    pub(crate) fn around(nodes: Vec<Arc<Node>>, graph: &Snapshot) -> Self {
        let mut view = Self::new(nodes, []);
        for id in view.nodes.keys() {
            let between = graph.out_edges(id).iter();
            let between = between.filter(|edge| view.nodes.contains_key(&edge.child));
            view.edges
                .extend(between.map(|edge| (edge.id.clone(), Arc::clone(edge))));
        }
        view
    }

    pub(crate) fn elements(&self) -> Elements {
        Elements {
            nodes: self.nodes.values().cloned().collect(),
            edges: self.edges.values().cloned().collect(),
        }
    }

    /// Becomes `next`, and tells how: what goes before what comes, no edge without its nodes. What
    /// leaves the part but lives on is told as deleted, without a time of that. Metrics alone are no
    /// change.
    pub(crate) fn advance(&mut self, next: Self) -> Vec<Change> {
        let before = std::mem::replace(self, next);
        let mut changes = Vec::new();
        let gone = before
            .edges
            .values()
            .filter(|edge| !self.edges.contains_key(&edge.id));
        changes.extend(gone.map(|edge| Change::EdgeDeleted(Arc::clone(edge))));
        let gone = before
            .nodes
            .values()
            .filter(|node| !self.nodes.contains_key(&node.id));
        changes.extend(gone.map(|node| Change::NodeDeleted(Arc::clone(node))));
        for (id, node) in &self.nodes {
            match before.nodes.get(id) {
                None => changes.push(Change::NodeAdded(Arc::clone(node))),
                Some(old) if (old.created_at, old.revision) != (node.created_at, node.revision) => {
                    changes.push(Change::NodeUpdated {
                        node: Arc::clone(node),
                        before: Arc::clone(old),
                    });
                }
                Some(_) => {}
            }
        }
        for (id, edge) in &self.edges {
            match before.edges.get(id) {
                None => changes.push(Change::EdgeAdded(Arc::clone(edge))),
                Some(old) if (old.created_at, old.revision) != (edge.created_at, edge.revision) => {
                    changes.push(Change::EdgeUpdated {
                        edge: Arc::clone(edge),
                        before: Arc::clone(old),
                    });
                }
                Some(_) => {}
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use flowtap_topology::{Event, Graph, LAYER2, Metadata, NodeSpec};

    use super::*;

    fn whole(graph: &Graph) -> View {
        let snapshot = graph.snapshot();
        View::new(snapshot.nodes().cloned(), snapshot.edges().cloned())
    }

    #[test]
    fn changes_lead_from_one_view_to_the_next() {
        let graph = Graph::new("compute-1");
        let port = |name| {
            graph
                .upsert_node(NodeSpec::new(graph.host(), "device", name))
                .unwrap()
        };
        let (a, b) = (port("a"), port("b"));
        let cable = graph.link(&a, &b, LAYER2, Metadata::new()).unwrap();
        let mut view = whole(&graph);
        let mut replayed = graph.snapshot();
        graph.set_metadata(&a, "MTU", 9000).unwrap();
        graph
            .update_metrics(&b, "Metric", |metric| *metric = 1.into())
            .unwrap();
        graph.edit(|edit| {
            edit.merge_edge_metadata(&cable, Metadata::from_iter([("Speed".to_owned(), 10.into())]))
                .unwrap();
            edit.remove_node(&b);
        });
        port("c");
        let changes = view.advance(whole(&graph));
        let snapshot = Arc::make_mut(&mut replayed);
        for change in changes {
            // Applied one by one: an edge that came before its node would have nothing to hang on.
            snapshot.apply(&Event {
                sequence: 1,
                at: 0,
                change,
            });
        }
        assert_eq!(*replayed, *graph.snapshot());
        assert!(view.advance(whole(&graph)).is_empty());
        graph
            .update_metrics(&a, "Metric", |metric| *metric = 1.into())
            .unwrap();
        assert_eq!(view.advance(whole(&graph)).len(), 1, "it counts from now on");
        graph
            .update_metrics(&a, "Metric", |metric| *metric = 2.into())
            .unwrap();
        assert!(view.advance(whole(&graph)).is_empty(), "metrics are no change");
    }

    #[test]
    fn a_part_has_the_edges_between_its_nodes() {
        let graph = Graph::new("compute-1");
        let port = |name| {
            graph
                .upsert_node(NodeSpec::new(graph.host(), "device", name))
                .unwrap()
        };
        let (a, b) = (port("a"), port("b"));
        graph.link(&a, &b, LAYER2, Metadata::new()).unwrap();
        let snapshot = graph.snapshot();
        let nodes = [&a, &b].map(|id| snapshot.node(id).unwrap().clone()).to_vec();
        let elements = View::around(nodes, &snapshot).elements();
        assert_eq!((elements.nodes.len(), elements.edges.len()), (2, 1));
        assert_eq!(elements.edges[0].relation(), LAYER2);
    }
}

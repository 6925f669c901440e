//! Runs moves over a graph.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flowtap_flow::query::Cancel;
use flowtap_topology::{Edge, EdgeId, EdgeRef, Node, NodeId, Snapshot};

use super::elements::{Elements, Pace, State, by_age};
use super::field::Element;
use super::filter::ElementFilter;
use super::moves::{Direction, Move, Start};
use super::path::shortest_paths;
use crate::error::{ErrorKind, QueryError};
use crate::limits::{Limits, Meter, size};

/// What a walk needs from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) cancel: &'a Cancel,
}

/// One walk: the graph it is in, and what it remembers.
#[derive(Debug)]
pub(crate) struct Walker<'g> {
    graph: Cow<'g, Snapshot>,
    remembered: HashMap<String, Vec<Arc<Node>>>,
    /// Whether `V('id')` of a node that is not there is an error, as in a query, or no node at all.
    strict: bool,
}

impl<'g> Walker<'g> {
    pub(crate) fn new(graph: Cow<'g, Snapshot>) -> Self {
        Self {
            graph,
            remembered: HashMap::new(),
            strict: true,
        }
    }

    /// One for which IDs of elements that are not there name nothing.
    pub(crate) fn lenient(graph: Cow<'g, Snapshot>) -> Self {
        Self {
            strict: false,
            ..Self::new(graph)
        }
    }

    /// The graph that it is in: all of it, or the part that the last `SubGraph` cut out.
    pub(crate) fn graph(&self) -> &Snapshot {
        &self.graph
    }

    pub(crate) fn run(
        &mut self,
        moves: &[Move],
        mut state: State,
        bounds: Bounds<'_>,
    ) -> Result<State, QueryError> {
        for one in moves {
            state = self.step(one, state, bounds)?;
        }
        Ok(state)
    }

    /// Makes one move. All that it gives is counted against the limits, element by element.
    pub(crate) fn step(&mut self, one: &Move, state: State, bounds: Bounds<'_>) -> Result<State, QueryError> {
        let pace = &mut Pace::new(bounds.cancel);
        pace.tick()?;
        Ok(match (one, state) {
            (Move::Vertices(start), State::Graph) => State::Nodes(self.vertices(start, pace)?),
            (Move::Edges(start), State::Graph) => State::Edges(self.edges(start, pace)?),
            (Move::Filter(filter), State::Nodes(nodes)) => State::Nodes(nodes.filter(filter, pace)?),
            (Move::Filter(filter), State::Edges(edges)) => State::Edges(edges.filter(filter, pace)?),
            (Move::Dedup(fields), State::Nodes(nodes)) => State::Nodes(nodes.dedup(fields, bounds.limits)?),
            (Move::Dedup(fields), State::Edges(edges)) => State::Edges(edges.dedup(fields, bounds.limits)?),
            (Move::Sort { field, descending }, State::Nodes(nodes)) => {
                State::Nodes(nodes.sort(field.as_ref(), *descending))
            }
            (Move::Slice { from, to }, State::Nodes(nodes)) => State::Nodes(nodes.slice(*from, *to)),
            (Move::Slice { from, to }, State::Edges(edges)) => State::Edges(edges.slice(*from, *to)),
            (Move::Walk(direction, filter), State::Nodes(nodes)) => {
                State::Nodes(self.walk(nodes, *direction, filter, bounds)?)
            }
            (Move::EdgesOf(direction, filter), State::Nodes(nodes)) => {
                State::Edges(self.edges_of(nodes, *direction, filter, bounds)?)
            }
            (Move::EndsOf(direction, filter), State::Edges(edges)) => {
                State::Nodes(self.ends_of(edges, *direction, filter, bounds)?)
            }
            (
                Move::Spread {
                    direction,
                    through,
                    depth,
                },
                State::Nodes(nodes),
            ) => State::Nodes(self.spread(nodes, *direction, through, *depth, pace)?),
            (Move::Remember(name), State::Nodes(nodes)) => self.remember(name, nodes, bounds.limits)?,
            (Move::Recall(names), State::Nodes(_)) => self.recall(names, bounds.limits)?,
            (Move::PathTo(target, through), State::Nodes(nodes)) => {
                let from = nodes.in_order();
                State::Paths(shortest_paths(self.graph(), &from, target, through, bounds)?)
            }
            (Move::PathNodes(fields), State::Paths(paths)) => {
                let nodes = Elements::ordered(paths.into_iter().flatten().collect());
                State::Nodes(nodes.dedup(fields, bounds.limits)?)
            }
            (Move::SubGraph, state) => {
                self.graph = Cow::Owned(self.sub_graph(state, pace)?);
                State::Graph
            }
            (Move::Back, State::Nodes(_) | State::Edges(_)) => State::Graph,
            // The static checks let nothing through that comes here: only a slip of ours does.
            (_, state) => {
                let message = format!("no such step is available on {}", state.name());
                return Err(QueryError::new(ErrorKind::Query, message));
            }
        })
    }

    fn vertices(&self, start: &Start, pace: &mut Pace<'_>) -> Result<Elements<Node>, QueryError> {
        match start {
            Start::Matching(filter) => Elements::of_graph(self.graph.nodes(), filter, pace),
            Start::Id(id, column) => {
                let node = self.graph.node(&NodeId::from(id.as_str()));
                self.found(node, || format!("Node '{id}' does not exist"), *column)
            }
        }
    }

    fn edges(&self, start: &Start, pace: &mut Pace<'_>) -> Result<Elements<Edge>, QueryError> {
        match start {
            Start::Matching(filter) => Elements::of_graph(self.graph.edges(), filter, pace),
            Start::Id(id, column) => {
                let edge = self.graph.edge(&id.as_str().into());
                self.found(edge, || format!("Edge '{id}' does not exist"), *column)
            }
        }
    }

    fn found<T: Element>(
        &self,
        element: Option<&Arc<T>>,
        missing: impl Fn() -> String,
        column: usize,
    ) -> Result<Elements<T>, QueryError> {
        if element.is_none() && self.strict {
            return Err(QueryError::at(column, missing()));
        }
        Ok(Elements::ordered(element.cloned().into_iter().collect()))
    }

    fn walk(
        &self,
        nodes: Elements<Node>,
        direction: Direction,
        filter: &ElementFilter,
        bounds: Bounds<'_>,
    ) -> Result<Elements<Node>, QueryError> {
        let mut pace = Pace::new(bounds.cancel);
        let mut meter = Meter::new("nodes", bounds.limits);
        let mut reached = Vec::new();
        for node in nodes.in_order() {
            pace.tick()?;
            for (_, other) in around(&self.graph, &node.id, direction) {
                pace.tick()?;
                if let Some(other) = self.graph.node(other).filter(|other| filter.matches(&***other)) {
                    meter.add(size(size_of::<Arc<Node>>()))?;
                    reached.push(Arc::clone(other));
                }
            }
        }
        Ok(Elements::ordered(reached))
    }

    fn edges_of(
        &self,
        nodes: Elements<Node>,
        direction: Direction,
        filter: &ElementFilter,
        bounds: Bounds<'_>,
    ) -> Result<Elements<Edge>, QueryError> {
        let mut pace = Pace::new(bounds.cancel);
        let mut meter = Meter::new("edges", bounds.limits);
        let mut reached = Vec::new();
        for node in nodes.in_order() {
            pace.tick()?;
            for (edge, _) in around(&self.graph, &node.id, direction) {
                pace.tick()?;
                if filter.matches(&**edge) {
                    meter.add(size(size_of::<Arc<Edge>>()))?;
                    reached.push(Arc::clone(edge));
                }
            }
        }
        Ok(Elements::ordered(reached))
    }

    fn ends_of(
        &self,
        edges: Elements<Edge>,
        direction: Direction,
        filter: &ElementFilter,
        bounds: Bounds<'_>,
    ) -> Result<Elements<Node>, QueryError> {
        let mut pace = Pace::new(bounds.cancel);
        let mut meter = Meter::new("nodes", bounds.limits);
        let mut reached = Vec::new();
        for edge in edges.in_order() {
            pace.tick()?;
            let parent = (direction != Direction::Out).then_some(&edge.parent);
            let child = (direction != Direction::In).then_some(&edge.child);
            let ends = parent.into_iter().chain(child);
            for end in ends.filter_map(|id| self.graph.node(id)) {
                if filter.matches(&**end) {
                    meter.add(size(size_of::<Arc<Node>>()))?;
                    reached.push(Arc::clone(end));
                }
            }
        }
        Ok(Elements::ordered(reached))
    }

    /// Level by level; each node once, the beginnings first.
    fn spread(
        &self,
        nodes: Elements<Node>,
        direction: Direction,
        through: &ElementFilter,
        depth: Option<u64>,
        pace: &mut Pace<'_>,
    ) -> Result<Elements<Node>, QueryError> {
        let mut reached: Vec<Arc<Node>> = Vec::new();
        let mut seen: HashSet<NodeId> = HashSet::new();
        for node in nodes.in_order() {
            if seen.insert(node.id.clone()) {
                reached.push(node);
            }
        }
        let (mut level, mut left) = (0, depth);
        while level < reached.len() && left != Some(0) {
            let next = reached.len();
            for at in level..next {
                pace.tick()?;
                let id = reached[at].id.clone();
                for (edge, other) in around(&self.graph, &id, direction) {
                    pace.tick()?;
                    if !seen.contains(other)
                        && through.matches(&**edge)
                        && let Some(other) = self.graph.node(other)
                    {
                        seen.insert(other.id.clone());
                        reached.push(Arc::clone(other));
                    }
                }
            }
            level = next;
            left = left.map(|left| left - 1);
        }
        Ok(Elements::ordered(reached))
    }

    fn remember(&mut self, name: &str, nodes: Elements<Node>, limits: &Limits) -> Result<State, QueryError> {
        let nodes = nodes.in_order();
        // A hundred names for the same million nodes are counted too.
        let mut meter = Meter::new("remembered nodes", limits);
        let others = self.remembered.iter().filter(|(other, _)| *other != name);
        let held = others.map(|(_, nodes)| nodes.len()).sum::<usize>() + nodes.len();
        meter.add_all(held, size_of::<Arc<Node>>())?;
        self.remembered.insert(name.to_owned(), nodes.clone());
        Ok(State::Nodes(Elements::ordered(nodes)))
    }

    fn recall(&self, names: &[String], limits: &Limits) -> Result<State, QueryError> {
        let sets = || names.iter().filter_map(|name| self.remembered.get(name));
        let mut meter = Meter::new("nodes", limits);
        meter.add_all(sets().map(Vec::len).sum(), size_of::<Arc<Node>>())?;
        let nodes = sets().flatten().cloned().collect();
        Ok(State::Nodes(Elements::ordered(nodes)))
    }

    /// The nodes and what lies between them; the edges and their ends; the nodes of paths and what
    /// lies between them.
    fn sub_graph(&self, state: State, pace: &mut Pace<'_>) -> Result<Snapshot, QueryError> {
        let mut nodes: HashMap<NodeId, Arc<Node>> = HashMap::new();
        let mut edges: HashMap<EdgeId, EdgeRef> = HashMap::new();
        let mut keep = |node: &Arc<Node>| {
            nodes.entry(node.id.clone()).or_insert_with(|| Arc::clone(node));
        };
        match state {
            State::Graph => return Ok(self.graph.clone().into_owned()),
            State::Nodes(all) => all.iter().for_each(&mut keep),
            State::Paths(paths) => paths.iter().flatten().for_each(&mut keep),
            State::Edges(all) => {
                for edge in all.iter() {
                    pace.tick()?;
                    let ends = [&edge.parent, &edge.child].map(|id| self.graph.node(id));
                    ends.into_iter().flatten().for_each(&mut keep);
                    edges.insert(edge.id.clone(), Arc::clone(edge));
                }
                return Ok(Snapshot::of(nodes.into_values(), edges.into_values()));
            }
        }
        for id in nodes.keys() {
            pace.tick()?;
            // Each edge is out of one node alone; those that lead out of the part stay behind.
            let between = self
                .graph
                .out_edges(id)
                .iter()
                .filter(|edge| nodes.contains_key(&edge.child));
            edges.extend(between.map(|edge| (edge.id.clone(), Arc::clone(edge))));
        }
        Ok(Snapshot::of(nodes.into_values(), edges.into_values()))
    }
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Graph => "G",
            Self::Nodes(_) => "nodes",
            Self::Edges(_) => "edges",
            Self::Paths(_) => "paths",
        }
    }

    /// The nodes, or those of the paths, or those of the whole graph.
    pub(crate) fn into_nodes(self, graph: &Snapshot) -> Vec<Arc<Node>> {
        match self {
            Self::Nodes(nodes) => nodes.in_order(),
            Self::Paths(paths) => paths.into_iter().flatten().collect(),
            Self::Graph => graph.nodes().cloned().collect(),
            Self::Edges(_) => Vec::new(),
        }
    }
}

/// The edges of `node` that go `direction`, oldest first, and where each leads. An edge from a node to
/// itself is one edge, also for `Both`.
pub(super) fn around<'g>(
    graph: &'g Snapshot,
    node: &NodeId,
    direction: Direction,
) -> Vec<(&'g EdgeRef, &'g NodeId)> {
    let mut around = Vec::new();
    if direction != Direction::In {
        around.extend(graph.out_edges(node).iter().map(|edge| (edge, &edge.child)));
    }
    if direction != Direction::Out {
        let into = graph.in_edges(node).iter();
        let into = into.filter(|edge| direction == Direction::In || edge.parent != edge.child);
        around.extend(into.map(|edge| (edge, &edge.parent)));
    }
    around.sort_unstable_by(|(a, _), (b, _)| by_age(&***a, &***b));
    around
}

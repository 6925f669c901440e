//! The steps that lead from one part of the graph to another, ready to run.

use super::field::{Element, Field};
use super::filter::ElementFilter;
use crate::arguments;
use crate::error::QueryError;
use crate::kind::Kind;
use crate::syntax::ast::{Step, StepName};

/// Which way along edges: from parent to child, back, or both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Out,
    In,
    Both,
}

/// Where a walk begins.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Matching(ElementFilter),
    /// The element with this ID; the column of the argument.
    Id(String, usize),
}

/// One step on the graph.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    /// Graph to nodes.
    Vertices(Start),
    /// Graph to edges.
    Edges(Start),
    /// Nodes or edges that meet a condition.
    Filter(ElementFilter),
    /// The first node or edge of each different value of the fields, or of each ID.
    Dedup(Vec<Field>),
    /// Nodes in an order; `None` is by age.
    Sort { field: Option<Field>, descending: bool },
    /// Nodes or edges from one position to another.
    Slice { from: u64, to: u64 },
    /// Nodes to those next to them: one for each edge.
    Walk(Direction, ElementFilter),
    /// Nodes to their edges.
    EdgesOf(Direction, ElementFilter),
    /// Edges to their children (`Out`), parents (`In`), or both.
    EndsOf(Direction, ElementFilter),
    /// Nodes to themselves and all that are at most so many edges away.
    Spread {
        direction: Direction,
        /// Edges that do not meet this lead nowhere.
        through: ElementFilter,
        /// `None` for as far as there is.
        depth: Option<u64>,
    },
    /// Nodes kept under a name.
    Remember(String),
    /// The nodes kept under these names.
    Recall(Vec<String>),
    /// Nodes to the paths from them to the nearest node that meets the first condition, along edges
    /// that meet the second.
    PathTo(ElementFilter, ElementFilter),
    /// Paths to their nodes, each different one once.
    PathNodes(Vec<Field>),
    /// Nodes, edges or paths to a graph of nothing else.
    SubGraph,
    /// Back to the graph.
    Back,
}

impl Move {
    /// The move that `step` makes of elements of `kind`; `None` if it is a step of another sort.
    pub(crate) fn of(kind: Kind, step: &Step) -> Result<Option<Self>, QueryError> {
        use StepName as S;
        let filter = || ElementFilter::of(step);
        Ok(Some(match (kind, step.name) {
            (Kind::Graph, S::V) => Self::Vertices(Start::of(step)?),
            (Kind::Graph, S::E) => Self::Edges(Start::of(step)?),
            (Kind::Nodes | Kind::Edges, S::Has | S::HasEither | S::HasKey | S::HasNot) => {
                Self::Filter(filter()?)
            }
            (Kind::Nodes | Kind::Edges, S::Dedup) => Self::Dedup(fields(step)?),
            (Kind::Paths, S::Dedup) => Self::PathNodes(fields(step)?),
            (Kind::Nodes, S::Sort) => {
                let spec = arguments::sort(step)?;
                Self::Sort {
                    field: spec.key.as_deref().map(Field::parse),
                    descending: spec.descending,
                }
            }
            (Kind::Nodes | Kind::Edges, S::Limit | S::Range) => {
                let (from, to) = arguments::range(step)?;
                Self::Slice { from, to }
            }
            (Kind::Nodes, S::Out) => Self::Walk(Direction::Out, filter()?),
            (Kind::Nodes, S::In) => Self::Walk(Direction::In, filter()?),
            (Kind::Nodes, S::Both) => Self::Walk(Direction::Both, filter()?),
            (Kind::Nodes, S::OutE) => Self::EdgesOf(Direction::Out, filter()?),
            (Kind::Nodes, S::InE) => Self::EdgesOf(Direction::In, filter()?),
            (Kind::Nodes, S::BothE) => Self::EdgesOf(Direction::Both, filter()?),
            (Kind::Edges, S::OutV) => Self::EndsOf(Direction::Out, filter()?),
            (Kind::Edges, S::InV) => Self::EndsOf(Direction::In, filter()?),
            (Kind::Edges, S::BothV) => Self::EndsOf(Direction::Both, filter()?),
            (Kind::Nodes, S::Ascendants | S::Descendants | S::Neighbors) => Self::spread(step)?,
            (Kind::Nodes, S::As) => Self::Remember(arguments::text(step)?),
            (Kind::Nodes, S::Select) => Self::Recall(arguments::texts(step)?),
            (Kind::Nodes, S::ShortestPathTo) => {
                let (target, through) = arguments::shortest_path_to(step)?;
                Self::PathTo(ElementFilter::all_of(target)?, ElementFilter::all_of(through)?)
            }
            (Kind::Nodes | Kind::Edges | Kind::Paths, S::SubGraph) => Self::SubGraph,
            (Kind::Nodes | Kind::Edges, S::G) => Self::Back,
            _ => return Ok(None),
        }))
    }

    fn spread(step: &Step) -> Result<Self, QueryError> {
        let (pairs, depth) = arguments::spread(step)?;
        let direction = match step.name {
            StepName::Ascendants => Direction::In,
            StepName::Descendants => Direction::Out,
            _ => Direction::Both,
        };
        let through = if pairs.is_empty() {
            ElementFilter::equal("RelationType", flowtap_topology::OWNERSHIP)
        } else {
            ElementFilter::any_of(pairs)?
        };
        // As Skydive does it: 0 is no bound upwards and downwards, and no step at all for neighbours.
        let depth = match depth {
            Some(0) if direction != Direction::Both => None,
            Some(depth) => Some(depth),
            None => Some(1),
        };
        Ok(Self::Spread {
            direction,
            through,
            depth,
        })
    }

    /// The condition that decides which elements it gives, if that is all it is.
    pub(super) fn condition(&self) -> Option<&ElementFilter> {
        match self {
            Self::Vertices(Start::Matching(filter))
            | Self::Edges(Start::Matching(filter))
            | Self::Filter(filter) => Some(filter),
            _ => None,
        }
    }
}

/// What a way through the graph asks for first, of all nodes or all edges that there are.
pub(crate) struct First<'m> {
    /// Of edges, not of nodes.
    pub(crate) edges: bool,
    conditions: Vec<&'m ElementFilter>,
}

impl<'m> First<'m> {
    /// The conditions that `moves` begin with: those of `V` or `E` and of all `Has`, `HasKey`… that follow it at
    /// once. `None` if there are none.
    pub(crate) fn of(moves: &'m [Move]) -> Option<Self> {
        let (first, then) = moves.split_first()?;
        let edges = match first {
            Move::Vertices(_) => false,
            Move::Edges(_) => true,
            _ => return None,
        };
        let filters = then.iter().map_while(|one| match one {
            Move::Filter(filter) => Some(filter),
            _ => None,
        });
        let conditions: Vec<_> = first
            .condition()
            .into_iter()
            .chain(filters)
            .filter(|filter| !filter.criteria().is_empty())
            .collect();
        (!conditions.is_empty()).then_some(Self { edges, conditions })
    }

    pub(crate) fn is_met(&self, element: &impl Element) -> bool {
        self.conditions.iter().all(|filter| filter.matches(element))
    }
}

impl Start {
    fn of(step: &Step) -> Result<Self, QueryError> {
        match step.arguments.as_slice() {
            [id] => {
                let text = arguments::text(step)?;
                Ok(Self::Id(text, id.column))
            }
            _ => ElementFilter::of(step).map(Self::Matching),
        }
    }
}

fn fields(step: &Step) -> Result<Vec<Field>, QueryError> {
    Ok(arguments::dedup(step)?
        .iter()
        .map(|key| Field::parse(key))
        .collect())
}

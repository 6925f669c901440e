//! The static types of the language: what flows from step to step, and which steps take what.

use std::fmt;

use crate::syntax::ast::StepName;

/// What a step takes or gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `G`, `G.At(…)`, `….SubGraph()`: a graph at a time.
    Graph,
    /// Nodes.
    Nodes,
    /// Edges.
    Edges,
    /// Paths of nodes.
    Paths,
    /// Flows.
    Flows,
    /// Raw packets by flow.
    RawPackets,
    /// Metrics by flow or node, or aggregated.
    Metrics,
    /// Flows by TrackingID.
    Groups,
    /// A list of values.
    Values,
    /// Sockets by flow or node.
    Sockets,
    /// A number, or one metric.
    Number,
    /// Next hops by node.
    NextHops,
    /// Whatever a workflow returns.
    Result,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Graph,
        Self::Nodes,
        Self::Edges,
        Self::Paths,
        Self::Flows,
        Self::RawPackets,
        Self::Metrics,
        Self::Groups,
        Self::Values,
        Self::Sockets,
        Self::Number,
        Self::NextHops,
        Self::Result,
    ];

    /// The kind that `step` makes of this one, `None` if it does not take it.
    #[must_use]
    pub fn after(self, step: StepName) -> Option<Self> {
        use StepName as S;
        Some(match (self, step) {
            (Self::Graph, S::V) => Self::Nodes,
            (Self::Graph, S::E) => Self::Edges,
            (Self::Graph, S::At) => Self::Graph,
            (Self::Graph, S::Workflow) => Self::Result,
            (Self::Graph | Self::Nodes | Self::Paths, S::Flows) => Self::Flows,
            (Self::Nodes | Self::Edges, S::G) => Self::Graph,
            (Self::Nodes | Self::Edges | Self::Paths, S::SubGraph) => Self::Graph,

            (Self::Nodes | Self::Edges, S::HasKey | S::HasNot)
            | (Self::Nodes | Self::Edges | Self::Flows | Self::Sockets, S::HasEither)
            | (Self::Nodes | Self::Edges | Self::Flows | Self::Sockets | Self::Values, S::Has)
            | (Self::Nodes | Self::Edges | Self::Flows | Self::Values, S::Dedup)
            | (Self::Nodes | Self::Edges | Self::Flows | Self::Values, S::Limit | S::Range)
            | (Self::Nodes | Self::Flows, S::Sort)
            | (Self::Nodes, S::As | S::Select | S::Ascendants | S::Descendants | S::Neighbors) => self,

            (Self::Nodes | Self::Edges | Self::Flows | Self::Metrics | Self::Values, S::Count)
            | (Self::Nodes | Self::Flows | Self::Metrics, S::Sum) => Self::Number,
            (Self::Nodes | Self::Flows | Self::Sockets, S::Values)
            | (Self::Nodes, S::ValueMap)
            | (Self::Nodes | Self::Flows | Self::Metrics, S::Keys) => Self::Values,

            (Self::Nodes, S::OutE | S::InE | S::BothE) => Self::Edges,
            (Self::Paths, S::Dedup)
            | (Self::Nodes | Self::Flows, S::Out | S::In | S::Both)
            | (Self::Edges, S::OutV | S::InV | S::BothV)
            | (Self::Flows, S::Nodes | S::Hops | S::CaptureNode) => Self::Nodes,
            (Self::Nodes, S::ShortestPathTo) => Self::Paths,
            (Self::Nodes, S::NextHop) => Self::NextHops,
            (Self::Nodes | Self::Flows, S::Sockets) => Self::Sockets,

            (Self::Nodes | Self::Flows, S::Metrics) | (Self::Metrics, S::Aggregates) => Self::Metrics,
            (Self::Flows, S::RawPackets) | (Self::RawPackets, S::Bpf) => Self::RawPackets,
            (Self::Flows, S::Group) | (Self::Groups, S::MoreThan) => Self::Groups,
            _ => return None,
        })
    }

    /// The steps that take it, as a list for the user.
    pub(crate) fn steps(self) -> String {
        // `Workflow` is read, so that it can be refused in words; it is nothing to offer.
        let taken = |step: &StepName| self.after(*step).is_some_and(|kind| kind != Self::Result);
        let steps: Vec<&str> = StepName::ALL
            .iter()
            .filter(|step| taken(step))
            .flat_map(|step| step.spellings())
            .copied()
            .collect();
        if steps.is_empty() {
            "no step".to_owned()
        } else {
            steps.join(", ")
        }
    }
}

impl fmt::Display for Kind {
    /// As errors name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graph => "G",
            Self::Nodes => "nodes",
            Self::Edges => "edges",
            Self::Paths => "paths",
            Self::Flows => "flows",
            Self::RawPackets => "raw packets",
            Self::Metrics => "metrics",
            Self::Groups => "groups",
            Self::Values => "values",
            Self::Sockets => "sockets",
            Self::Number => "numbers",
            Self::NextHops => "next hops",
            Self::Result => "results of a workflow",
        })
    }
}

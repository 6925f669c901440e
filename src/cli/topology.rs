//! `flowtap topology`: the graph as a tree, as JSON or for Graphviz.

mod tree;

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use flowtap_api::wire::DOT_MEDIA_TYPE;
use flowtap_gremlin::{Kind, parse};
use flowtap_topology::{Edge, Node};
use serde::Deserialize;

use super::connect::{Remote, Session};
use crate::exit::{CommandResult, Failure, Status};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Topology {
    /// Nodes to show with what they own, as a query: "G.V().Has('Type', 'ovsbridge')"
    /// [default: everything]
    gremlin: Option<String>,
    /// As it was then: -1h, or 2026-03-01T12:00:00Z
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with = "gremlin",
        allow_hyphen_values = true
    )]
    at: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What owns what, for people
    #[default]
    Tree,
    /// Nodes and edges as Skydive's clients read them
    Json,
    /// For Graphviz: `| dot -Tsvg`
    Dot,
}

/// A graph as `G` answers it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

impl Topology {
    /// What is asked for a graph: queries that end in nodes are extended to what they own.
    fn query(&self) -> Result<String, Failure> {
        match (&self.gremlin, &self.at) {
            (Some(gremlin), _) => extended(gremlin),
            (None, None) => Ok("G".to_owned()),
            (None, Some(at)) if at.contains(['\'', '"']) => Err(Failure::message(
                Status::Usage,
                format!("--at {at}: give a time without quotes"),
            )),
            (None, Some(at)) => Ok(format!("G.At('{at}')")),
        }
    }
}

/// What is wrong with a query is told of what was typed, not of what is added here.
fn extended(gremlin: &str) -> Result<String, Failure> {
    let wrong = |error| Failure::new(Status::Usage, error);
    let kind = parse(gremlin).and_then(|query| query.kind()).map_err(wrong)?;
    let gremlin = gremlin.trim_end();
    match kind {
        Kind::Graph => Ok(gremlin.to_owned()),
        Kind::Nodes => Ok(format!("{gremlin}.Descendants(100).SubGraph()")),
        Kind::Edges | Kind::Paths => Ok(format!("{gremlin}.SubGraph()")),
        other => Err(Failure::message(
            Status::Usage,
            format!(
                "the query ends in {other}, and a graph is made of nodes, edges or paths; \
                 `flowtap query` prints any answer"
            ),
        )),
    }
}

impl Remote for Topology {
    async fn run(self, session: Session) -> CommandResult {
        let query = self.query()?;
        let accept = match self.format {
            Format::Dot => DOT_MEDIA_TYPE,
            Format::Tree | Format::Json => "application/json",
        };
        let answer = session.client.query(&query, accept).await?.bytes().await?;
        let mut out = output::stdout();
        match self.format {
            Format::Tree => {
                let graphs: Vec<Graph> = serde_json::from_slice(&answer)
                    .context("the server's answer is no graph, is it an older flowtap?")?;
                for graph in graphs {
                    tree::write(graph.nodes, graph.edges, &mut out)?;
                }
            }
            Format::Json => output::json::indent(&answer, "\t", &mut out)?,
            Format::Dot => out.write_all(&answer)?,
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_extended_to_a_graph() {
        for (typed, asked) in [
            ("G", "G"),
            ("G.At('-1h')", "G.At('-1h')"),
            ("G.V() ", "G.V().Descendants(100).SubGraph()"),
            ("G.E()", "G.E().SubGraph()"),
            ("G.V().SubGraph()", "G.V().SubGraph()"),
        ] {
            assert_eq!(extended(typed).expect("a graph"), asked);
        }
    }

    #[test]
    fn errors_are_about_what_was_typed() {
        for typed in ["G.V(", "G.V().Count()", "G.V().Nope()", "G.Flows()", ""] {
            let error = format!("{:?}", extended(typed).expect_err("no graph"));
            assert!(
                !error.contains("Descendants") && !error.contains("SubGraph is"),
                "{error}"
            );
        }
    }
}

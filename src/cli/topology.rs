//! `flowtap topology`: the graph as a tree, as JSON or for Graphviz.

mod tree;

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use flowtap_api::wire::DOT_MEDIA_TYPE;
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
            (Some(gremlin), _) => Ok(format!("{gremlin}.Descendants(100).SubGraph()")),
            (None, None) => Ok("G".to_owned()),
            (None, Some(at)) if at.contains(['\'', '"']) => Err(Failure::message(
                Status::Usage,
                format!("--at {at}: give a time without quotes"),
            )),
            (None, Some(at)) => Ok(format!("G.At('{at}')")),
        }
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

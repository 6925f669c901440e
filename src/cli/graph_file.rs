//! `flowtap client topology …`: Skydive's words for a graph to and from a file.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use flowtap_api::client::{ClientError, ResourceKind};
use serde::Deserialize;
use serde_json::Value;

use super::connect::{Remote, Session};
use super::query::{Format, Query};
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct GraphFile {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a Gremlin query; `flowtap client query` does the same
    Query {
        #[arg(long, default_value = "G", value_name = "GREMLIN")]
        gremlin: String,
        /// What to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the whole graph as JSON
    Export,
    /// Add the nodes and edges of an exported graph
    Import {
        #[arg(long, default_value = "graph.json")]
        file: PathBuf,
    },
}

/// A graph as `export` prints it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Graph {
    #[serde(default)]
    nodes: Vec<Value>,
    #[serde(default)]
    edges: Vec<Value>,
}

impl Remote for GraphFile {
    async fn run(self, session: Session) -> CommandResult {
        match self.command {
            Command::Query { gremlin, format } => Query::new(gremlin, format).run(session).await,
            Command::Export => Query::new("G".to_owned(), Format::Json).run(session).await,
            Command::Import { file } => {
                let text = std::fs::read(&file).with_context(|| {
                    format!("failed to read {}, name another with --file", file.display())
                })?;
                let graphs: Vec<Graph> = serde_json::from_slice(&text)
                    .with_context(|| format!("{} is no graph as `export` prints it", file.display()))?;
                import(&session, graphs).await
            }
        }
    }
}

/// Adds what is not there yet: a graph may be imported where a part of it came from.
async fn import(session: &Session, graphs: Vec<Graph>) -> CommandResult {
    let [graph] = <[Graph; 1]>::try_from(graphs)
        .map_err(|graphs| anyhow!("the file holds {} graphs, not one", graphs.len()))?;
    let (mut nodes, mut edges) = (0, 0);
    for node in &graph.nodes {
        nodes += usize::from(add(session, ResourceKind::Node, node).await?);
    }
    for edge in &graph.edges {
        edges += usize::from(add(session, ResourceKind::Edge, edge).await?);
    }
    Ok(output::line(format_args!(
        "{nodes} nodes and {edges} edges added"
    ))?)
}

async fn add(session: &Session, kind: ResourceKind, document: &Value) -> Result<bool, ClientError> {
    let id = document["ID"].as_str().unwrap_or_default();
    if !id.is_empty() && is_there(session, kind, id).await? {
        return Ok(false);
    }
    session.client.create(kind, document, None).await.map(|_| true)
}

async fn is_there(session: &Session, kind: ResourceKind, id: &str) -> Result<bool, ClientError> {
    match session.client.resource(kind, id).await {
        Ok(_) => Ok(true),
        Err(ClientError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

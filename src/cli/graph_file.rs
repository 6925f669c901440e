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
        /// Skydive's path to import by, such as /ws/publisher; what it leads to is the same
        #[arg(long, value_name = "PATH", value_parser = endpoint)]
        endpoint: Option<String>,
    },
}

/// The graph is imported by the REST resources, whichever of the server's paths is named.
fn endpoint(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err("it is a path such as /ws/publisher; name the server with --analyzer")
}

/// A graph.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Graph {
    nodes: Vec<Value>,
    #[serde(default)]
    edges: Vec<Value>,
}

/// Reads a graph as `export` prints it, a list of one, or as `GET /api/topology` answers it, which is that one.
fn read(text: &[u8]) -> anyhow::Result<Graph> {
    if text.trim_ascii_start().starts_with(b"{") {
        return Ok(serde_json::from_slice(text)?);
    }
    let graphs: Vec<Graph> = serde_json::from_slice(text)?;
    let [graph] = <[Graph; 1]>::try_from(graphs)
        .map_err(|graphs| anyhow!("the file holds {} graphs, not one", graphs.len()))?;
    Ok(graph)
}

impl Remote for GraphFile {
    async fn run(self, session: Session) -> CommandResult {
        match self.command {
            Command::Query { gremlin, format } => Query::new(gremlin, format).run(session).await,
            Command::Export => Query::new("G".to_owned(), Format::Json).run(session).await,
            Command::Import { file, endpoint: _ } => {
                let text = std::fs::read(&file).with_context(|| {
                    format!("failed to read {}, name another with --file", file.display())
                })?;
                let graph = read(&text)
                    .with_context(|| format!("{} is no graph as `export` prints it", file.display()))?;
                import(&session, graph).await
            }
        }
    }
}

/// Adds what is not there yet: a graph may be imported where a part of it came from.
async fn import(session: &Session, graph: Graph) -> CommandResult {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_read_alone_and_in_a_list() {
        for text in [r#"[{"Nodes": [{}], "Edges": []}]"#, "\n{\"Nodes\": [{}]}"] {
            assert_eq!(read(text.as_bytes()).expect("a graph").nodes.len(), 1, "{text}");
        }
        for text in ["[]", "{}", r#"[{"Nodes": []}, {"Nodes": []}]"#, "7"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(endpoint("/ws/publisher").is_ok() && endpoint("127.0.0.1:8082").is_err());
    }
}

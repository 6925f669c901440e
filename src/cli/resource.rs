//! What users declare: `flowtap client node|edge|node-rule|edge-rule`, in Skydive's words.

pub(crate) mod edge;
mod metadata;
pub(crate) mod node;
pub(crate) mod rule;

use clap::{Args, Subcommand};
use flowtap_api::client::ResourceKind;
use serde_json::Value;

use super::connect::Session;
use crate::exit::{CommandResult, Failure};
use crate::output;
use metadata::Pairs;

/// Prints all of a kind, by id.
async fn list(session: &Session, kind: ResourceKind) -> CommandResult {
    Ok(output::document(&session.client.resources(kind).await?)?)
}

/// Makes one, and prints it.
async fn create(session: &Session, kind: ResourceKind, document: &Value) -> CommandResult {
    Ok(output::document(
        &session.client.create(kind, document, None).await?,
    )?)
}

/// What is said of a new node or edge.
#[derive(Debug, Args)]
struct Said {
    /// What else is known of it: 'k1=v1, k2=v2'
    #[arg(
        long,
        default_value = "",
        value_name = "KEY=VALUE,…",
        hide_default_value = true
    )]
    metadata: Pairs,
    /// The host that it is on [default: the analyzer's]
    #[arg(long)]
    host: Option<String>,
}

impl Said {
    fn put_host(self, document: &mut Value) {
        if let Some(host) = self.host {
            document["Host"] = host.into();
        }
    }
}

/// What can be done with nodes and edges beside making them.
#[derive(Debug, Subcommand)]
enum ElementCommand {
    /// Show all, by id
    List,
    /// Show some by their id
    Get(Get),
    /// Change metadata
    Update(Update),
    /// Delete some
    Delete(DeleteElements),
}

impl ElementCommand {
    async fn run(self, session: &Session, kind: ResourceKind) -> CommandResult {
        match self {
            Self::List => list(session, kind).await,
            Self::Get(get) => get.run(session, kind).await,
            Self::Update(update) => update.run(session, kind).await,
            Self::Delete(delete) => delete.run(session, kind).await,
        }
    }
}

/// What can be done with rules beside making them.
#[derive(Debug, Subcommand)]
enum RuleCommand {
    /// Show all, by id
    List,
    /// Show some by their id
    Get(Get),
    /// Delete some, and take back what they did
    Delete(Delete),
}

impl RuleCommand {
    async fn run(self, session: &Session, kind: ResourceKind) -> CommandResult {
        match self {
            Self::List => list(session, kind).await,
            Self::Get(get) => get.run(session, kind).await,
            Self::Delete(Delete { ids }) => delete(session, kind, &ids).await,
        }
    }
}

#[derive(Debug, Args)]
struct Get {
    /// Ids, as `list` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Get {
    async fn run(self, session: &Session, kind: ResourceKind) -> CommandResult {
        for id in self.ids {
            output::document(&session.client.resource(kind, &id).await?)?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
struct Delete {
    /// Ids, as `list` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// Deletes all that can be; the first that cannot is the failure.
pub(crate) async fn delete(session: &Session, kind: ResourceKind, ids: &[String]) -> CommandResult {
    let mut failed: Option<Failure> = None;
    for id in ids {
        if let Err(error) = session.client.delete(kind, id).await {
            failed.get_or_insert(error.into());
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Nodes or edges, named by id or by what a query finds.
#[derive(Debug, Args)]
struct DeleteElements {
    /// Ids; with --gremlin queries: "G.V().Has('Name', 'tor1')"
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Delete what queries find instead of ids
    #[arg(long)]
    gremlin: bool,
}

impl DeleteElements {
    async fn run(self, session: &Session, kind: ResourceKind) -> CommandResult {
        if !self.gremlin {
            return delete(session, kind, &self.ids).await;
        }
        let mut ids = Vec::new();
        for query in &self.ids {
            let answer = session
                .client
                .query(query, "application/json")
                .await?
                .bytes()
                .await?;
            let elements: Vec<Value> = serde_json::from_slice(&answer)?;
            let id = |element: &Value| element["ID"].as_str().map(str::to_owned);
            ids.extend(elements.iter().filter_map(id));
        }
        delete(session, kind, &ids).await
    }
}

/// Changes of metadata.
#[derive(Debug, Args)]
struct Update {
    /// Ids, as `list` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Metadata to set
    #[arg(short, long, value_name = "KEY=VALUE")]
    add: Vec<Pairs>,
    /// Metadata to take away
    #[arg(short, long, value_name = "KEY")]
    remove: Vec<String>,
}

impl Update {
    async fn run(self, session: &Session, kind: ResourceKind) -> CommandResult {
        let patch = metadata::patch(&self.add, &self.remove);
        let mut changed = None;
        for id in &self.ids {
            changed = session.client.patch(kind, id, &patch).await?.or(changed);
        }
        match changed {
            Some(document) => Ok(output::document(&document)?),
            None => Ok(output::line(format_args!("Not modified"))?),
        }
    }
}

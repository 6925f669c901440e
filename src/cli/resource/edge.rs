//! `flowtap client edge …`.

use clap::{Args, Subcommand};
use flowtap_api::client::ResourceKind;
use serde_json::json;

use super::{ElementCommand, Said};
use crate::cli::connect::{Remote, Session};
use crate::exit::CommandResult;

const KIND: ResourceKind = ResourceKind::Edge;

#[derive(Debug, Args)]
pub(crate) struct Edge {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Link two nodes
    Create(Create),
    #[command(flatten)]
    Other(ElementCommand),
}

#[derive(Debug, Args)]
struct Create {
    /// Id of the node that it comes from
    #[arg(long, value_name = "ID")]
    parent: String,
    /// Id of the node that it leads to
    #[arg(long, value_name = "ID")]
    child: String,
    /// Its RelationType: layer2, ownership
    #[arg(long, value_name = "TYPE")]
    edge_type: Option<String>,
    #[command(flatten)]
    said: Said,
}

impl Remote for Edge {
    async fn run(self, session: Session) -> CommandResult {
        match self.command {
            Command::Create(create) => create.run(&session).await,
            Command::Other(other) => other.run(&session, KIND).await,
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> CommandResult {
        let mut metadata = self.said.metadata.to_metadata();
        if let Some(relation) = self.edge_type {
            metadata.insert("RelationType".to_owned(), relation.into());
        }
        let mut document = json!({"Parent": self.parent, "Child": self.child, "Metadata": metadata});
        self.said.put_host(&mut document);
        super::create(session, KIND, &document).await
    }
}

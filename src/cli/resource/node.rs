//! `flowtap client node …`.

use clap::{Args, Subcommand};
use flowtap_api::client::ResourceKind;
use serde_json::json;

use super::{ElementCommand, Said};
use crate::cli::connect::{Remote, Session};
use crate::exit::CommandResult;

const KIND: ResourceKind = ResourceKind::Node;

#[derive(Debug, Args)]
pub(crate) struct Node {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a node that nothing watches
    Create(Create),
    #[command(flatten)]
    Other(ElementCommand),
}

#[derive(Debug, Args)]
struct Create {
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    #[arg(long, value_name = "TYPE")]
    node_type: Option<String>,
    #[command(flatten)]
    said: Said,
}

impl Remote for Node {
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
        for (key, value) in [("Name", self.node_name), ("Type", self.node_type)] {
            if let Some(value) = value {
                metadata.insert(key.to_owned(), value.into());
            }
        }
        let mut document = json!({"Metadata": metadata});
        self.said.put_host(&mut document);
        super::create(session, KIND, &document).await
    }
}

//! `flowtap client node …`.

use clap::{Args, Subcommand};
use flowtap_api::client::ResourceKind;
use serde_json::json;

use super::{ElementCommand, Pairs};
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
        let mut metadata = self.metadata.to_metadata();
        for (key, value) in [("Name", self.node_name), ("Type", self.node_type)] {
            if let Some(value) = value {
                metadata.insert(key.to_owned(), value.into());
            }
        }
        let mut document = json!({"Metadata": metadata});
        if let Some(host) = self.host {
            document["Host"] = host.into();
        }
        super::create(session, KIND, &document).await
    }
}

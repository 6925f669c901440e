//! `flowtap client node-rule …` and `flowtap client edge-rule …`.

use clap::{Args, Subcommand, ValueEnum};
use flowtap_api::client::ResourceKind;
use serde_json::json;

use super::{Pairs, RuleCommand};
use crate::cli::connect::{Remote, Session};
use crate::exit::{CommandResult, Failure, Status};

#[derive(Debug, Args)]
pub(crate) struct NodeRule {
    #[command(subcommand)]
    command: NodeRuleCommand,
}

#[derive(Debug, Subcommand)]
enum NodeRuleCommand {
    /// Add metadata to nodes that match a query, now and later, or add a node
    Create(CreateNodeRule),
    #[command(flatten)]
    Other(RuleCommand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Make a node
    Create,
    /// Add metadata to nodes
    Update,
}

#[derive(Debug, Args)]
struct CreateNodeRule {
    /// What the rule is called
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    #[arg(long, value_enum)]
    action: Action,
    /// Name of the node to make
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Type of the node to make
    #[arg(long, value_name = "TYPE")]
    node_type: Option<String>,
    /// Nodes to update: "G.V().Has('Name', 'eth0')"
    #[arg(long, default_value = "", value_name = "GREMLIN", hide_default_value = true)]
    query: String,
    /// Metadata to add: 'k1=v1, k2=v2'
    #[arg(
        long,
        default_value = "",
        value_name = "KEY=VALUE,…",
        hide_default_value = true
    )]
    metadata: Pairs,
}

impl Remote for NodeRule {
    async fn run(self, session: Session) -> CommandResult {
        match self.command {
            NodeRuleCommand::Create(create) => create.run(&session).await,
            NodeRuleCommand::Other(other) => other.run(&session, ResourceKind::NodeRule).await,
        }
    }
}

impl CreateNodeRule {
    async fn run(self, session: &Session) -> CommandResult {
        // An update adds to what is there: `Rack.unit=7` leaves the rest of `Rack`.
        let mut metadata = self.metadata.to_entries();
        if self.action == Action::Create {
            metadata = self.metadata.to_metadata();
            let (Some(name), Some(kind)) = (self.node_name, self.node_type) else {
                return Err(Failure::message(
                    Status::Usage,
                    "both --node-name and --node-type are required for `create` node rules",
                ));
            };
            metadata.insert("Name".to_owned(), name.into());
            metadata.insert("Type".to_owned(), kind.into());
        }
        let document = json!({
            "Name": self.name,
            "Description": self.description,
            "Metadata": metadata,
            "Query": self.query,
            "Action": match self.action {
                Action::Create => "create",
                Action::Update => "update",
            },
        });
        super::create(session, ResourceKind::NodeRule, &document).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct EdgeRule {
    #[command(subcommand)]
    command: EdgeRuleCommand,
}

#[derive(Debug, Subcommand)]
enum EdgeRuleCommand {
    /// Link nodes that match queries, now and later
    Create(CreateEdgeRule),
    #[command(flatten)]
    Other(RuleCommand),
}

#[derive(Debug, Args)]
struct CreateEdgeRule {
    /// What the rule is called
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// Nodes that edges come from: "G.V().Has('Name', 'tor1')"
    #[arg(long, value_name = "GREMLIN")]
    src: String,
    /// Nodes that edges lead to
    #[arg(long, value_name = "GREMLIN")]
    dst: String,
    /// Their RelationType: layer2, ownership
    #[arg(long, value_name = "TYPE")]
    relationtype: String,
    /// What else the edges have: 'k1=v1, k2=v2'
    #[arg(
        long,
        default_value = "",
        value_name = "KEY=VALUE,…",
        hide_default_value = true
    )]
    metadata: Pairs,
}

impl Remote for EdgeRule {
    async fn run(self, session: Session) -> CommandResult {
        match self.command {
            EdgeRuleCommand::Create(create) => create.run(&session).await,
            EdgeRuleCommand::Other(other) => other.run(&session, ResourceKind::EdgeRule).await,
        }
    }
}

impl CreateEdgeRule {
    async fn run(self, session: &Session) -> CommandResult {
        let mut metadata = self.metadata.to_metadata();
        metadata.insert("RelationType".to_owned(), self.relationtype.into());
        let document = json!({
            "Name": self.name,
            "Description": self.description,
            "Src": self.src,
            "Dst": self.dst,
            "Metadata": metadata,
        });
        super::create(session, ResourceKind::EdgeRule, &document).await
    }
}

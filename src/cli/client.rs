//! `flowtap client …`: the words that Skydive's users type.

use clap::{Args, Subcommand};

use super::connect::{Connect, Remote as _};
use super::resource::{edge, node, rule};
use super::{capture, graph_file, query, status, upload};
use crate::exit::CommandResult;

#[derive(Debug, Args)]
pub(crate) struct Client {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a Gremlin query
    Query(query::Query),
    /// Show captures and what each received, kept and dropped
    Capture(capture::Capture),
    /// Show the state of the server
    Status(status::Status),
    /// Export the graph, or import one
    Topology(graph_file::GraphFile),
    /// Show nodes, and add those that nothing watches
    Node(node::Node),
    /// Show edges, and add those that nothing watches
    Edge(edge::Edge),
    /// Rules that add metadata to nodes, or add nodes
    NodeRule(rule::NodeRule),
    /// Rules that link nodes
    EdgeRule(rule::EdgeRule),
    /// Upload a capture file
    Pcap(upload::Upload),
}

impl Client {
    pub(crate) fn run(self) -> CommandResult {
        let Self { connect, command } = self;
        connect.run(async |session| match command {
            Command::Query(query) => query.run(session).await,
            Command::Capture(capture) => capture.run(session).await,
            Command::Status(status) => status.run(session).await,
            Command::Topology(topology) => topology.run(session).await,
            Command::Node(node) => node.run(session).await,
            Command::Edge(edge) => edge.run(session).await,
            Command::NodeRule(rule) => rule.run(session).await,
            Command::EdgeRule(rule) => rule.run(session).await,
            Command::Pcap(upload) => upload.run(session).await,
        })
    }
}

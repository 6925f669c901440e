//! The command line: one file a command.

mod capture;
mod check;
mod client;
mod completion;
mod connect;
mod duration;
mod flows;
mod graph_file;
mod man;
mod query;
mod replay;
mod resource;
mod status;
mod topology;
mod unsupported;
mod up;
mod upload;
mod version;

use clap::{Parser, Subcommand};

use crate::exit::CommandResult;
use connect::Online;

/// Capture appliance: packets and samples in, flows and packets out.
#[derive(Debug, Parser)]
#[command(
    name = "flowtap",
    version,
    propagate_version = false,
    subcommand_required = true
)]
#[command(arg_required_else_help = true, max_term_width = 100, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 done, 1 failure, 2 usage or configuration, 3 not found or empty with --fail-empty, 4 denied,
5 unreachable, 124 --timeout ran out";

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect, store and answer: sFlow and pcap streams in, flows and packets out
    Up(up::Up),
    /// Ask a running flowtap, in Skydive's words
    Client(client::Client),
    /// Run a Gremlin query
    Query(Online<query::Query>),
    /// Show captures and what each received, kept and dropped
    Capture(Online<capture::Capture>),
    /// Show the state of the server
    Status(Online<status::Status>),
    /// Show the graph of this host: interfaces, namespaces, bridges, ports, agents
    Topology(Online<topology::Topology>),
    /// List flows as a table, JSON or CSV, once or as they come
    Flows(Online<flows::Flows>),
    /// Send capture files to the pcap socket
    Replay(replay::Replay),
    /// Check the configuration and start nothing
    Check(check::Check),
    /// Print a completion script for a shell
    Completion(completion::Completion),
    /// Print the manual page, or write one for each command
    Man(man::Man),
    /// Print the version
    Version,
}

impl Cli {
    /// Runs the command that was asked for, to its end.
    ///
    /// # Errors
    /// With the exit status that the process shall have.
    pub(crate) fn run(self) -> CommandResult {
        match self.command {
            Command::Up(up) => up.run(),
            Command::Client(client) => client.run(),
            Command::Query(query) => query.run(),
            Command::Capture(capture) => capture.run(),
            Command::Status(status) => status.run(),
            Command::Topology(topology) => topology.run(),
            Command::Flows(flows) => flows.run(),
            Command::Replay(replay) => replay.run(),
            Command::Check(check) => check.run(),
            Command::Completion(completion) => completion.run(),
            Command::Man(man) => man.run(),
            Command::Version => version::run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

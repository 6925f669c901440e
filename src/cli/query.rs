//! `flowtap query GREMLIN`.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use flowtap_api::client::Download;
use flowtap_api::wire::{DOT_MEDIA_TYPE, PCAP_MEDIA_TYPE, PCAPNG_MEDIA_TYPE};

use super::connect::{Remote, Session};
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// A query in Skydive's Gremlin dialect: "G.Flows().Has('Application', 'DNS')"
    gremlin: String,
    /// What to print: the answer as JSON, a graph as DOT, raw packets as pcap
    /// (one link type) or pcapng (any)
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Json,
    Dot,
    Pcap,
    Pcapng,
}

impl Query {
    pub(crate) fn new(gremlin: String, format: Format) -> Self {
        Self { gremlin, format }
    }
}

impl Remote for Query {
    async fn run(self, session: Session) -> CommandResult {
        let accept = match self.format {
            Format::Json => "application/json",
            Format::Dot => DOT_MEDIA_TYPE,
            Format::Pcap => {
                output::refuse_terminal()?;
                PCAP_MEDIA_TYPE
            }
            Format::Pcapng => {
                output::refuse_terminal()?;
                PCAPNG_MEDIA_TYPE
            }
        };
        let answer = session.client.query(&self.gremlin, accept).await?;
        match self.format {
            Format::Json => {
                let mut out = output::stdout();
                output::json::indent(&answer.bytes().await?, "\t", &mut out)?;
                Ok(out.flush()?)
            }
            Format::Dot | Format::Pcap | Format::Pcapng => copy(answer).await,
        }
    }
}

/// Writes an answer to stdout as it comes.
async fn copy(mut answer: Download) -> CommandResult {
    let mut out = output::stdout();
    while let Some(piece) = answer.chunk().await? {
        out.write_all(&piece)?;
    }
    Ok(out.flush()?)
}

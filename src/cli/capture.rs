//! `flowtap capture …`.

mod create;
mod explain;
mod watch;

use clap::{Args, Subcommand};
use flowtap_api::client::ResourceKind;

use super::connect::{Remote, Session};
use super::resource::{Delete, Get};
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Capture {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture at every node that a query names, now and as soon as there is one
    Create(Box<create::Create>),
    /// Show all captures, by id
    List,
    /// Show captures by their id
    Get(Get),
    /// Print what happens to a capture, until it ends
    Watch(watch::Watch),
    /// End captures
    Delete(Delete),
    /// Say at which nodes a query would capture, and why not at others
    Explain(explain::Explain),
}

impl Remote for Capture {
    async fn run(self, session: Session) -> CommandResult {
        const KIND: ResourceKind = ResourceKind::Capture;
        match self.command {
            Command::Create(create) => create.run(&session).await,
            Command::List => Ok(output::document(&session.client.captures().await?)?),
            Command::Get(get) => get.run(&session, KIND).await,
            Command::Watch(watch) => watch.run(&session).await,
            Command::Delete(delete) => delete.run(&session, KIND).await,
            Command::Explain(explain) => explain.run(&session).await,
        }
    }
}

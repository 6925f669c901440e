//! `flowtap capture list|get`.

use clap::{Args, Subcommand};

use super::connect::{Remote, Session};
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Capture {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all captures, by id
    List,
    /// Show captures by their id
    Get {
        /// Ids, as `list` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

impl Remote for Capture {
    async fn run(self, session: Session) -> CommandResult {
        match self.command {
            Command::List => Ok(output::document(&session.client.captures().await?)?),
            Command::Get { ids } => {
                for id in ids {
                    output::document(&session.client.capture(&id).await?)?;
                }
                Ok(())
            }
        }
    }
}

//! `flowtap status`.

use clap::Args;

use super::connect::{Remote, Session};
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Remote for Status {
    async fn run(self, session: Session) -> CommandResult {
        Ok(output::document(&session.client.status().await?)?)
    }
}

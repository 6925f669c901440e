//! `flowtap capture explain`.

use clap::Args;

use super::super::connect::Session;
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A query that ends in nodes or paths: "G.V().HasKey('ExtID.vm-id')"
    gremlin: String,
    /// For a capture of this type [default: what suits each node]
    #[arg(long, default_value = "", hide_default_value = true)]
    r#type: String,
}

impl Explain {
    pub(crate) async fn run(self, session: &Session) -> CommandResult {
        let explanation = session
            .client
            .explain_capture(&self.gremlin, &self.r#type)
            .await?;
        Ok(output::document(&explanation)?)
    }
}

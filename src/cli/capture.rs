//! `flowtap capture …`.

mod create;
mod explain;
mod watch;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use flowtap_api::client::ResourceKind;
use flowtap_capture::Capture as Document;

use super::connect::{Remote, Session};
use super::resource;
use crate::exit::{CommandResult, Failure, Status};
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
    /// Show captures by id or name
    Get(Named),
    /// Print what happens to a capture, until it ends
    Watch(watch::Watch),
    /// End captures, by id or name
    Delete(Named),
    /// Say at which nodes a query would capture, and why not at others
    Explain(explain::Explain),
}

impl Remote for Capture {
    async fn run(self, session: Session) -> CommandResult {
        const KIND: ResourceKind = ResourceKind::Capture;
        match self.command {
            Command::Create(create) => create.run(&session).await,
            Command::List => Ok(output::document(&session.client.captures().await?)?),
            Command::Get(named) => {
                for id in named.ids(&session).await? {
                    output::document(&session.client.capture(&id).await?)?;
                }
                Ok(())
            }
            Command::Watch(watch) => watch.run(&session).await,
            Command::Delete(named) => resource::delete(&session, KIND, &named.ids(&session).await?).await,
            Command::Explain(explain) => explain.run(&session).await,
        }
    }
}

#[derive(Debug, Args)]
struct Named {
    /// Ids or names, as `list` shows them
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<String>,
}

impl Named {
    /// The ids of the captures that are meant, see [`id_of`].
    async fn ids(self, session: &Session) -> Result<Vec<String>, Failure> {
        let known = session.client.captures().await?;
        let id = |said| id_of(said, &known);
        self.captures.into_iter().map(id).collect()
    }
}

/// The id of the capture that is meant. What is neither id nor name is left as it is, for the server to say
/// so.
fn id_of(said: String, known: &BTreeMap<String, Document>) -> Result<String, Failure> {
    let mut named = known.values().filter(|capture| capture.name == said);
    match (known.contains_key(&said), named.next(), named.next()) {
        (false, Some(_), Some(_)) => Err(Failure::message(
            Status::Usage,
            format!("several captures are named `{said}`, say which by its id"),
        )),
        (false, Some(capture), None) => Ok(capture.uuid.clone()),
        _ => Ok(said),
    }
}

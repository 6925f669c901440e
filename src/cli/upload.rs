//! `flowtap client pcap -t FILE`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use flowtap_api::client::ClientError;

use super::connect::{Remote, Session};
use super::unsupported;
use crate::exit::{CommandResult, Failure, Status};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// pcap or pcapng file, or gzip of either
    #[arg(short, long, value_name = "FILE")]
    trace: PathBuf,
}

impl Remote for Upload {
    async fn run(self, session: Session) -> CommandResult {
        let uploaded = session.client.upload_file(&self.trace).await;
        // What is wrong then is the file, not what was asked.
        let report = uploaded.map_err(|error| match error {
            ClientError::BadRequest { .. } => Failure::new(Status::Failure, error),
            other => other.into(),
        })?;
        let name = self.trace.display();
        let packets = report.packets;
        let note = unsupported::note(packets, report.unsupported).with_context(|| name.to_string())?;
        Ok(output::line(format_args!(
            "{name} was successfully imported: {packets} packets{note}"
        ))?)
    }
}

//! `flowtap client pcap -t FILE`.

use std::path::PathBuf;

use clap::Args;

use super::connect::{Remote, Session};
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// pcap or pcapng file, or gzip of either
    #[arg(short, long, value_name = "FILE")]
    trace: PathBuf,
}

impl Remote for Upload {
    async fn run(self, session: Session) -> CommandResult {
        let report = session.client.upload_file(&self.trace).await?;
        let name = self.trace.display();
        Ok(output::line(format_args!(
            "{name} was successfully imported: {} packets",
            report.packets
        ))?)
    }
}

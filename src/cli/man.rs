//! `flowtap man`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_mangen::Man as Page;

use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write flowtap.1, flowtap-up.1 and so on into this directory instead of printing flowtap(1)
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> CommandResult {
        let command = super::Cli::command();
        if let Some(directory) = self.dir {
            let failed = || format!("failed to write manual pages to {}", directory.display());
            std::fs::create_dir_all(&directory).with_context(failed)?;
            return Ok(clap_mangen::generate_to(command, &directory).with_context(failed)?);
        }
        let mut page = Vec::new();
        Page::new(command).render(&mut page)?;
        let mut out = output::stdout();
        out.write_all(&page)?;
        Ok(out.flush()?)
    }
}

//! `flowtap check`.

use clap::Args;

use super::up::Settings;
use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    settings: Settings,
}

impl Check {
    pub(crate) fn run(self) -> CommandResult {
        let loaded = self.settings.load_or_usage()?;
        match loaded.file {
            Some(file) => output::line(format_args!("{}: ok", file.display()))?,
            None => output::line(format_args!("no configuration file: the defaults are ok"))?,
        }
        Ok(())
    }
}

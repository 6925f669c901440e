//! `flowtap completion SHELL`.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::exit::CommandResult;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// For bash: flowtap completion bash > ~/.local/share/bash-completion/completions/flowtap
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> CommandResult {
        // Into memory first: clap_complete panics where writing fails, for instance into `head`.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "flowtap", &mut script);
        let mut out = output::stdout();
        out.write_all(&script)?;
        Ok(out.flush()?)
    }
}

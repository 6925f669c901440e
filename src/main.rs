//! The `flowtap` binary: the command line, the configuration, start and ordered stop.

mod cli;
mod config;
mod exit;
mod output;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    exit::report(cli::Cli::parse().run())
}

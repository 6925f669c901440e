//! How the process ends: its exit status, and the one line that says why.

use std::io;
use std::process::ExitCode;

/// What a command failed of; the number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// Anything without a number of its own.
    Failure = 1,
    /// The command line makes no sense; clap's own status.
    Usage = 2,
    /// What was asked for is not there, or the answer is empty and `--fail-empty` was given.
    NotFound = 3,
    /// The server refused.
    Denied = 4,
    /// No server answered.
    Unreachable = 5,
    /// `--timeout` ran out; timeout(1)'s own status.
    TimedOut = 124,
}

/// An error with its exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    error: anyhow::Error,
}

/// What every command returns.
pub(crate) type CommandResult = Result<(), Failure>;

impl Failure {
    pub(crate) fn new(status: Status, error: impl Into<anyhow::Error>) -> Self {
        Self { status, error: error.into() }
    }

    /// A failure told by `message` alone.
    pub(crate) fn message(status: Status, message: impl Into<String>) -> Self {
        Self::new(status, anyhow::Error::msg(message.into()))
    }
}

/// What carries no status of its own is a plain failure.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Status::Failure, error)
    }
}

/// Prints what went wrong on stderr, one line, and turns it into the exit status.
///
/// A reader that has had enough, as in `flowtap flows | head`, is no failure.
pub(crate) fn report(result: CommandResult) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if is_broken_pipe(&failure.error) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("flowtap: {:#}", failure.error);
            ExitCode::from(failure.status as u8)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

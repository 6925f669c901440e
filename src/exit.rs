//! How the process ends: its exit status, and the one line that says why.

use std::io;
use std::process::ExitCode;

use flowtap_api::client::ClientError;

use crate::output::text::printable;

/// What a command failed of; the number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// Anything without a number of its own.
    Failure = 1,
    /// The command line makes no sense, to clap (whose own status it is) or to the server that was asked;
    /// or the configuration makes none.
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
    /// `None` if it has been told.
    error: Option<anyhow::Error>,
}

/// What every command returns.
pub(crate) type CommandResult = Result<(), Failure>;

impl Failure {
    /// `error`, with a status that it does not carry itself.
    pub(crate) fn new(status: Status, error: impl Into<anyhow::Error>) -> Self {
        Self {
            status,
            error: Some(error.into()),
        }
    }

    /// A failure told by `message` alone.
    pub(crate) fn message(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            error: Some(anyhow::Error::msg(message.into())),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Prints what went wrong on stderr, one line, now: for who goes on with something else. What is left
    /// is the exit status.
    pub(crate) fn tell(self) -> Self {
        if let Some(error) = &self.error {
            eprintln!("flowtap: {}", one_line(error));
        }
        Self { error: None, ..self }
    }
}

/// The client's errors carry their status; all others are plain failures.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let status = match error
            .chain()
            .find_map(|cause| cause.downcast_ref::<ClientError>())
        {
            Some(ClientError::Endpoint { .. } | ClientError::BadRequest { .. }) => Status::Usage,
            Some(ClientError::NotFound { .. }) => Status::NotFound,
            Some(ClientError::Denied { .. }) => Status::Denied,
            Some(ClientError::Unreachable { .. }) => Status::Unreachable,
            _ => Status::Failure,
        };
        Self::new(status, error)
    }
}

/// Prints what went wrong, unless that was told before, and turns it into the exit status.
///
/// A reader that has had enough, as in `flowtap flows | head`, is no failure.
pub(crate) fn report(result: CommandResult) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.error.as_ref().is_some_and(is_broken_pipe) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.tell().status as u8),
    }
}

/// The error and its causes. Some errors already tell their cause, which is then not told again.
fn one_line(error: &anyhow::Error) -> String {
    let told = error.chain().map(ToString::to_string).reduce(|told, cause| {
        if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    });
    // A server tells what names it was given.
    printable(&told.unwrap_or_default().replace('\n', "; ")).into_owned()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error
        .chain()
        .any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_are_told_once_in_one_line() {
        let inner = anyhow::anyhow!("address in use");
        assert_eq!(
            one_line(&inner.context("failed to listen: address in use; stop it")),
            "failed to listen: address in use; stop it"
        );
        let inner = anyhow::anyhow!("first\nsecond");
        assert_eq!(one_line(&inner.context("failed")), "failed: first; second");
    }

    #[test]
    fn a_closed_stdout_is_no_failure_and_other_errors_are() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(closed())));
        assert!(is_broken_pipe(
            &Err::<(), _>(closed()).context("wrapped").expect_err("an error")
        ));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe, in words only")));
    }
}

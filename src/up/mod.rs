//! `flowtap up`: everything on one host, from what can fail to what works, and back in order.

mod banner;
mod captures;
mod inputs;
mod observe;
mod open;
mod running;
mod signals;
mod stop;
mod ticker;
mod topology;
mod upload;

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;
use open::Opened;
use signals::StopSignals;

/// Runs until a signal asks it to stop, and then to the end of an ordered stop.
///
/// # Errors
/// What keeps it from starting, with nothing started; or who did not stop in time.
pub(crate) fn run(config: Config) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(config.log_filter()?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config));
    // Whoever was late holds a thread: it ends with the process, not before it.
    runtime.shutdown_background();
    result
}

/// Lets the process open as many files as it ever may: each network namespace that is watched takes
/// five, and services are started with a soft limit of 1,024.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

async fn serve(config: Config) -> Result<()> {
    // From here on a signal asks for an ordered stop; a second one changes nothing.
    let mut signals = StopSignals::listen()?;

    let opened = Opened::open(config).await?;
    let banner = opened.banner()?;
    let running = opened.start()?;
    // A closed stdout is no reason not to run.
    let _ = writeln!(io::stdout(), "{banner}");

    let signal = signals.recv().await;
    tracing::info!("stopping on {signal}");
    running.stop().await
}

//! `flowtap version`.

use crate::exit::CommandResult;
use crate::output;

pub(crate) fn run() -> CommandResult {
    Ok(output::line(format_args!(
        "flowtap {}",
        env!("CARGO_PKG_VERSION")
    ))?)
}

//! What commands print: data on stdout, talk on stderr.

pub(crate) mod json;
pub(crate) mod text;
pub(crate) mod time;

use std::io::{self, IsTerminal as _, Write};

use crate::exit::{Failure, Status};

/// Locked, buffered stdout. Flush it before the command ends: an error on the way is then seen.
pub(crate) fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Refuses to write a capture to a terminal.
///
/// # Errors
/// [`Status::Usage`], with two ways to do it right.
pub(crate) fn refuse_terminal() -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::message(
            Status::Usage,
            "a capture is not written to a terminal; add `> FILE.pcap`, or `| tcpdump -r -`",
        ));
    }
    Ok(())
}

/// Writes one JSON document to stdout, indented by two blanks as Skydive's client does.
///
/// # Errors
/// Those of the write.
pub(crate) fn document(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes one line to stdout at once.
///
/// # Errors
/// Those of the write.
pub(crate) fn line(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text)?;
    out.write_all(b"\n")?;
    out.flush()
}

//! Files with packets that no flow is made of.

use anyhow::{Result, bail};

/// What is said after the number of a file's packets if some of them have a link type that is not supported.
///
/// # Errors
/// All of them have.
pub(super) fn note(packets: u64, unsupported: u64) -> Result<String> {
    match unsupported {
        0 => Ok(String::new()),
        all if all == packets => {
            bail!("none of its {packets} packets was kept: their link type is not supported")
        }
        some => Ok(format!(
            ", {some} of them dropped: their link type is not supported"
        )),
    }
}

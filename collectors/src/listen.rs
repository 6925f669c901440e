//! Ports for captures that others send to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::CollectError;

/// Binds to the port that was asked for, or to the first of `range` that is free.
///
/// # Errors
/// Those of `bind`; [`CollectError::NoPort`] if the whole range is taken.
pub(crate) fn listen<T>(
    protocol: &'static str,
    address: IpAddr,
    port: Option<u16>,
    range: RangeInclusive<u16>,
    bind: impl Fn(SocketAddr) -> Result<T, CollectError>,
) -> Result<T, CollectError> {
    if let Some(port) = port {
        return bind(SocketAddr::new(address, port));
    }
    for port in range.clone() {
        match bind(SocketAddr::new(address, port)) {
            Err(CollectError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    Err(CollectError::NoPort {
        protocol,
        address,
        first: *range.start(),
        last: *range.end(),
    })
}

/// Runs a reader that is made of tasks to its end, on the calling thread.
pub(crate) fn block_on(
    what: &str,
    reader: impl Future<Output = Result<(), CollectError>>,
) -> Result<(), CollectError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CollectError::Read {
        what: what.to_owned(),
        source,
    })?;
    runtime.block_on(reader)
}

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
        return bind(SocketAddr::new(address, port)).map_err(taken);
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

/// The port was named by a capture, which may be at several nodes: it listens there itself then.
fn taken(error: CollectError) -> CollectError {
    match error {
        CollectError::Listen {
            protocol,
            address,
            source,
            ..
        } if source.kind() == io::ErrorKind::AddrInUse => CollectError::Listen {
            protocol,
            address,
            source,
            hint: "; a program or a capture listens there, perhaps this one at another of its nodes: leave --port \
                   out for a port at each, or choose another",
        },
        other => other,
    }
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

//! The sockets of one watcher.

use std::io;
use std::path::Path;

use crate::watch::netns::{NamespaceId, inside};

use super::link::{self, Link};
use super::numbers::*;
use super::socket::{BUFFER, Socket, generic};

/// Bytes of the queue that says when neighbours or routes changed: what is in it is not used.
const CHANGES_QUEUE: usize = 256 * 1024;

/// Interfaces that the kernel puts into each new namespace, once the module is loaded.
const FALLBACKS: [&str; 9] = [
    "erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0",
];

/// The sockets of one watcher, four in all.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Hears of links, addresses and numbers of namespaces.
    pub(super) links: Socket,
    /// Hears of neighbours and routes. Apart from the first, so that a storm of them costs no link.
    pub(super) changes: Socket,
    /// Asks rtnetlink.
    pub(super) requests: Socket,
    /// Asks ethtool.
    pub(super) generic: Socket,
}

impl Sockets {
    /// Opens them inside the namespace `id` at `path`, or in this one. `queue` is the size of the queue
    /// for links.
    ///
    /// # Errors
    /// Those of entering and of the sockets.
    pub(super) fn open(path: Option<&Path>, id: NamespaceId, queue: usize) -> io::Result<Self> {
        let open = || {
            Ok(Self {
                links: Socket::hearing(
                    &[
                        RTNLGRP_LINK,
                        RTNLGRP_IPV4_IFADDR,
                        RTNLGRP_IPV6_IFADDR,
                        RTNLGRP_NSID,
                    ],
                    queue,
                )?,
                changes: Socket::hearing(
                    &[RTNLGRP_NEIGH, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE],
                    CHANGES_QUEUE,
                )?,
                requests: Socket::asking(None)?,
                generic: generic()?,
            })
        };
        match path {
            Some(path) => inside(path, id, open),
            None => open(),
        }
    }
}

/// Whether the namespace `id` at `path` holds more than what the kernel puts into each: those of
/// sandboxed processes, of which a desktop or a browser has dozens, do not.
///
/// # Errors
/// Those of entering and of asking.
pub(in crate::watch) fn holds_something(path: &Path, id: NamespaceId) -> io::Result<bool> {
    let mut requests = inside(path, id, || Socket::asking(None))?;
    let mut buffer = vec![0; BUFFER];
    let listed = requests.list(
        &mut buffer,
        &link::request(None),
        || false,
        |found, message| {
            *found |= Link::parse(message.body)
                .is_some_and(|link| !link.is_loopback() && !FALLBACKS.contains(&link.name.as_str()));
        },
    );
    // What was missed in one that changes is found at the next look: it is looked into again.
    listed.map(|listed| listed.list)
}

//! Why a source cannot be opened or read.

use std::net::SocketAddr;

/// Why a source could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A socket could not be bound.
    #[error("failed to listen on {protocol} {address}: {source}{hint}")]
    Listen {
        /// `TCP` or `UDP`, or `flowtap-pcap` where files are handed over to a pcap socket.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
        /// What to do about it, beginning with `; `, or nothing.
        hint: &'static str,
    },
    /// An interface could not be opened.
    #[error("failed to open `{interface}`: {source}{hint}")]
    Open {
        /// Its name.
        interface: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
        /// What to do about it, beginning with `; `, or nothing.
        hint: &'static str,
    },
    /// Packets of the interface begin with a header that flowtap does not read.
    #[error("`{interface}` carries packets of a kind that flowtap does not read (ARPHRD {hardware})")]
    LinkType {
        /// Its name.
        interface: String,
        /// Its hardware type, `ARPHRD_*` of `linux/if_arp.h`.
        hardware: u16,
    },
    /// All ports are taken.
    #[error(
        "no {protocol} port from {first} to {last} is free on {address}; delete a capture that listens there, or name a port with --port"
    )]
    NoPort {
        /// `TCP` or `UDP`, or `flowtap-pcap` where files are handed over to a pcap socket.
        protocol: &'static str,
        /// Where.
        address: std::net::IpAddr,
        /// The first that was tried.
        first: u16,
        /// The last.
        last: u16,
    },
    /// The capture type is not built in.
    #[error("{0}")]
    Unavailable(String),
    /// The filter is no pcap-filter(7) expression.
    #[error("not a valid BPF expression: {0}")]
    Filter(String),
    /// Reading failed for good.
    #[error("failed to read {what}: {source}")]
    Read {
        /// From what.
        what: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl CollectError {
    /// [`CollectError::Listen`], with a hint where the system's error has a usual cause.
    pub(crate) fn listen(protocol: &'static str, address: SocketAddr, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
        let hint = match source.kind() {
            AddrInUse => "; another program listens there: stop it or choose another port",
            AddrNotAvailable => "; no interface of this host has that address",
            PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            _ => "",
        };
        Self::Listen {
            protocol,
            address,
            source,
            hint,
        }
    }

    /// [`CollectError::Open`], with a hint where the system's error has a usual cause.
    pub(crate) fn open(interface: &str, source: std::io::Error) -> Self {
        let hint = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "; capturing needs CAP_NET_RAW, in other namespaces CAP_SYS_ADMIN"
            }
            Some(libc::ENODEV | libc::ENXIO) => "; the interface is gone",
            Some(libc::ENOENT) => "; the interface or its network namespace is gone",
            Some(libc::ENOMEM) => "; there is no memory for a ring: end other captures",
            _ => "",
        };
        Self::Open {
            interface: interface.to_owned(),
            source,
            hint,
        }
    }
}

//! Where a database listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::OvsdbError;

/// Where a database listens.
///
/// Read from Open vSwitch's form and from Skydive's: `unix:/path`, `unix:///path`, `/path`,
/// `tcp:HOST:PORT`, `tcp://HOST:PORT` and `HOST:PORT`; an IPv6 host stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `HOST:PORT`; the host may be a name.
    Tcp(String),
}

impl FromStr for Address {
    type Err = OvsdbError;

    fn from_str(text: &str) -> Result<Self, OvsdbError> {
        let refused = || OvsdbError::Address(text.to_owned());
        let strip = |prefix: &str| {
            let rest = text.strip_prefix(prefix)?;
            Some(rest.strip_prefix("//").unwrap_or(rest))
        };
        if let Some(path) = strip("unix:").or_else(|| text.starts_with('/').then_some(text)) {
            return if path.is_empty() || path.contains('\0') {
                Err(refused())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let place = strip("tcp:").unwrap_or(text);
        let (host, port) = place.rsplit_once(':').ok_or_else(refused)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let host_is_fine = !host.is_empty() && (bracketed || !host.contains([':', '/', ' ']));
        let port_is_fine = port.parse::<u16>().is_ok_and(|port| port != 0);
        if host_is_fine && port_is_fine {
            Ok(Self::Tcp(place.to_owned()))
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for Address {
    /// As Open vSwitch writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(place) => write!(f, "tcp:{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, meant) in [
            ("unix:/run/openvswitch/db.sock", "unix:/run/openvswitch/db.sock"),
            (
                "unix:///var/run/openvswitch/db.sock",
                "unix:/var/run/openvswitch/db.sock",
            ),
            ("/tmp/db.sock", "unix:/tmp/db.sock"),
            ("unix:db.sock", "unix:db.sock"),
            ("tcp:127.0.0.1:6640", "tcp:127.0.0.1:6640"),
            ("tcp://ovs-1:6640", "tcp:ovs-1:6640"),
            ("127.0.0.1:6640", "tcp:127.0.0.1:6640"),
            ("tcp:[::1]:6640", "tcp:[::1]:6640"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), meant, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_form_to_use() {
        for text in [
            "",
            "unix:",
            "tcp:",
            "tcp:6640",
            "tcp:host:",
            "tcp:host:0",
            "tcp:host:70000",
            "tcp:::1:6640",
            "ssl:host:6640",
            "db.sock",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("unix:PATH or tcp:HOST:PORT"), "{text}: {error}");
        }
    }
}

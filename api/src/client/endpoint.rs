//! Where an analyzer is.

use std::fmt;

use super::error::ClientError;

/// The port of an analyzer, where none is given.
pub const DEFAULT_PORT: u16 = 8082;

/// The address of an analyzer: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
}

impl Endpoint {
    /// Reads `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `http://HOST[:PORT]`.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`]. `https` is refused: this client has no TLS.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let error = |reason: &str| ClientError::Endpoint {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        let trimmed = text.trim().trim_end_matches('/');
        let authority = match trimmed.split_once("://") {
            None => trimmed,
            Some(("http", authority)) => authority,
            Some(("https", _)) => return Err(error("TLS is not supported; use http://")),
            Some(_) => return Err(error("write it as HOST:PORT or http://HOST:PORT")),
        };
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(error("write it as HOST:PORT or http://HOST:PORT"));
        }
        let authority = match authority.parse::<std::net::Ipv6Addr>() {
            Ok(_) => format!("[{authority}]"),
            Err(_) => authority.to_owned(),
        };
        let behind_address = authority.rfind(']').map_or(0, |end| end + 1);
        let base = match authority[behind_address..].split_once(':') {
            None => format!("http://{authority}:{DEFAULT_PORT}"),
            Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => {
                format!("http://{authority}")
            }
            Some(_) => return Err(error("the port is a number from 1 to 65535")),
        };
        reqwest::Url::parse(&base).map_err(|source| error(&source.to_string()))?;
        Ok(Self { base })
    }

    /// The URL of `path`, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// `text` as one segment of a path: all but the unreserved characters of RFC 3986 §2.3 escaped.
pub(super) fn path_segment(text: &str) -> String {
    use fmt::Write as _;
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_people_write() {
        for (text, base) in [
            ("analyzer1", "http://analyzer1:8082"),
            ("analyzer1:80", "http://analyzer1:80"),
            (" http://10.0.0.1:8082/ ", "http://10.0.0.1:8082"),
            ("::1", "http://[::1]:8082"),
            ("[::1]", "http://[::1]:8082"),
            ("[fe80::1]:9", "http://[fe80::1]:9"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), base, "{text}");
        }
        for text in [
            "",
            "https://a",
            "ftp://a",
            "a:b",
            "a:0",
            "a:70000",
            "a/b",
            "user@a",
            "[::1",
            "a b",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(path_segment("a/../b?c#d é"), "a%2F..%2Fb%3Fc%23d%20%C3%A9");
    }
}

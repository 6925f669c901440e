//! What a client says of itself when it connects: headers, or the same names in lower case as query
//! parameters, for browsers set no headers.

use std::net::SocketAddr;

use axum::extract::Query;
use axum::http::{HeaderMap, Uri};

use crate::failure::{Code, Failure};

/// The namespace of all messages about the graph.
pub(super) const GRAPH: &str = "Graph";

/// What a client says of itself.
#[derive(Debug)]
pub(super) struct Handshake {
    /// Its name among those of its endpoint.
    pub(super) host: String,
    /// What it is: `skydive-python-client`.
    pub(super) client_type: String,
    /// A query that gives the graph that it wants; empty: all of it.
    pub(super) filter: String,
    /// It wants entries that changed, not whole nodes.
    pub(super) partial: bool,
    /// It wants to hear of the graph.
    pub(super) hears_graph: bool,
    /// What it made goes when it goes.
    pub(super) delete_on_disconnect: bool,
}

impl Handshake {
    pub(super) fn read(headers: &HeaderMap, uri: &Uri, peer: Option<SocketAddr>) -> Result<Self, Failure> {
        let Query(parameters) =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|error| bad(error.body_text()))?;
        let all = |name: &str| -> Vec<String> {
            let header = headers.get_all(name).into_iter();
            // A filter may name things in any language.
            let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            let parameter = parameters.iter().filter(|(key, _)| key == name);
            let given = header.chain(parameter.map(|(_, value)| value.clone()));
            given.filter(|value| !value.is_empty()).collect()
        };
        let one = |name: &str| all(name).into_iter().next().unwrap_or_default();

        let client_type = one("x-client-type");
        if client_type.is_empty() {
            return Err(bad("X-Client-Type is required, as a header or a query parameter"));
        }
        match one("x-client-protocol").as_str() {
            "" | "json" => {}
            other => {
                return Err(bad(format!(
                    "X-Client-Protocol '{other}' is not spoken here, use json"
                )));
            }
        }
        let partial = match one("x-update-policy").to_ascii_lowercase().as_str() {
            "" | "full" => false,
            "partial" => true,
            other => {
                return Err(bad(format!(
                    "invalid update policy '{other}', use full or partial"
                )));
            }
        };
        let delete_on_disconnect = match one("x-persistence-policy").as_str() {
            "" | "Persistent" => false,
            "DeleteOnDisconnect" => true,
            other => {
                let detail =
                    format!("invalid persistence policy '{other}', use Persistent or DeleteOnDisconnect");
                return Err(bad(detail));
            }
        };
        let host = match one("x-host-id") {
            host if !host.is_empty() => host,
            _ => peer.map(|peer| peer.to_string()).unwrap_or_default(),
        };
        let namespaces = all("x-websocket-namespace");
        let mut namespaces = namespaces
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .peekable();
        let wants_all = namespaces.peek().is_none();
        Ok(Self {
            host,
            client_type,
            filter: one("x-gremlin-filter"),
            partial,
            hears_graph: wants_all || namespaces.any(|namespace| matches!(namespace, GRAPH | "*")),
            delete_on_disconnect,
        })
    }

    /// Whom what it makes is from.
    pub(super) fn origin(&self) -> String {
        format!("{}.{}", self.client_type, self.host)
    }
}

fn bad(detail: impl Into<String>) -> Failure {
    Failure::new(Code::BadParameter, detail, "")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(headers: &[(&'static str, &'static str)], uri: &str) -> Result<Handshake, Failure> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let peer = Some(([127, 0, 0, 1], 4000).into());
        Handshake::read(&headers.collect(), &uri.parse().unwrap(), peer)
    }

    #[test]
    fn headers_or_query_parameters() {
        let by_header = read(
            &[
                ("X-Client-Type", "cli"),
                ("X-Host-ID", "a"),
                ("X-Gremlin-Filter", "G.V().SubGraph()"),
                ("X-Update-Policy", "Partial"),
                ("X-Persistence-Policy", "DeleteOnDisconnect"),
            ],
            "/ws/pubsub",
        );
        let by_query = read(
            &[],
            "/ws/pubsub?x-client-type=cli&x-host-id=a&x-gremlin-filter=G.V().SubGraph()&x-update-policy=partial\
             &x-persistence-policy=DeleteOnDisconnect",
        );
        for handshake in [by_header.unwrap(), by_query.unwrap()] {
            assert_eq!(handshake.origin(), "cli.a");
            assert_eq!(handshake.filter, "G.V().SubGraph()");
            assert!(handshake.partial && handshake.delete_on_disconnect && handshake.hears_graph);
        }
        let plain = read(
            &[("X-Client-Type", "cli"), ("X-Client-Protocol", "json")],
            "/ws/subscriber",
        )
        .unwrap();
        assert_eq!(plain.host, "127.0.0.1:4000");
        assert!(!plain.partial && !plain.delete_on_disconnect && plain.hears_graph);
    }

    #[test]
    fn namespaces_may_leave_the_graph_out() {
        for (namespaces, hears) in [
            ("Graph", true),
            ("*", true),
            ("Flow, Graph", true),
            ("Flow", false),
        ] {
            let headers = [("X-Client-Type", "cli"), ("X-Websocket-Namespace", namespaces)];
            assert_eq!(read(&headers, "/").unwrap().hears_graph, hears, "{namespaces}");
        }
    }
}

//! The OpenAPI document. `api/openapi.json` is its committed copy; a test fails when they differ.

use utoipa::OpenApi;

use crate::{ops, server, skydive, v1, ws};

/// Made from the handlers' own annotations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "flowtap",
        description = "Flows, packets and topology over HTTP. Paths directly under `/api` are Skydive's, with its bodies \
            and plain-text errors; `/api/v1` is flowtap's own, with `application/problem+json` (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        skydive::status::info,
        skydive::status::status,
        skydive::config::value,
        skydive::login::login,
        skydive::topology::whole,
        skydive::topology::query,
        skydive::nodes::list,
        skydive::nodes::get,
        skydive::nodes::create,
        skydive::nodes::patch,
        skydive::nodes::delete,
        skydive::edges::list,
        skydive::edges::get,
        skydive::edges::create,
        skydive::edges::patch,
        skydive::edges::delete,
        skydive::node_rules::list,
        skydive::node_rules::get,
        skydive::node_rules::create,
        skydive::node_rules::patch,
        skydive::node_rules::delete,
        skydive::edge_rules::list,
        skydive::edge_rules::get,
        skydive::edge_rules::create,
        skydive::edge_rules::patch,
        skydive::edge_rules::delete,
        skydive::captures::list,
        skydive::captures::get,
        skydive::captures::create,
        skydive::captures::patch,
        skydive::captures::delete,
        skydive::upload::upload,
        ws::subscriber,
        ws::publisher,
        ws::pubsub,
        v1::flows::list,
        v1::packets::list,
        v1::events::events,
        v1::captures::explain,
        v1::captures::events,
        server::openapi,
        ops::health::healthz,
        ops::health::readyz,
        ops::metrics::metrics,
        ops::health::version,
    ),
    tags(
        (name = "flows", description = "Flows and their packets"),
        (name = "query", description = "Gremlin"),
        (name = "topology", description = "The graph, and what users add to it"),
        (name = "captures", description = "What is captured"),
        (name = "websocket", description = "The graph as it changes, in both directions"),
        (name = "status", description = "How flowtap fares"),
        (name = "operation", description = "For operators and their machines"),
    )
)]
pub(crate) struct Document;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_route_is_in_the_document() {
        let routes: BTreeSet<String> = server::routes()
            .into_iter()
            .map(|(path, _)| path.to_owned())
            .collect();
        let described: BTreeSet<String> = Document::openapi().paths.paths.into_keys().collect();
        assert_eq!(routes, described);
    }

    /// `FLOWTAP_UPDATE_OPENAPI=1 cargo test -p flowtap-api` writes the copy anew.
    #[test]
    fn the_committed_copy_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let current = Document::openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("FLOWTAP_UPDATE_OPENAPI").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == current,
            "api/openapi.json is out of date: run FLOWTAP_UPDATE_OPENAPI=1 cargo test -p flowtap-api"
        );
    }
}

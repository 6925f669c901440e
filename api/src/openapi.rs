//! The OpenAPI document. `api/openapi.json` is its committed copy; a test fails when they differ.

use utoipa::OpenApi;

use crate::{ops, server, skydive, v1};

/// Made from the handlers' own annotations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "flowtap",
        description = "Flows and packets over HTTP. Paths directly under `/api` are Skydive's, with its bodies \
            and plain-text errors; `/api/v1` is flowtap's own, with `application/problem+json` (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        skydive::status::info,
        skydive::status::status,
        skydive::topology::query,
        skydive::captures::list,
        skydive::captures::get,
        skydive::upload::upload,
        v1::flows::list,
        v1::packets::list,
        server::openapi,
        ops::health::healthz,
        ops::health::readyz,
        ops::metrics::metrics,
        ops::health::version,
    ),
    tags(
        (name = "flows", description = "Flows and their packets"),
        (name = "query", description = "Gremlin"),
        (name = "captures", description = "What is captured"),
        (name = "status", description = "How flowtap fares"),
        (name = "operation", description = "For operators and their machines"),
    )
)]
pub(crate) struct Document;

//! The router: every path, and what stands around all of them.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use utoipa::OpenApi as _;

use crate::failure::{Code, Failure, PlainFailure, ProblemFailure};
use crate::feed;
use crate::openapi::Document;
use crate::ops::http_metrics::{self, HttpMetrics};
use crate::ops::{health, metrics};
use crate::runner::Runner;
use crate::services::Services;
use crate::skydive::{
    captures, config, edge_rules, edges, login, node_rules, nodes, status, topology, upload,
};
use crate::v1::events::{self, EventLog};
use crate::v1::{self, flows, packets};
use crate::wire::NEXT_CURSOR_HEADER;
use crate::ws::{self, Hub};

/// Bytes of a JSON body.
const JSON_LIMIT: usize = 1 << 20;

/// What all handlers share.
pub(crate) struct App {
    pub(crate) services: Services,
    pub(crate) runner: Runner,
    pub(crate) uploads: Semaphore,
    /// Whose turn it is to change declarations.
    pub(crate) declaring: Arc<Semaphore>,
    /// Who is connected by WebSocket.
    pub(crate) hub: Arc<Hub>,
    /// Whose turn it is to work out a part of the graph, or to write all of it.
    pub(crate) turns: Arc<Semaphore>,
    /// What readers that come back have missed.
    pub(crate) events: Arc<EventLog>,
    /// Places for readers of events.
    pub(crate) event_streams: Arc<Semaphore>,
    pub(crate) http_metrics: HttpMetrics,
}

/// Every path. The router is made from this list, and so is the test that holds the OpenAPI document
/// to it.
pub(crate) fn routes() -> Vec<(&'static str, MethodRouter<Arc<App>>)> {
    vec![
        ("/api", get(status::info)),
        ("/api/status", get(status::status)),
        ("/api/config/{key}", get(config::value)),
        ("/login", post(login::login)),
        ("/api/topology", get(topology::whole).post(topology::query)),
        ("/api/node", get(nodes::list).post(nodes::create)),
        (
            "/api/node/{id}",
            get(nodes::get).patch(nodes::patch).delete(nodes::delete),
        ),
        ("/api/edge", get(edges::list).post(edges::create)),
        (
            "/api/edge/{id}",
            get(edges::get).patch(edges::patch).delete(edges::delete),
        ),
        ("/api/noderule", get(node_rules::list).post(node_rules::create)),
        (
            "/api/noderule/{id}",
            get(node_rules::get)
                .patch(node_rules::patch)
                .delete(node_rules::delete),
        ),
        ("/api/edgerule", get(edge_rules::list).post(edge_rules::create)),
        (
            "/api/edgerule/{id}",
            get(edge_rules::get)
                .patch(edge_rules::patch)
                .delete(edge_rules::delete),
        ),
        ("/api/capture", get(captures::list).post(captures::create)),
        (
            "/api/capture/{id}",
            get(captures::get).patch(captures::patch).delete(captures::delete),
        ),
        (
            "/api/pcap",
            post(upload::upload).layer(DefaultBodyLimit::disable()),
        ),
        ("/ws/subscriber", get(ws::subscriber)),
        ("/ws/publisher", get(ws::publisher)),
        ("/ws/pubsub", get(ws::pubsub)),
        ("/api/v1/flows", get(flows::list)),
        ("/api/v1/packets", get(packets::list)),
        ("/api/v1/events", get(events::events)),
        ("/api/v1/captures/explain", get(v1::captures::explain)),
        ("/api/v1/captures/{id}/events", get(v1::captures::events)),
        ("/api/openapi.json", get(openapi)),
        ("/healthz", get(health::healthz)),
        ("/readyz", get(health::readyz)),
        ("/metrics", get(metrics::metrics)),
        ("/version", get(health::version)),
    ]
}

/// The whole HTTP interface of an analyzer.
pub fn router(services: Services) -> Router {
    let app = Arc::new(App {
        runner: Runner::new(&services.limits),
        uploads: Semaphore::new(services.limits.uploads),
        declaring: Arc::new(Semaphore::new(1)),
        hub: Arc::default(),
        turns: Arc::new(Semaphore::new(feed::TURNS)),
        events: Arc::default(),
        event_streams: Arc::new(Semaphore::new(events::MAX_STREAMS)),
        http_metrics: HttpMetrics::default(),
        services,
    });
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, route)| router.route(path, route));
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(JSON_LIMIT))
        .layer(middleware::from_fn_with_state(app.clone(), http_metrics::observe))
        .layer(CompressionLayer::new())
        .layer(cors())
        .with_state(app)
}

/// Any page may read, as Skydive lets it: it needs no cookie here, and what must be kept from some
/// needs a token in a header.
fn cors() -> CorsLayer {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let headers = [
        HeaderName::from_static("x-requested-with"),
        header::CONTENT_TYPE,
        header::AUTHORIZATION,
        HeaderName::from_static("x-auth-token"),
        HeaderName::from_static("x-resource-ttl"),
        HeaderName::from_static("last-event-id"),
    ];
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(methods)
        .allow_headers(headers)
        .expose_headers([HeaderName::from_static(NEXT_CURSOR_HEADER)])
}

/// Skydive's clients read errors as text, ours as problem documents; the path tells which it is.
fn face(path: &str, failure: Failure) -> Response {
    let ours = !path.starts_with("/api") || path.starts_with("/api/v1");
    if ours {
        ProblemFailure(failure).into_response()
    } else {
        PlainFailure(failure).into_response()
    }
}

async fn not_found(uri: Uri) -> Response {
    let path = uri.path();
    if let Some(location) = without_trailing_slash(&uri) {
        // 308 keeps the method and the body, which 301 would not.
        return (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response();
    }
    let failure = Failure::new(
        Code::NotFound,
        format!("there is no `{path}` here"),
        "see /api/openapi.json",
    );
    face(path, failure)
}

/// The same place without slashes at its end, if there were any. Only for paths that begin with a
/// plain name: `//example.org/` must not become a redirect to another host.
fn without_trailing_slash(uri: &Uri) -> Option<HeaderValue> {
    let path = uri.path().strip_suffix('/')?.trim_end_matches('/');
    path.strip_prefix('/')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))?;
    let location = uri
        .query()
        .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    HeaderValue::from_str(&location).ok()
}

async fn method_not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let hint = "the `Allow` header lists what it takes";
    face(
        path,
        Failure::new(
            Code::MethodNotAllowed,
            format!("`{path}` takes no {method}"),
            hint,
        ),
    )
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "operation",
    responses((status = 200, description = "The OpenAPI 3.1 document", body = serde_json::Value)),
)]
pub(crate) async fn openapi(State(_): State<Arc<App>>) -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

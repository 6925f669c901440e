//! `/healthz`, `/readyz`, `/version`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::server::App;
use crate::wire::{Readiness, VersionInfo};

/// Alive: the process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: every part does its work.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "All parts are ready", body = Readiness),
        (status = 503, description = "At least one is not", body = Readiness),
    )
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let parts = app.services.observe.parts();
    let ready = parts.values().all(|part| part.ready);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, parts }))
}

/// What runs here.
#[utoipa::path(
    get,
    path = "/version",
    tag = "operation",
    responses((status = 200, description = "Version and revision", body = VersionInfo)),
)]
pub(crate) async fn version(State(app): State<Arc<App>>) -> Json<VersionInfo> {
    let identity = &app.services.identity;
    Json(VersionInfo {
        version: identity.version.clone(),
        revision: identity.revision.clone(),
    })
}

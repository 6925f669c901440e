//! `/api/capture`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use flowtap_capture::Capture;

use crate::failure::{Code, Failure, PlainFailure};
use crate::server::App;

/// Skydive answers an object, not a list.
type CaptureMap = BTreeMap<String, Capture>;

/// All captures, by UUID.
#[utoipa::path(
    get,
    path = "/api/capture",
    tag = "captures",
    responses((status = 200, description = "Captures by UUID", body = BTreeMap<String, Capture>)),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<CaptureMap> {
    let captures = app.services.captures.list();
    Json(
        captures
            .into_iter()
            .map(|capture| (capture.uuid.clone(), capture))
            .collect(),
    )
}

/// One capture.
#[utoipa::path(
    get,
    path = "/api/capture/{id}",
    tag = "captures",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 200, description = "The capture", body = Capture),
        (status = 404, description = "`Capture 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Capture>, PlainFailure> {
    let found = app.services.captures.get(&id).map(Json);
    Ok(found.ok_or_else(|| Failure::new(Code::NotFound, format!("Capture '{id}' not found"), ""))?)
}

/// Creating and deleting captures.
pub(crate) async fn not_yet() -> ([(HeaderName, &'static str); 1], PlainFailure) {
    let detail = "captures cannot be created, changed or deleted over HTTP in this version; the standing \
                  inputs are set by flowtap's options and configuration";
    let failure = PlainFailure(Failure::new(Code::MethodNotAllowed, detail, ""));
    // RFC 9110 §15.5.6: a 405 says what is allowed.
    ([(header::ALLOW, "GET,HEAD")], failure)
}

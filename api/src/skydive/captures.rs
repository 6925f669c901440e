//! `/api/capture`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use flowtap_capture::{Capture, CaptureError, Captures, NewCapture};

use super::resource::{self, Body};
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

/// Declares a capture: it is in force at every node that its expression names, now and later, until it is
/// deleted, over restarts too.
#[utoipa::path(
    post,
    path = "/api/capture",
    operation_id = "create_capture",
    tag = "captures",
    params(("X-Resource-TTL" = Option<String>, Header, description = "How long it lives: `90s`, `1h30m`")),
    request_body(content((NewCapture = "application/json"), (NewCapture = "application/yaml"))),
    responses(
        (status = 201, description = "The capture, with its UUID", body = Capture),
        (status = 400, description = "What is wrong with it", body = String, content_type = "text/plain"),
        (status = 409, description = "`duplicated resource`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PlainFailure> {
    let new: NewCapture = resource::decode(&headers, body)?;
    let ttl = resource::ttl(&headers)?;
    let capture = change(&app, move |captures| captures.create(new, ttl)).await?;
    Ok(resource::created(capture))
}

/// Captures are declared and deleted, not changed.
#[utoipa::path(
    patch,
    path = "/api/capture/{id}",
    operation_id = "patch_capture",
    tag = "captures",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 400, description = "`capture resource not updatable`", body = String, content_type = "text/plain"),
        (status = 404, description = "`Capture 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn patch(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<(), PlainFailure> {
    let Json(_there) = get(State(app), Path(id)).await?;
    Err(Failure::new(
        Code::Refused,
        "capture resource not updatable",
        "delete it and make another",
    )
    .into())
}

/// Ends a capture. Its flows and packets stay.
#[utoipa::path(
    delete,
    path = "/api/capture/{id}",
    operation_id = "delete_capture",
    tag = "captures",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 200, description = "It is gone"),
        (status = 400, description = "It is an input of the configuration", body = String, content_type = "text/plain"),
        (status = 404, description = "`Capture 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<&'static str, PlainFailure> {
    change(&app, move |captures| captures.delete(&id)).await?;
    Ok("")
}

/// Declares or deletes, where it may wait for the disk.
async fn change<T, F>(app: &Arc<App>, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(&Captures) -> Result<T, CaptureError> + Send + 'static,
{
    let captures = app.services.captures.clone();
    resource::in_turn(app, move || work(&captures)).await
}

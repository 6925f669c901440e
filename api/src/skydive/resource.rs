//! What all resources have in common: bodies in, answers out.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use json_patch::Patch;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body;
use crate::declared::{Declared, DeclaredError};
use crate::failure::{Code, Failure};
use crate::server::App;
use crate::v1::time;

/// What an element costs in a list that is being sent, for the account of memory. The element itself
/// is the graph's.
pub(super) const ELEMENT_BYTES: usize = 256;

/// How long a resource lives; Skydive's header.
const TTL_HEADER: &str = "x-resource-ttl";

/// A body as the extractor gives it.
pub(crate) type Body = Result<Bytes, BytesRejection>;

/// Reads a resource: JSON, or YAML if the content type says so.
pub(super) fn decode<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Failure> {
    let body = body.map_err(refused)?;
    if is_yaml(headers) {
        return serde_saphyr::from_slice(&body)
            .map_err(|error| bad(format!("the body is not the YAML of such a resource: {error}")));
    }
    serde_json::from_slice(&body)
        .map_err(|error| bad(format!("the body is not the JSON of such a resource: {error}")))
}

/// Reads a JSON patch (RFC 6902).
pub(super) fn decode_patch(headers: &HeaderMap, body: Body) -> Result<Patch, Failure> {
    let body = body.map_err(refused)?;
    let patch = if is_yaml(headers) {
        serde_saphyr::from_slice(&body).map_err(|error| error.to_string())
    } else {
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    };
    patch.map_err(|error| {
        Failure::new(
            Code::BadPatch,
            format!("incorrect JSON patch: {error}"),
            "see RFC 6902",
        )
    })
}

/// How long the resource shall live; `None`: until somebody deletes it.
pub(super) fn ttl(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get(TTL_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let ttl = match text {
        "" | "0" => Some(Duration::ZERO),
        _ => time::duration(text),
    };
    let ttl = ttl.ok_or_else(|| {
        let detail = format!("invalid ttl: `{text}` is no duration such as 90s, 5m or 1h30m");
        Failure::new(Code::BadParameter, detail, "")
    })?;
    // As in Skydive, none is no limit.
    Ok((!ttl.is_zero()).then_some(ttl))
}

/// Asks for declarations, or changes them, where it may wait for the disk. One at a time: they wait for
/// each other anyhow, and here they hold no thread meanwhile.
pub(super) async fn declare<T, F>(app: &Arc<App>, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(&Declared) -> Result<T, DeclaredError> + Send + 'static,
{
    let declared = Arc::clone(&app.services.declared);
    in_turn(app, move || work(&declared)).await
}

/// Runs a change beside the async runtime: it may wait for the disk. One at a time.
pub(super) async fn in_turn<T, E, F>(app: &Arc<App>, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
    F: FnOnce() -> Result<T, E> + Send + 'static,
{
    let turn = Arc::clone(&app.declaring).acquire_owned().await;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(Failure::panicked)?.map_err(Into::into)
}

/// 201 and the resource.
pub(super) fn created<T: Serialize>(resource: T) -> Response {
    (StatusCode::CREATED, Json(resource)).into_response()
}

/// 200 and the resource; 304 if nothing has changed.
pub(super) fn patched<T: Serialize>(resource: Option<T>) -> Response {
    match resource {
        Some(resource) => Json(resource).into_response(),
        None => StatusCode::NOT_MODIFIED.into_response(),
    }
}

/// An object of these elements, each by its ID.
pub(super) fn by_id<T: Serialize + Send + 'static>(
    app: &App,
    elements: Vec<T>,
    id: impl Fn(&T) -> &str + Send + 'static,
) -> Result<Response, Failure> {
    let held = app.runner.hold(elements.len() * ELEMENT_BYTES)?;
    let body = body::items(
        b"{".to_vec(),
        elements,
        b"}".to_vec(),
        body::json_entries(id),
        held,
    );
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn is_yaml(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind).trim();
    ["application/yaml", "application/x-yaml", "text/yaml"]
        .iter()
        .any(|yaml| kind.eq_ignore_ascii_case(yaml))
}

fn refused(rejection: BytesRejection) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Failure::new(Code::TooLarge, "the body is larger than 1 MiB", "");
    }
    bad(rejection.body_text())
}

fn bad(detail: String) -> Failure {
    Failure::new(Code::BadBody, detail, "")
}

//! `/api/v1/captures`: what Skydive's path for captures has no room for.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use flowtap_capture::Explanation;
use serde::Deserialize;
use utoipa::IntoParams;

use super::bad_query_string;
use crate::failure::{Failure, ProblemFailure};
use crate::server::App;
use crate::wire::CaptureEvents;

/// What a capture would be.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Explained {
    /// An expression that ends in nodes or paths.
    gremlin: String,
    /// The capture type; empty for the one that goes with each node.
    #[serde(default)]
    r#type: String,
}

/// What an expression would capture now, and for what it just misses, why.
#[utoipa::path(
    get,
    path = "/api/v1/captures/explain",
    operation_id = "explain_capture",
    tag = "captures",
    params(Explained),
    responses(
        (status = 200, description = "Nodes that match, and those that nearly do", body = Explanation),
        (status = 400, description = "The expression is wrong", body = crate::wire::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    query: Result<Query<Explained>, QueryRejection>,
) -> Result<Json<Explanation>, ProblemFailure> {
    let Query(asked) = query.map_err(bad_query_string)?;
    let captures = app.services.captures.clone();
    let explained = tokio::task::spawn_blocking(move || captures.explain(&asked.gremlin, &asked.r#type));
    let explained = explained.await.map_err(Failure::panicked)?;
    Ok(Json(explained.map_err(Failure::from)?))
}

/// From where on events are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// Only events with a greater `Sequence`.
    #[serde(default)]
    after: u64,
}

/// What happened to a capture; also for a while after it was deleted.
#[utoipa::path(
    get,
    path = "/api/v1/captures/{id}/events",
    operation_id = "capture_events",
    tag = "captures",
    params(("id" = String, Path, description = "Its UUID or name"), After),
    responses(
        (status = 200, description = "Its log", body = CaptureEvents),
        (status = 404, description = "There is no such capture", body = crate::wire::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Result<Query<After>, QueryRejection>,
) -> Result<Json<CaptureEvents>, ProblemFailure> {
    let Query(After { after }) = query.map_err(bad_query_string)?;
    let captures = &app.services.captures;
    // By UUID first: a capture that was deleted has no name any more.
    let events = captures
        .events(&id)
        .or_else(|_| captures.events(&captures.find(&id)?.uuid));
    let mut events = events.map_err(Failure::from)?;
    events.retain(|event| event.sequence > after);
    Ok(Json(CaptureEvents { events }))
}

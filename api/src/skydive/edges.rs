//! `/api/edge`: the edges of the graph, and declared ones that wait for their nodes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use flowtap_topology::{Edge, EdgeId};

use super::resource::{self, Body};
use crate::declared::{DeclaredError, Kind};
use crate::failure::PlainFailure;
use crate::server::App;
use crate::wire::EdgeDocument;

/// All edges, by ID.
#[utoipa::path(
    get,
    path = "/api/edge",
    operation_id = "list_edges",
    tag = "topology",
    responses((status = 200, description = "Edges by ID", body = BTreeMap<String, EdgeDocument>)),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, PlainFailure> {
    let waiting = resource::declare(&app, |declared| Ok(declared.waiting_edges())).await?;
    let snapshot = app.services.topology.live();
    let mut edges: Vec<Arc<Edge>> = snapshot.edges().cloned().collect();
    edges.extend(
        waiting
            .into_iter()
            .filter(|edge| snapshot.edge(&edge.id).is_none()),
    );
    Ok(resource::by_id(&app, edges, |edge| edge.id.as_str())?)
}

/// One edge.
#[utoipa::path(
    get,
    path = "/api/edge/{id}",
    operation_id = "get_edge",
    tag = "topology",
    params(("id" = String, Path, description = "Its ID")),
    responses(
        (status = 200, description = "The edge", body = EdgeDocument),
        (status = 404, description = "`Edge 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Arc<Edge>>, PlainFailure> {
    let id = EdgeId::from(id);
    let live = app.services.topology.live().edge(&id).cloned();
    if let Some(edge) = live {
        return Ok(Json(edge));
    }
    let edge = resource::declare(&app, move |declared| {
        let waiting = declared.waiting_edges().into_iter().find(|edge| edge.id == id);
        waiting.ok_or_else(|| DeclaredError::not_found(Kind::Edge, id.as_str()))
    });
    Ok(Json(edge.await?))
}

/// Makes an edge between two nodes; it stays until it or one of them is deleted, over restarts too.
#[utoipa::path(
    post,
    path = "/api/edge",
    operation_id = "create_edge",
    tag = "topology",
    params(("X-Resource-TTL" = Option<String>, Header, description = "How long it lives: `90s`, `1h30m`")),
    request_body(content((EdgeDocument = "application/json"), (EdgeDocument = "application/yaml"))),
    responses(
        (status = 201, description = "The edge", body = EdgeDocument),
        (status = 400, description = "It lacks something", body = String, content_type = "text/plain"),
        (status = 409, description = "There is this edge already", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PlainFailure> {
    let edge: EdgeDocument = resource::decode(&headers, body)?;
    let ttl = resource::ttl(&headers)?;
    let edge = resource::declare(&app, move |declared| declared.create_edge(&edge, ttl)).await?;
    Ok(resource::created(edge))
}

/// Changes an edge's metadata by a JSON patch (RFC 6902) of the edge.
#[utoipa::path(
    patch,
    path = "/api/edge/{id}",
    operation_id = "patch_edge",
    tag = "topology",
    params(("id" = String, Path, description = "Its ID")),
    request_body(content = serde_json::Value, example = json!([{"op": "add", "path": "/Metadata/Speed", "value": 100}])),
    responses(
        (status = 200, description = "The edge as it is now", body = EdgeDocument),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "The patch cannot be applied", body = String, content_type = "text/plain"),
        (status = 404, description = "`Edge 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PlainFailure> {
    let patch = resource::decode_patch(&headers, body)?;
    let edge = resource::declare(&app, move |declared| declared.patch_edge(&id, &patch)).await?;
    Ok(resource::patched(edge))
}

/// Deletes an edge: one that a user or a publisher made.
#[utoipa::path(
    delete,
    path = "/api/edge/{id}",
    operation_id = "delete_edge",
    tag = "topology",
    params(("id" = String, Path, description = "Its ID")),
    responses(
        (status = 200, description = "It is gone"),
        (status = 400, description = "flowtap sees it", body = String, content_type = "text/plain"),
        (status = 404, description = "`Edge 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<&'static str, PlainFailure> {
    resource::declare(&app, move |declared| declared.delete_edge(&id)).await?;
    Ok("")
}

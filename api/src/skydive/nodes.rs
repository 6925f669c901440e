//! `/api/node`: the nodes of the graph. All of them can be read and patched; those of users and
//! publishers can be deleted.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use flowtap_topology::{Node, NodeId};

use super::resource::{self, Body};
use crate::declared::{DeclaredError, Kind};
use crate::failure::PlainFailure;
use crate::server::App;
use crate::wire::NodeDocument;

/// All nodes, by ID.
#[utoipa::path(
    get,
    path = "/api/node",
    operation_id = "list_nodes",
    tag = "topology",
    responses((status = 200, description = "Nodes by ID", body = BTreeMap<String, NodeDocument>)),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, PlainFailure> {
    let nodes: Vec<Arc<Node>> = app.services.topology.live().nodes().cloned().collect();
    Ok(resource::by_id(&app, nodes, |node| node.id.as_str())?)
}

/// One node.
#[utoipa::path(
    get,
    path = "/api/node/{id}",
    operation_id = "get_node",
    tag = "topology",
    params(("id" = String, Path, description = "Its ID")),
    responses(
        (status = 200, description = "The node", body = NodeDocument),
        (status = 404, description = "`Node 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Arc<Node>>, PlainFailure> {
    let node = app.services.topology.graph().node(&NodeId::from(id.as_str()));
    Ok(Json(
        node.ok_or_else(|| DeclaredError::not_found(Kind::Node, &id))?,
    ))
}

/// Makes a node; it stays until it is deleted, over restarts too.
#[utoipa::path(
    post,
    path = "/api/node",
    operation_id = "create_node",
    tag = "topology",
    params(("X-Resource-TTL" = Option<String>, Header, description = "How long it lives: `90s`, `1h30m`")),
    request_body(content((NodeDocument = "application/json"), (NodeDocument = "application/yaml"))),
    responses(
        (status = 201, description = "The node", body = NodeDocument),
        (status = 400, description = "It lacks something", body = String, content_type = "text/plain"),
        (status = 409, description = "A node has this ID already", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PlainFailure> {
    let node: NodeDocument = resource::decode(&headers, body)?;
    let ttl = resource::ttl(&headers)?;
    let node = resource::declare(&app, move |declared| declared.create_node(node, ttl)).await?;
    Ok(resource::created(node))
}

/// Changes a node's metadata by a JSON patch (RFC 6902) of the node. `Name`, `Type` and `TID` stay.
#[utoipa::path(
    patch,
    path = "/api/node/{id}",
    operation_id = "patch_node",
    tag = "topology",
    params(("id" = String, Path, description = "Its ID")),
    request_body(content = serde_json::Value, example = json!([{"op": "add", "path": "/Metadata/Rack", "value": "B7"}])),
    responses(
        (status = 200, description = "The node as it is now", body = NodeDocument),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "The patch cannot be applied", body = String, content_type = "text/plain"),
        (status = 404, description = "`Node 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PlainFailure> {
    let patch = resource::decode_patch(&headers, body)?;
    let node = resource::declare(&app, move |declared| declared.patch_node(&id, &patch)).await?;
    Ok(resource::patched(node))
}

/// Deletes a node with its edges: one that a user or a publisher made.
#[utoipa::path(
    delete,
    path = "/api/node/{id}",
    operation_id = "delete_node",
    tag = "topology",
    params(("id" = String, Path, description = "Its ID")),
    responses(
        (status = 200, description = "It is gone"),
        (status = 400, description = "flowtap sees it", body = String, content_type = "text/plain"),
        (status = 404, description = "`Node 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<&'static str, PlainFailure> {
    resource::declare(&app, move |declared| declared.delete_node(&id)).await?;
    Ok("")
}

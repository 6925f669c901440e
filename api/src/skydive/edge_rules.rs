//! `/api/edgerule`: rules that link nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::resource::{self, Body};
use crate::declared::{Declared, DeclaredError, Kind};
use crate::failure::{Failure, PlainFailure};
use crate::server::App;
use crate::wire::EdgeRuleDocument;

type Rules = BTreeMap<String, EdgeRuleDocument>;

/// All edge rules, by UUID.
#[utoipa::path(
    get,
    path = "/api/edgerule",
    operation_id = "list_edge_rules",
    tag = "topology",
    responses((status = 200, description = "Rules by UUID", body = BTreeMap<String, EdgeRuleDocument>)),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Rules>, PlainFailure> {
    Ok(Json(rules(&app).await?))
}

/// One edge rule.
#[utoipa::path(
    get,
    path = "/api/edgerule/{id}",
    operation_id = "get_edge_rule",
    tag = "topology",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 200, description = "The rule", body = EdgeRuleDocument),
        (status = 404, description = "`Edgerule 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<EdgeRuleDocument>, PlainFailure> {
    let rule = rules(&app).await?.remove(&id);
    Ok(Json(
        rule.ok_or_else(|| DeclaredError::not_found(Kind::EdgeRule, &id))?,
    ))
}

/// Makes an edge rule: it holds until it is deleted, over restarts too.
#[utoipa::path(
    post,
    path = "/api/edgerule",
    operation_id = "create_edge_rule",
    tag = "topology",
    params(("X-Resource-TTL" = Option<String>, Header, description = "How long it lives: `90s`, `1h30m`")),
    request_body(content((EdgeRuleDocument = "application/json"), (EdgeRuleDocument = "application/yaml"))),
    responses(
        (status = 201, description = "The rule, with its UUID", body = EdgeRuleDocument),
        (status = 400, description = "It lacks something", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PlainFailure> {
    let rule: EdgeRuleDocument = resource::decode(&headers, body)?;
    let ttl = resource::ttl(&headers)?;
    let rule = resource::declare(&app, move |declared| {
        let rule = declared.create_edge_rule(rule.into(), ttl)?;
        Ok(document(declared, rule))
    });
    Ok(resource::created(rule.await?))
}

/// Rules are made and deleted, not changed.
#[utoipa::path(
    patch,
    path = "/api/edgerule/{id}",
    operation_id = "patch_edge_rule",
    tag = "topology",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 400, description = "`edgerule resource not updatable`", body = String, content_type = "text/plain"),
        (status = 404, description = "`Edgerule 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn patch(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<(), PlainFailure> {
    let Json(_there) = get(State(app), Path(id)).await?;
    Err(DeclaredError::NotUpdatable(Kind::EdgeRule).into())
}

/// Deletes a rule and the edges that it made.
#[utoipa::path(
    delete,
    path = "/api/edgerule/{id}",
    operation_id = "delete_edge_rule",
    tag = "topology",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 200, description = "It is gone"),
        (status = 404, description = "`Edgerule 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<&'static str, PlainFailure> {
    resource::declare(&app, move |declared| declared.delete_edge_rule(&id)).await?;
    Ok("")
}

async fn rules(app: &Arc<App>) -> Result<Rules, Failure> {
    let rules = resource::declare(app, |declared| {
        let rules = declared.edge_rules().into_iter();
        Ok(rules
            .map(|(uuid, rule)| (uuid, document(declared, rule)))
            .collect())
    });
    rules.await
}

fn document(declared: &Declared, rule: flowtap_topology::rules::EdgeRule) -> EdgeRuleDocument {
    let problem = declared.problem(&rule.uuid);
    EdgeRuleDocument::new(rule, problem)
}

//! `/api/noderule`: rules that make nodes, or add to them.

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
use crate::wire::NodeRuleDocument;

type Rules = BTreeMap<String, NodeRuleDocument>;

/// All node rules, by UUID.
#[utoipa::path(
    get,
    path = "/api/noderule",
    operation_id = "list_node_rules",
    tag = "topology",
    responses((status = 200, description = "Rules by UUID", body = BTreeMap<String, NodeRuleDocument>)),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Rules>, PlainFailure> {
    Ok(Json(rules(&app).await?))
}

/// One node rule.
#[utoipa::path(
    get,
    path = "/api/noderule/{id}",
    operation_id = "get_node_rule",
    tag = "topology",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 200, description = "The rule", body = NodeRuleDocument),
        (status = 404, description = "`Noderule 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<NodeRuleDocument>, PlainFailure> {
    let rule = rules(&app).await?.remove(&id);
    Ok(Json(
        rule.ok_or_else(|| DeclaredError::not_found(Kind::NodeRule, &id))?,
    ))
}

/// Makes a node rule: it holds until it is deleted, over restarts too.
#[utoipa::path(
    post,
    path = "/api/noderule",
    operation_id = "create_node_rule",
    tag = "topology",
    params(("X-Resource-TTL" = Option<String>, Header, description = "How long it lives: `90s`, `1h30m`")),
    request_body(content((NodeRuleDocument = "application/json"), (NodeRuleDocument = "application/yaml"))),
    responses(
        (status = 201, description = "The rule, with its UUID", body = NodeRuleDocument),
        (status = 400, description = "It lacks something", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PlainFailure> {
    let rule: NodeRuleDocument = resource::decode(&headers, body)?;
    let ttl = resource::ttl(&headers)?;
    let rule = resource::declare(&app, move |declared| {
        let rule = declared.create_node_rule(rule.into(), ttl)?;
        Ok(document(declared, rule))
    });
    Ok(resource::created(rule.await?))
}

/// Rules are made and deleted, not changed.
#[utoipa::path(
    patch,
    path = "/api/noderule/{id}",
    operation_id = "patch_node_rule",
    tag = "topology",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 400, description = "`noderule resource not updatable`", body = String, content_type = "text/plain"),
        (status = 404, description = "`Noderule 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn patch(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<(), PlainFailure> {
    let Json(_there) = get(State(app), Path(id)).await?;
    Err(DeclaredError::NotUpdatable(Kind::NodeRule).into())
}

/// Deletes a rule and all that it did.
#[utoipa::path(
    delete,
    path = "/api/noderule/{id}",
    operation_id = "delete_node_rule",
    tag = "topology",
    params(("id" = String, Path, description = "Its UUID")),
    responses(
        (status = 200, description = "It is gone"),
        (status = 404, description = "`Noderule 'id' not found`", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<&'static str, PlainFailure> {
    resource::declare(&app, move |declared| declared.delete_node_rule(&id)).await?;
    Ok("")
}

async fn rules(app: &Arc<App>) -> Result<Rules, Failure> {
    let rules = resource::declare(app, |declared| {
        let rules = declared.node_rules().into_iter();
        Ok(rules
            .map(|(uuid, rule)| (uuid, document(declared, rule)))
            .collect())
    });
    rules.await
}

fn document(declared: &Declared, rule: flowtap_topology::rules::NodeRule) -> NodeRuleDocument {
    let problem = declared.problem(&rule.uuid);
    NodeRuleDocument::new(rule, problem)
}

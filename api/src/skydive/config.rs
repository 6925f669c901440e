//! `/api/config/{key}`: one value of the configuration.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use crate::server::App;

/// One value of the configuration that flowtap runs with. A key with dots leads into tables:
/// `http.listen`; one that there is not gives `null`, which is what Skydive's page expects of it.
#[utoipa::path(
    get,
    path = "/api/config/{key}",
    tag = "status",
    params(("key" = String, Path, description = "The key: `queries.timeout_seconds`")),
    responses((status = 200, description = "Its value", body = Value)),
)]
pub(crate) async fn value(State(app): State<Arc<App>>, Path(key): Path<String>) -> Json<Value> {
    let found = key
        .split('.')
        .try_fold(&*app.services.config, |table, key| table.get(key));
    Json(found.cloned().unwrap_or_default())
}

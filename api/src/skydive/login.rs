//! `/login`, for clients that were given a name and a password.

use axum::Json;
use axum::extract::Form;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Whom a client logs in as. There is no authentication: any name and any password will do.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "they have to be there, and nothing is made of them")]
pub(crate) struct Credentials {
    username: String,
    password: String,
}

/// What who has logged in may do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Login {
    /// Empty: nothing asks for it.
    token: &'static str,
    /// Empty: nothing is forbidden.
    permissions: Vec<Value>,
}

/// Lets everybody in, as Skydive does without authentication: a client that has a name and a password goes on
/// as one that has none.
#[utoipa::path(
    post,
    path = "/login",
    tag = "status",
    request_body(content = Credentials, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Whoever it is, with the cookies `authtoken` and `permissions`", body = Login),
        (status = 401, description = "No name or no password", body = String, content_type = "text/plain"),
    ),
)]
pub(crate) async fn login(credentials: Result<Form<Credentials>, FormRejection>) -> impl IntoResponse {
    if credentials.is_err() {
        return Err((StatusCode::UNAUTHORIZED, "No credentials provided"));
    }
    // A client that finds no token asks for one before each request. The permissions are `[]` in Base64.
    let cookies = ["authtoken=; Path=/", "permissions=W10=; Path=/"];
    let login = Login {
        token: "",
        permissions: Vec::new(),
    };
    Ok((
        AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie))),
        Json(login),
    ))
}

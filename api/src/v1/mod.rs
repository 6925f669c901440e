//! Our own paths: flows and packets by filter, time and page, and changes of the topology.

pub(crate) mod captures;
mod csv;
mod cursor;
pub(crate) mod events;
pub(crate) mod flows;
pub(crate) mod packets;
mod params;
pub(crate) mod time;

use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::failure::{Code, Failure};
use crate::wire::NEXT_CURSOR_HEADER;

/// True if the `Accept` header names `kind`. Weights are not weighed: whoever names one of our rarer
/// types wants it.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let values = headers
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut kinds = values.flat_map(|value| value.split(',')).map(|range| {
        let name = range.split_once(';').map_or(range, |(name, _)| name);
        name.trim()
    });
    kinds.any(|name| name.eq_ignore_ascii_case(kind))
}

/// Says where the next page begins, in a form that every format has room for.
fn with_cursor(mut response: Response, next: Option<String>) -> Response {
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        response.headers_mut().insert(NEXT_CURSOR_HEADER, next);
    }
    response
}

fn bad_query_string(rejection: QueryRejection) -> Failure {
    let hint = "write it as NAME=VALUE pairs joined by `&`, each name once, percent-encoded";
    Failure::new(Code::BadParameter, rejection.body_text(), hint)
}

//! `/api/topology`: the whole graph, and Gremlin queries.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flowtap_topology::{Edge, Node};

use crate::body;
use crate::failure::{Code, Failure, PlainFailure};
use crate::server::App;
use crate::services::AnswerForm;
use crate::wire::{DOT_MEDIA_TYPE, GremlinRequest, PCAP_MEDIA_TYPE, PCAPNG_MEDIA_TYPE, TopologyDocument};

/// A piece of the graph's JSON.
enum Piece {
    Node(Arc<Node>),
    /// The end of the nodes, and the beginning of the edges.
    Between,
    Edge(Arc<Edge>),
}

/// The whole graph as it is: JSON, or dot if `Accept` is `text/vnd.graphviz`.
#[utoipa::path(
    get,
    path = "/api/topology",
    operation_id = "topology",
    tag = "topology",
    responses(
        (status = 200, description = "The graph",
            content((TopologyDocument = "application/json"), (String = "text/vnd.graphviz"))),
        (status = 503, description = "Too many queries at once", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn whole(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, PlainFailure> {
    if accepted(&headers) == DOT_MEDIA_TYPE {
        return Ok(answer(&app, "G".to_owned(), AnswerForm::Dot, DOT_MEDIA_TYPE).await?);
    }
    let graph = app.services.topology.live();
    let held = app
        .runner
        .hold((graph.len() + graph.edge_count()) * super::resource::ELEMENT_BYTES)?;
    let nodes = graph.nodes().cloned().map(Piece::Node);
    let edges = graph.edges().cloned().map(Piece::Edge);
    let pieces = nodes.chain([Piece::Between]).chain(edges).collect();
    let mut first = true;
    let write = move |piece: &Piece, out: &mut Vec<u8>| {
        if matches!(piece, Piece::Between) {
            out.extend_from_slice(b"],\"Edges\":[");
            first = true;
            return;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match piece {
            Piece::Node(node) => body::write_json(node, out),
            Piece::Edge(edge) => body::write_json(edge, out),
            Piece::Between => {}
        }
    };
    let body = body::items(b"{\"Nodes\":[".to_vec(), pieces, b"]}".to_vec(), write, held);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Runs a Gremlin query.
///
/// `Accept` is compared exactly: `application/vnd.tcpdump.pcap`, `application/x-pcapng` and
/// `text/vnd.graphviz` choose their form, anything else is JSON. An empty body or query is answered with 204.
#[utoipa::path(
    post,
    path = "/api/topology",
    tag = "query",
    request_body = GremlinRequest,
    responses(
        (status = 200, description = "The query's result",
            content((serde_json::Value = "application/json"), (Vec<u8> = "application/vnd.tcpdump.pcap"),
                (Vec<u8> = "application/x-pcapng"), (String = "text/vnd.graphviz"))),
        (status = 204, description = "Nothing was asked"),
        (status = 400, description = "The body or the query is wrong", body = String, content_type = "text/plain"),
        (status = 406, description = "The result has no such form", body = String, content_type = "text/plain"),
        (status = 413, description = "The body or the result is too large", body = String,
            content_type = "text/plain"),
        (status = 503, description = "Too many queries at once", body = String, content_type = "text/plain"),
        (status = 504, description = "The time limit ran out", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn query(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, PlainFailure> {
    let body = body.map_err(refused_body)?;
    if body.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let request: GremlinRequest = serde_json::from_slice(&body).map_err(|error| {
        Failure::new(
            Code::BadBody,
            format!("the body is not {{\"GremlinQuery\": \"…\"}}: {error}"),
            "",
        )
    })?;
    if request.gremlin_query.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let accept = accepted(&headers);
    let form = match accept {
        DOT_MEDIA_TYPE => AnswerForm::Dot,
        PCAP_MEDIA_TYPE => AnswerForm::Pcap,
        PCAPNG_MEDIA_TYPE => AnswerForm::PcapNg,
        _ => AnswerForm::Json,
    };
    Ok(answer(&app, request.gremlin_query, form, accept).await?)
}

async fn answer(app: &App, gremlin: String, form: AnswerForm, accept: &str) -> Result<Response, Failure> {
    let queries = app.services.queries.clone();
    let answer = app
        .runner
        .run(move |cancel| queries.run(&gremlin, form, cancel))
        .await?;
    let held = app.runner.hold(answer.len())?;
    let kind = [(header::CONTENT_TYPE, content_type(accept))];
    Ok((kind, body::whole(answer, held)).into_response())
}

/// `Accept` as one text, which is compared as a whole.
fn accepted(headers: &HeaderMap) -> &str {
    let accept = headers.get(header::ACCEPT);
    accept.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The request's `Accept`, as Skydive answers it; but where that is no one type (missing, a range, a
/// list), which would make no valid header, what the answer is: JSON.
fn content_type(accept: &str) -> HeaderValue {
    let is_one_type = accept.contains('/') && !accept.contains(['*', ',', ';']);
    let kind = if is_one_type { accept } else { "application/json" };
    HeaderValue::from_str(&format!("{kind}; charset=UTF-8"))
        .unwrap_or_else(|_| HeaderValue::from_static("application/json; charset=UTF-8"))
}

fn refused_body(rejection: BytesRejection) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Failure::new(Code::TooLarge, "the query is larger than 1 MiB", "");
    }
    Failure::new(Code::BadBody, rejection.body_text(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_is_echoed_and_ranges_are_named() {
        assert_eq!(
            content_type("application/json"),
            "application/json; charset=UTF-8"
        );
        assert_eq!(
            content_type(PCAP_MEDIA_TYPE),
            "application/vnd.tcpdump.pcap; charset=UTF-8"
        );
        for range in ["", "*/*", "text/html, application/json;q=0.9, */*", "nonsense"] {
            assert_eq!(content_type(range), "application/json; charset=UTF-8", "{range}");
        }
    }
}

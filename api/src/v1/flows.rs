//! `GET /api/v1/flows`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flowtap_flow::filter::{FlowField, FlowFilter, Predicate, Value};
use flowtap_flow::flow::Flow;
use flowtap_flow::query::{Cancel, FlowReader, ReadError};
use flowtap_flow::timestamp::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor::{self, FlowKey};
use super::params::{self, DEFAULT_LIMIT, SelectParams, Selection};
use super::{accepts, csv, with_cursor};
use crate::body;
use crate::failure::{Failure, ProblemFailure};
use crate::page::{Order, Page, PageBuilder, PageLimit};
use crate::server::App;
use crate::wire::{FlowPage, Problem};

/// What one flow costs in an answer, for the account of memory: its struct, its three short texts,
/// and some slack for extra layers.
const FLOW_BYTES: usize = 1024;

/// Parameters of this path alone.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct FlowParams {
    #[serde(flatten)]
    #[param(ignore)]
    select: SelectParams,
    /// `json`, `jsonl` or `csv`; without it, the `Accept` header decides.
    #[param(inline, value_type = Option<FlowFormat>)]
    format: Option<String>,
    /// Only flows in memory that got a packet within so many seconds, by this machine's clock and
    /// however old the packet's own time is: what comes in now, replayed files too.
    #[param(inline, value_type = Option<u64>)]
    active: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    unknown: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
enum FlowFormat {
    Json,
    Jsonl,
    Csv,
}

impl FlowFormat {
    const JSONL: &'static str = "application/x-ndjson";
    const CSV: &'static str = "text/csv";

    fn choose(parameter: Option<&str>, headers: &HeaderMap) -> Result<Self, Failure> {
        match parameter {
            None | Some("") if accepts(headers, Self::JSONL) => Ok(Self::Jsonl),
            None | Some("") if accepts(headers, Self::CSV) => Ok(Self::Csv),
            None | Some("" | "json") => Ok(Self::Json),
            Some("jsonl") => Ok(Self::Jsonl),
            Some("csv") => Ok(Self::Csv),
            Some(other) => Err(params::bad("format", other, "`json`, `jsonl` or `csv`")),
        }
    }
}

/// Flows by filter and time, a page at a time.
///
/// Pages are ordered by start, then UUID, which never change: following `NextCursor` gives each flow
/// once, however many begin meanwhile.
#[utoipa::path(
    get,
    path = "/api/v1/flows",
    tag = "flows",
    params(SelectParams, FlowParams),
    responses(
        (status = 200, description = "A page of flows; `X-Next-Cursor` as `NextCursor`",
            content((FlowPage = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "`capture` is no capture, and no UUID of one that was", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many queries at once", body = Problem,
            content_type = "application/problem+json"),
        (status = 504, description = "The time limit ran out", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Result<Query<FlowParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ProblemFailure> {
    let Query(params) = query.map_err(super::bad_query_string)?;
    params::refuse_unknown(
        &params.unknown,
        &format!("{}, active, format", params::SELECT_NAMES),
    )?;
    let format = FlowFormat::choose(params.format.as_deref(), &headers)?;
    let selection = Selection::<FlowKey>::parse(&params.select, &app.services.captures, Timestamp::now())?;
    let order = selection.order;
    let active = active(params.active.as_deref())?;
    let flows = app.services.flows.clone();
    let limit = app.services.limits.page(selection.limit.unwrap_or(DEFAULT_LIMIT));
    let page = app
        .runner
        .run(move |cancel| read_page(&*flows, selection, active, limit, cancel))
        .await?;
    let held = app.runner.hold(page.bytes)?;
    let next = page.next.map(|key| cursor::write(order, &key));

    let (kind, body) = match format {
        FlowFormat::Json => {
            let mut tail = b"],\"NextCursor\":".to_vec();
            body::write_json(&next, &mut tail);
            tail.push(b'}');
            let head = b"{\"Flows\":[".to_vec();
            (
                "application/json",
                body::items(head, page.items, tail, body::json_list(), held),
            )
        }
        FlowFormat::Jsonl => {
            let write = |flow: &Flow, out: &mut Vec<u8>| {
                body::write_json(flow, out);
                out.push(b'\n');
            };
            (
                FlowFormat::JSONL,
                body::items(Vec::new(), page.items, Vec::new(), write, held),
            )
        }
        FlowFormat::Csv => {
            let head = csv::HEADER.as_bytes().to_vec();
            let body = body::items(head, page.items, Vec::new(), csv::write_line, held);
            ("text/csv; charset=utf-8", body)
        }
    };
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    Ok(with_cursor((kind, body).into_response(), next))
}

/// How long ago a flow's last packet may have come.
fn active(parameter: Option<&str>) -> Result<Option<Duration>, Failure> {
    let Some(text) = parameter.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = text
        .parse()
        .map_err(|_| params::bad("active", text, "whole seconds"))?;
    Ok(Some(Duration::from_secs(seconds)))
}

fn read_page(
    flows: &dyn FlowReader,
    selection: Selection<FlowKey>,
    active: Option<Duration>,
    limit: PageLimit,
    cancel: &Cancel,
) -> Result<Page<FlowKey, Flow>, ReadError> {
    let mut query = selection.query;
    if let Some((start, _)) = selection.after {
        // Spares the store what earlier pages held; the page builder draws the exact line.
        let bound = Value::Int(start.millis());
        let bound = match selection.order {
            Order::Ascending => Predicate::Gte(bound),
            Order::Descending => Predicate::Lte(bound),
        };
        query.filter = query.filter.and(FlowFilter::Field(FlowField::Start, bound));
    }
    let mut page = PageBuilder::new(selection.order, selection.after, limit);
    let mut visit = |flow: Flow| {
        page.offer((flow.start, flow.uuid), FLOW_BYTES, flow);
        ControlFlow::Continue(())
    };
    match active {
        Some(within) => flows.active(within, &query, cancel, &mut visit)?,
        None => flows.flows(&query, cancel, &mut visit)?,
    }
    Ok(page.finish())
}

//! Which flows: the parameters that `/api/v1/flows` and `/api/v1/packets` share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flowtap_capture::{CaptureError, Captures};
use flowtap_flow::filter::{FlowField, FlowFilter, Ipv4Cidr, Predicate};
use flowtap_flow::flow::FlowId;
use flowtap_flow::query::{FlowQuery, TimeRange};
use flowtap_flow::timestamp::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::cursor::{self, PageKey};
use super::time;
use crate::failure::{Code, Failure};
use crate::page::Order;

/// Items of a page unless `limit` says otherwise.
pub(crate) const DEFAULT_LIMIT: usize = 1_000;
/// Items of a page at most.
pub(crate) const MAX_LIMIT: usize = 100_000;

/// Parameters that choose flows. All must hold; an empty one is as good as none.
///
/// All are read as text here and checked in [`Selection::parse`], so that an error can name the
/// parameter, what it was, and what was expected.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct SelectParams {
    /// Gremlin steps that filter flows.
    #[param(example = "Has('Application', 'DNS').Has('Metric.ABPackets', GT(1))")]
    filter: Option<String>,
    /// The application: `DNS`, `TCP`, `ICMPv4`, …
    app: Option<String>,
    /// An IP address of either end, or an IPv4 network (`10.0.0.0/8`).
    host: Option<String>,
    /// A port of either end.
    #[param(value_type = Option<u16>)]
    port: Option<String>,
    /// A capture, by UUID or by name; an input of the configuration by its type: `sflow`, `pcapsocket`, `upload`.
    capture: Option<String>,
    /// The tracking id of one conversation.
    tracking_id: Option<String>,
    /// The Community ID (v1) of one conversation.
    community_id: Option<String>,
    /// Not before: RFC 3339, seconds or milliseconds since the Unix epoch, or relative (`-15m`).
    from: Option<String>,
    /// Not after; the same forms.
    to: Option<String>,
    /// Items of the page, 1 to 100,000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100_000)]
    limit: Option<String>,
    /// Where the last page ended: its `NextCursor`, or its `X-Next-Cursor` header.
    cursor: Option<String>,
    /// `asc` (oldest first, the default) or `desc`.
    #[param(inline, value_type = Option<Order>)]
    order: Option<String>,
}

/// [`SelectParams`], understood.
#[derive(Debug)]
pub(crate) struct Selection<K> {
    pub(crate) query: FlowQuery,
    pub(crate) order: Order,
    /// `None`: not said.
    pub(crate) limit: Option<usize>,
    pub(crate) after: Option<K>,
}

impl<K: PageKey> Selection<K> {
    pub(crate) fn parse(params: &SelectParams, captures: &Captures, now: Timestamp) -> Result<Self, Failure> {
        let order = match given(&params.order) {
            None | Some("asc") => Order::Ascending,
            Some("desc") => Order::Descending,
            Some(other) => return Err(bad("order", other, "`asc` or `desc`")),
        };
        let limit = given(&params.limit).map(parse_limit).transpose()?;
        let after = given(&params.cursor).map(|text| {
            cursor::read(order, text).ok_or_else(|| {
                let hint = "send the cursor as it came, with the same `order` and on the same path";
                Failure::new(
                    Code::BadCursor,
                    format!("`{text}` is no cursor of this list"),
                    hint,
                )
            })
        });
        Ok(Self {
            query: FlowQuery {
                time: time_range(params, now)?,
                filter: flow_filter(params, captures)?,
            },
            order,
            limit,
            after: after.transpose()?,
        })
    }
}

fn given(parameter: &Option<String>) -> Option<&str> {
    parameter.as_deref().filter(|text| !text.is_empty())
}

/// A parameter whose value cannot be used.
pub(crate) fn bad(name: &str, value: &str, expected: &str) -> Failure {
    let detail = format!("`{value}` cannot be used as `{name}`");
    Failure::new(Code::BadParameter, detail, format!("`{name}` takes {expected}"))
}

/// Refuses parameters that nobody asks for: a misspelt filter must not answer with every flow.
pub(crate) fn refuse_unknown(unknown: &BTreeMap<String, String>, known: &str) -> Result<(), Failure> {
    match unknown.keys().next() {
        None => Ok(()),
        Some(name) => Err(Failure::new(
            Code::BadParameter,
            format!("there is no parameter `{name}`"),
            format!("known are: {known}"),
        )),
    }
}

/// The names of [`SelectParams`], for [`refuse_unknown`].
pub(crate) const SELECT_NAMES: &str =
    "filter, app, host, port, capture, tracking_id, community_id, from, to, limit, cursor, order";

fn parse_limit(text: &str) -> Result<usize, Failure> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        bad(
            "limit",
            text,
            "a number from 1 to 100000; for more, follow the cursor",
        )
    })
}

fn time_range(params: &SelectParams, now: Timestamp) -> Result<TimeRange, Failure> {
    let read = |name, text| time::parse(text, now).ok_or_else(|| bad(name, text, time::FORMS));
    let from = given(&params.from).map_or(Ok(TimeRange::ALL.from), |text| read("from", text))?;
    let to = given(&params.to).map_or(Ok(TimeRange::ALL.to), |text| read("to", text))?;
    if from > to {
        let hint = "exchange them; note that `to` counts from now, not from `from`";
        return Err(Failure::new(
            Code::BadParameter,
            "`from` is later than `to`",
            hint,
        ));
    }
    Ok(TimeRange { from, to })
}

fn flow_filter(params: &SelectParams, captures: &Captures) -> Result<FlowFilter, Failure> {
    let mut filter = match given(&params.filter) {
        None => FlowFilter::All,
        Some(steps) => flowtap_gremlin::parse_flow_filter(steps).map_err(|error| {
            let hint = "a filter is a chain of Gremlin steps such as \
                        Has('Application', 'DNS').Has('Network', '10.0.0.1')";
            Failure::new(Code::BadFilter, error.to_string(), hint)
        })?,
    };
    if let Some(app) = given(&params.app) {
        filter = filter.and(FlowFilter::eq("Application", app));
    }
    if let Some(host) = given(&params.host) {
        filter = filter.and(host_filter(host)?);
    }
    if let Some(text) = given(&params.port) {
        let port: u16 = text
            .parse()
            .map_err(|_| bad("port", text, "a number from 0 to 65535"))?;
        filter = filter.and(FlowFilter::eq("Transport", i64::from(port)));
    }
    if let Some(name) = given(&params.capture) {
        filter = filter.and(FlowFilter::eq("CaptureID", capture_id(name, captures)?.as_str()));
    }
    if let Some(text) = given(&params.tracking_id) {
        let id = FlowId::parse(text).ok_or_else(|| bad("tracking_id", text, "up to 16 hex digits"))?;
        filter = filter.and(FlowFilter::eq("TrackingID", id.to_string().as_str()));
    }
    if let Some(text) = given(&params.community_id) {
        if !text.starts_with("1:") {
            return Err(bad(
                "community_id",
                text,
                "a Community ID of version 1, which begins with `1:`",
            ));
        }
        // A URL's decoder turns the base64 alphabet's `+` into a blank where it was not escaped.
        filter = filter.and(FlowFilter::eq("CommunityID", text.replace(' ', "+").as_str()));
    }
    Ok(filter)
}

fn capture_id(id_or_name: &str, captures: &Captures) -> Result<String, Failure> {
    match (captures.find(id_or_name), Uuid::parse_str(id_or_name)) {
        (Ok(capture), _) => Ok(capture.uuid),
        // It may be that of a deleted capture whose flows are still stored.
        (Err(CaptureError::Unknown(_)), Ok(id)) => Ok(id.to_string()),
        (Err(error), _) => Err(error.into()),
    }
}

fn host_filter(text: &str) -> Result<FlowFilter, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(FlowFilter::eq("Network", address.to_string().as_str()));
    }
    let network = Ipv4Cidr::parse(text).ok_or_else(|| {
        bad(
            "host",
            text,
            "an IPv4 or IPv6 address, or an IPv4 network such as 10.0.0.0/8",
        )
    })?;
    Ok(FlowFilter::Field(
        FlowField::parse("Network"),
        Predicate::Ipv4Range(network),
    ))
}

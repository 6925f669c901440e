//! `GET /api/v1/packets`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowtap_flow::flow::FlowId;
use flowtap_flow::packet::RawPacket;
use flowtap_flow::pcap::{PcapError, Resolution, to_pcap, to_pcapng};
use flowtap_flow::query::{Cancel, FlowReader, FlowRef};
use flowtap_flow::timestamp::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor::{self, PacketKey};
use super::params::{self, DEFAULT_LIMIT, MAX_LIMIT, SelectParams, Selection};
use super::{accepts, with_cursor};
use crate::body;
use crate::failure::{Code, Failure, ProblemFailure};
use crate::page::{Order, Page, PageBuilder, PageLimit};
use crate::server::App;
use crate::wire::{PCAP_MEDIA_TYPE, PacketDocument, PacketPage, Problem};

/// Flows whose packets are looked for at most: 24 bytes each, so 24 MB.
const MAX_FLOWS: usize = 1_000_000;
/// What a packet costs beside its bytes.
const PACKET_BYTES: usize = 64;

/// Parameters of this path alone.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PacketParams {
    #[serde(flatten)]
    #[param(ignore)]
    select: SelectParams,
    /// `json`, `pcap` or `pcapng`; without it, the `Accept` header decides. A capture file has up to
    /// 100,000 packets unless `limit` says otherwise.
    #[param(inline, value_type = Option<PacketFormat>)]
    format: Option<String>,
    /// The unit of a pcap file's times, `us` or `ns`. pcapng is always in ns.
    #[param(inline, value_type = Option<Precision>)]
    precision: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    unknown: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
enum PacketFormat {
    Json,
    Pcap,
    Pcapng,
}

/// The unit of a capture file's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
enum Precision {
    Us,
    Ns,
}

impl Precision {
    fn choose(parameter: Option<&str>) -> Result<Self, Failure> {
        match parameter {
            None | Some("" | "us") => Ok(Self::Us),
            Some("ns") => Ok(Self::Ns),
            Some(other) => Err(params::bad("precision", other, "`us` or `ns`")),
        }
    }

    fn resolution(self) -> Resolution {
        match self {
            Self::Us => Resolution::Micros,
            Self::Ns => Resolution::Nanos,
        }
    }
}

impl PacketFormat {
    fn choose(parameter: Option<&str>, headers: &HeaderMap) -> Result<Self, Failure> {
        match parameter {
            None | Some("") if accepts(headers, PCAP_MEDIA_TYPE) => Ok(Self::Pcap),
            None | Some("" | "json") => Ok(Self::Json),
            Some("pcap") => Ok(Self::Pcap),
            Some("pcapng") => Ok(Self::Pcapng),
            Some(other) => Err(params::bad("format", other, "`json`, `pcap` or `pcapng`")),
        }
    }

    /// Whoever downloads a capture file wants it whole, if it can be had.
    fn default_limit(self) -> usize {
        match self {
            Self::Json => DEFAULT_LIMIT,
            Self::Pcap | Self::Pcapng => MAX_LIMIT,
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Json => "flowtap.json",
            Self::Pcap => "flowtap.pcap",
            Self::Pcapng => "flowtap.pcapng",
        }
    }
}

/// A read page, in the form it is sent in.
enum Content {
    Json(Vec<(FlowId, RawPacket)>),
    File(Vec<u8>),
}

/// Raw packets of the flows chosen, in time order, a page at a time.
///
/// `from` and `to` bound the packets' own times. A page ends early when its packets fill the memory
/// that one answer may take; the cursor continues there.
#[utoipa::path(
    get,
    path = "/api/v1/packets",
    tag = "flows",
    params(SelectParams, PacketParams),
    responses(
        (status = 200, description = "A page of packets; `X-Next-Cursor` as `NextCursor`. A capture file \
            without packets is a valid empty one",
            content((PacketPage = "application/json"), (Vec<u8> = "application/vnd.tcpdump.pcap"))),
        (status = 400, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "`capture` is no capture, and no UUID of one that was", body = Problem,
            content_type = "application/problem+json"),
        (status = 406, description = "Packets of several link types do not fit into one pcap file",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too many flows match", body = Problem,
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
    query: Result<Query<PacketParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ProblemFailure> {
    let Query(params) = query.map_err(super::bad_query_string)?;
    params::refuse_unknown(
        &params.unknown,
        &format!("{}, format, precision", params::SELECT_NAMES),
    )?;
    let format = PacketFormat::choose(params.format.as_deref(), &headers)?;
    let resolution = Precision::choose(params.precision.as_deref())?.resolution();
    let selection = Selection::<PacketKey>::parse(&params.select, &app.services.captures, Timestamp::now())?;
    let order = selection.order;
    let flows = app.services.flows.clone();
    let asked = selection.limit.unwrap_or_else(|| format.default_limit());
    let limit = app.services.limits.page(asked);
    let (content, bytes, next) = app
        .runner
        .run(move |cancel| {
            let page = read_page(&*flows, selection, limit, cancel)?;
            let next = page.next.map(|key| cursor::write(order, &key));
            let content = match format {
                PacketFormat::Json => Content::Json(page.items),
                PacketFormat::Pcap => Content::File(to_pcap(&packets_of(page.items, order), resolution)?),
                PacketFormat::Pcapng => Content::File(to_pcapng(&packets_of(page.items, order))?),
            };
            Ok::<_, Failure>((content, page.bytes, next))
        })
        .await?;
    let held = app.runner.hold(bytes)?;

    let response = match content {
        Content::Json(packets) => {
            let mut tail = b"],\"NextCursor\":".to_vec();
            body::write_json(&next, &mut tail);
            tail.push(b'}');
            let mut list = body::json_list();
            let write = move |(flow, packet): &(FlowId, RawPacket), out: &mut Vec<u8>| {
                list(&document(*flow, packet), out);
            };
            let body = body::items(b"{\"Packets\":[".to_vec(), packets, tail, write, held);
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (kind, body).into_response()
        }
        Content::File(bytes) => {
            let disposition = format!("attachment; filename=\"{}\"", format.file_name());
            let kind = [
                (header::CONTENT_TYPE, PCAP_MEDIA_TYPE.to_owned()),
                (header::CONTENT_DISPOSITION, disposition),
            ];
            (kind, body::whole(bytes, held)).into_response()
        }
    };
    Ok(with_cursor(response, next))
}

/// For a capture file, which runs forward in time: `desc` asks for the newest page, not for a file
/// that runs backwards.
fn packets_of(items: Vec<(FlowId, RawPacket)>, order: Order) -> Vec<RawPacket> {
    let mut packets: Vec<RawPacket> = items.into_iter().map(|(_, packet)| packet).collect();
    if order == Order::Descending {
        packets.reverse();
    }
    packets
}

fn document(flow: FlowId, packet: &RawPacket) -> PacketDocument {
    PacketDocument {
        flow_uuid: flow.to_string(),
        timestamp: packet.timestamp.millis(),
        timestamp_nano: packet.timestamp.nanos(),
        index: packet.index,
        length: packet.len,
        link_type: packet.link_type.0,
        data: STANDARD.encode(&packet.data),
    }
}

fn read_page(
    reader: &dyn FlowReader,
    selection: Selection<PacketKey>,
    limit: PageLimit,
    cancel: &Cancel,
) -> Result<Page<PacketKey, (FlowId, RawPacket)>, Failure> {
    let mut flows = Vec::new();
    let mut too_many = false;
    reader.flows(&selection.query, cancel, &mut |flow| {
        if flow.raw_packets_captured == 0 {
            return ControlFlow::Continue(());
        }
        if flows.len() == MAX_FLOWS {
            too_many = true;
            return ControlFlow::Break(());
        }
        flows.push(FlowRef::from(&flow));
        ControlFlow::Continue(())
    })?;
    if too_many {
        let detail = format!("more than {MAX_FLOWS} flows with packets match");
        let hint = "narrow the time range or the filter";
        return Err(Failure::new(Code::TooLarge, detail, hint));
    }
    let mut page = PageBuilder::new(selection.order, selection.after, limit);
    reader.raw_packets(&flows, selection.query.time, cancel, &mut |flow, packet| {
        let key = (packet.timestamp, flow, packet.index);
        page.offer(key, PACKET_BYTES + packet.data.len(), (flow, packet));
        ControlFlow::Continue(())
    })?;
    Ok(page.finish())
}

impl From<PcapError> for Failure {
    fn from(error: PcapError) -> Self {
        match &error {
            PcapError::MixedLinkTypes(..) => {
                let hint = "ask with `format=pcapng`, which holds several, or filter by capture";
                Self::new(Code::NotAcceptable, error.to_string(), hint)
            }
            _ => Self::new(Code::Internal, error.to_string(), "see the log"),
        }
    }
}

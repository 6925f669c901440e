//! Skydive's WebSockets: `/ws/subscriber` is told how the graph changes, `/ws/publisher` changes it,
//! `/ws/pubsub` does both.
//!
//! Messages are JSON in the envelope `{Namespace, Type, UUID, Status, Obj}`; all of them here are of the
//! namespace `Graph`. Where Skydive's server says nothing about a message that it does not take, this
//! one answers with the message's `UUID`, its type and `Reply`, a status of 400, and the reason.

mod answer;
mod handshake;
mod hub;
mod message;
mod session;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;

use crate::connection::Connection;
use crate::failure::{Code, Failure, PlainFailure};
use crate::server::App;
use handshake::Handshake;
use hub::Refused;
pub(crate) use hub::{Endpoint, Hub};
use session::Session;

/// Bytes of a message of a publisher: a `Sync` of some thousands of nodes. 64 publishers that send one
/// each at the same time take 1 GiB.
const PUBLISHED_BYTES: usize = 16 << 20;

/// Bytes of a message of a subscriber: a request with a query.
const REQUEST_BYTES: usize = 1 << 20;

/// Bytes that a connection reads and writes at a time.
const BUFFER: usize = 16 << 10;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Tells how the graph changes.
///
/// Every message is a text of JSON. `SyncRequest` (`Obj`: `Time` in ms, `GremlinFilter`; both may be left
/// out) is answered by `SyncReply`, whose `Obj` is the graph. With a filter the graph is what it names,
/// and stays that. If a client falls behind too far, it is sent the graph anew as `Sync`.
#[utoipa::path(
    get,
    path = "/ws/subscriber",
    tag = "websocket",
    params(
        ("X-Client-Type" = String, Header, description = "What the client is; each of these may be a lower-case \
            query parameter instead"),
        ("X-Host-ID" = Option<String>, Header, description = "Its name; no two clients of one have the same"),
        ("X-Client-Protocol" = Option<String>, Header, description = "`json`"),
        ("X-Gremlin-Filter" = Option<String>, Header, description = "A query that gives a graph; it is sent as \
            `Sync`, and then what changes in it"),
        ("X-Update-Policy" = Option<String>, Header, description = "`full`, or `partial` for changed entries alone"),
        ("X-Websocket-Namespace" = Option<String>, Header, description = "Namespaces that are wanted"),
    ),
    responses(
        (status = 101, description = "`NodeAdded`, `NodeUpdated`, `NodeDeleted`, `EdgeAdded`, …"),
        (status = 400, description = "A header is wrong", body = String, content_type = "text/plain"),
        (status = 409, description = "A client of this name is connected", body = String, content_type = "text/plain"),
        (status = 426, description = "This is no WebSocket", body = String, content_type = "text/plain"),
        (status = 503, description = "Too many clients", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn subscriber(
    State(app): State<Arc<App>>,
    connection: Option<Extension<Connection>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, PlainFailure> {
    let connection = connection.map(|Extension(connection)| connection);
    Ok(open(app, Endpoint::Subscriber, connection, &uri, &headers, upgrade).await?)
}

/// Changes the graph: nodes and edges of another program.
///
/// Takes `NodeAdded`, `NodeUpdated`, `NodePartiallyUpdated`, `NodeDeleted`, the same of edges, `Sync` (what
/// there is of this publisher, and nothing else), and `SyncRequest`.
#[utoipa::path(
    get,
    path = "/ws/publisher",
    tag = "websocket",
    params(
        ("X-Client-Type" = String, Header, description = "What the client is; each of these may be a lower-case \
            query parameter instead"),
        ("X-Host-ID" = Option<String>, Header, description = "Its name; no two publishers have the same"),
        ("X-Client-Protocol" = Option<String>, Header, description = "`json`"),
        ("X-Persistence-Policy" = Option<String>, Header, description = "`Persistent`: what it made stays when it \
            goes, until flowtap stops; or `DeleteOnDisconnect`: it goes with it"),
    ),
    responses(
        (status = 101, description = "Replies"),
        (status = 400, description = "A header is wrong", body = String, content_type = "text/plain"),
        (status = 409, description = "A publisher of this name is connected", body = String, content_type = "text/plain"),
        (status = 426, description = "This is no WebSocket", body = String, content_type = "text/plain"),
        (status = 503, description = "Too many clients", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn publisher(
    State(app): State<Arc<App>>,
    connection: Option<Extension<Connection>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, PlainFailure> {
    let connection = connection.map(|Extension(connection)| connection);
    Ok(open(app, Endpoint::Publisher, connection, &uri, &headers, upgrade).await?)
}

/// Changes the graph, and tells how it changes: both of `/ws/publisher` and `/ws/subscriber`, with the
/// headers of both.
#[utoipa::path(
    get,
    path = "/ws/pubsub",
    tag = "websocket",
    responses(
        (status = 101, description = "As of `/ws/subscriber`"),
        (status = 426, description = "This is no WebSocket", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn pubsub(
    State(app): State<Arc<App>>,
    connection: Option<Extension<Connection>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, PlainFailure> {
    let connection = connection.map(|Extension(connection)| connection);
    Ok(open(app, Endpoint::PubSub, connection, &uri, &headers, upgrade).await?)
}

async fn open(
    app: Arc<App>,
    endpoint: Endpoint,
    connection: Option<Connection>,
    uri: &Uri,
    headers: &HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Failure> {
    let Ok(upgrade) = upgrade else {
        let detail = "this is a WebSocket (RFC 6455, version 13), ask for an upgrade to it";
        return Err(Failure::new(
            Code::UpgradeRequired,
            detail,
            "connect to it as ws://",
        ));
    };
    let connection = connection.unwrap_or_default();
    let handshake = Handshake::read(headers, uri, connection.peer)?;
    let seat = app.hub.join(endpoint, &handshake, connection.peer);
    let seat = seat.map_err(|refused| refused_seat(refused, &handshake.host))?;
    let bytes = match endpoint {
        Endpoint::Subscriber => REQUEST_BYTES,
        Endpoint::Publisher | Endpoint::PubSub => PUBLISHED_BYTES,
    };
    let host = HeaderValue::from_str(&app.services.identity.host);
    let session = Session::begin(app, endpoint, handshake, seat, &connection).await?;
    let upgrade = upgrade
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(bytes)
        .max_frame_size(bytes);
    let mut response = upgrade.on_upgrade(|socket| session.run(socket));
    let headers = response.headers_mut();
    if let Ok(host) = host {
        headers.insert(HeaderName::from_static("x-host-id"), host);
    }
    let service = HeaderValue::from_static("analyzer");
    headers.insert(HeaderName::from_static("x-service-type"), service);
    Ok(response)
}

fn refused_seat(refused: Refused, host: &str) -> Failure {
    match refused {
        Refused::Taken => Failure::new(
            Code::Conflict,
            format!("a client with the X-Host-ID '{host}' is connected already, choose another"),
            "",
        ),
        Refused::Full => Failure::busy("WebSocket clients"),
    }
}

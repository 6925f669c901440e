//! One client, from its first message to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::answer::{self, SyncRequest};
use super::handshake::{GRAPH, Handshake};
use super::hub::{Endpoint, Seat};
use super::message::{self, Incoming};
use crate::connection::Connection;
use crate::declared::DeclaredError;
use crate::failure::{Code, Failure};
use crate::feed::{Batch, Feed};
use crate::publish::{Publication, Publisher};
use crate::server::App;
use crate::view::Elements;

/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const PONG: Duration = Duration::from_secs(5);
/// How long it may take to read one message. Until then, changes wait for it in the graph's own queue.
const READ: Duration = Duration::from_secs(30);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// One client.
pub(super) struct Session {
    app: Arc<App>,
    endpoint: Endpoint,
    handshake: Handshake,
    /// Held until all that it made is gone, if it is to go.
    seat: Seat,
    /// What it is told of.
    feed: Option<Feed>,
    /// What it is told first.
    first: Option<Elements>,
    publisher: Option<Publisher>,
    stopping: CancellationToken,
    _work: TaskTrackerToken,
}

/// Why a session ended.
enum End {
    /// The client went.
    Closed,
    /// flowtap stops.
    Stopped,
    /// The client does not answer.
    Silent,
    /// The client does not read.
    Slow,
    /// It cannot be told what has changed.
    Lost(String),
}

impl Session {
    /// Prepares what the client will be told first, so that a filter that is wrong is told while there
    /// is a status code to tell it with.
    pub(super) async fn begin(
        app: Arc<App>,
        endpoint: Endpoint,
        handshake: Handshake,
        seat: Seat,
        connection: &Connection,
    ) -> Result<Self, Failure> {
        let (mut feed, mut first) = (None, None);
        if endpoint.hears() && handshake.hears_graph {
            let (elements, changes) = answer::subscribe(&app, &handshake.filter).await?;
            feed = Some(changes);
            // Whoever has no filter asks for the graph when it wants it.
            first = (!handshake.filter.is_empty()).then_some(elements);
        }
        let publisher = if endpoint.speaks() {
            let origin = handshake.origin();
            let publisher = Publisher::new(&app.services.declared, &origin, &handshake.host);
            let taken = || {
                let detail =
                    format!("'{origin}' is what flowtap's own nodes are known by, choose another X-Host-ID");
                Failure::new(Code::Conflict, detail, "")
            };
            Some(publisher.ok_or_else(taken)?)
        } else {
            None
        };
        Ok(Self {
            app,
            endpoint,
            handshake,
            seat,
            feed,
            first,
            publisher,
            stopping: connection.stopping.clone(),
            _work: connection.work.token(),
        })
    }

    /// Talks until one of the two goes.
    pub(super) async fn run(mut self, mut socket: WebSocket) {
        let host = self.handshake.host.clone();
        tracing::info!(%host, endpoint = self.endpoint.as_str(), "WebSocket client connected");
        let (code, reason) = match self.talk(&mut socket).await {
            End::Closed => (close_code::NORMAL, "goodbye".to_owned()),
            End::Stopped => (close_code::AWAY, "flowtap stops".to_owned()),
            End::Silent => (close_code::POLICY, "no pong within 5 s".to_owned()),
            End::Slow => (
                close_code::POLICY,
                "a message was not read within 30 s".to_owned(),
            ),
            End::Lost(reason) => (close_code::AGAIN, reason),
        };
        if matches!(code, close_code::POLICY | close_code::AGAIN) {
            count(&self.seat.counters().dropped);
            tracing::warn!(%host, endpoint = self.endpoint.as_str(), %reason, "WebSocket client dropped");
        } else {
            tracing::info!(%host, endpoint = self.endpoint.as_str(), "WebSocket client disconnected");
        }
        let goodbye = CloseFrame {
            code,
            reason: reason.into(),
        };
        // Whoever has gone, or does not read, does not hear it.
        let _unheard = timeout(GOODBYE, socket.send(Message::Close(Some(goodbye)))).await;
        if let Some(publisher) = self
            .publisher
            .take()
            .filter(|_| self.handshake.delete_on_disconnect)
        {
            let withdrawn = tokio::task::spawn_blocking(move || publisher.withdraw()).await;
            if let Err(error) = withdrawn {
                tracing::error!(%host, %error, "what a publisher made could not be removed");
            }
        }
    }

    async fn talk(&mut self, socket: &mut WebSocket) -> End {
        if let Some(elements) = self.first.take()
            && let Err(end) = self.sync(socket, elements).await
        {
            return end;
        }
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Since when it owes a pong.
        let mut owes: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return End::Stopped,
                _ = ping.tick() => {
                    if owes.is_some_and(|since| since.elapsed() >= PONG) {
                        return End::Silent;
                    }
                    if let Err(end) = send(socket, Message::Ping(bytes::Bytes::new())).await {
                        return end;
                    }
                    owes.get_or_insert_with(Instant::now);
                }
                frame = socket.recv() => {
                    let text = match frame {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Binary(bytes))) => match Utf8Bytes::try_from(bytes) {
                            Ok(text) => text,
                            Err(_) => Utf8Bytes::from_static("no UTF-8"),
                        },
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                            owes = None;
                            continue;
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Closed,
                    };
                    if let Err(end) = self.hear(socket, &text).await {
                        return end;
                    }
                    // Whatever time that took, its pong waits behind it.
                    owes = None;
                }
                () = changed(&mut self.feed) => {
                    if let Err(end) = self.tell(socket).await {
                        return end;
                    }
                    owes = None;
                }
            }
        }
    }

    /// Tells what has changed.
    async fn tell(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        match feed.take().await {
            Batch::Changes(events) => {
                for event in events {
                    let text = message::change(&event.change, self.handshake.partial);
                    send(socket, Message::text(text)).await?;
                }
                Ok(())
            }
            Batch::Anew(snapshot) => {
                count(&self.seat.counters().resynced);
                tracing::warn!(host = %self.handshake.host, "WebSocket client fell behind, sending the graph anew");
                self.sync(socket, Elements::of(&snapshot)).await
            }
        }
    }

    async fn sync(&self, socket: &mut WebSocket, elements: Elements) -> Result<(), End> {
        let uuid = uuid::Uuid::new_v4().to_string();
        let (text, _held) = answer::graph(&self.app, "Sync", uuid, elements)
            .await
            .map_err(|failure| End::Lost(failure.to_string()))?;
        send(socket, Message::text(text)).await
    }

    /// Does what a message asks for, and answers it.
    async fn hear(&mut self, socket: &mut WebSocket, text: &str) -> Result<(), End> {
        let message = match serde_json::from_str::<Incoming>(text) {
            Ok(message) => message,
            Err(error) => {
                let reason = format!("this is no message {{Namespace, Type, UUID, Obj}}: {error}");
                return self.refuse(socket, "ErrorReply", "", 400, &reason).await;
            }
        };
        let Incoming {
            namespace,
            r#type: kind,
            uuid,
            obj,
        } = message;
        let reply = format!("{kind}Reply");
        if namespace != GRAPH {
            let reason = format!("namespace '{namespace}' is not spoken here, use {GRAPH}");
            return self.refuse(socket, &reply, &uuid, 400, &reason).await;
        }
        if kind == "SyncRequest" {
            return match self.answer(uuid.clone(), obj).await {
                Ok((text, _held)) => {
                    count(&self.seat.counters().taken);
                    send(socket, Message::text(text)).await
                }
                Err(failure) => {
                    let status = failure.status().as_u16();
                    self.refuse(socket, "SyncReply", &uuid, status, &failure.to_string())
                        .await
                }
            };
        }
        match self.publish(&kind, obj).await {
            Ok(()) => {
                count(&self.seat.counters().taken);
                Ok(())
            }
            Err(failure) => {
                let status = failure.status().as_u16();
                self.refuse(socket, &reply, &uuid, status, &failure.to_string())
                    .await
            }
        }
    }

    /// Answers a `SyncRequest`.
    async fn answer(&mut self, uuid: String, obj: Value) -> Result<(String, crate::runner::Held), Failure> {
        let request: Option<SyncRequest> = serde_json::from_value(obj)
            .map_err(|error| Failure::new(Code::BadBody, format!("SyncRequestMsg malformed: {error}"), ""))?;
        let request = request.unwrap_or_default();
        let hears = self.feed.is_some();
        let filter = match &request.gremlin_filter {
            Some(filter) if self.endpoint.hears() => filter.clone(),
            _ => self.handshake.filter.clone(),
        };
        // What it is told from here on follows from what it is answered here.
        let (now, feed) = answer::subscribe(&self.app, &filter).await?;
        let elements = match request.time() {
            Some(time) => answer::past(&self.app, &filter, time).await?,
            None => now,
        };
        let answer = answer::graph(&self.app, "SyncReply", uuid, elements).await?;
        self.handshake.filter = filter;
        self.feed = hears.then_some(feed);
        Ok(answer)
    }

    async fn publish(&self, kind: &str, obj: Value) -> Result<(), Failure> {
        let Some(publisher) = self.publisher.clone() else {
            let detail =
                format!("a subscriber sends SyncRequest, not {kind}; connect to /ws/publisher for that");
            return Err(Failure::new(Code::BadBody, detail, ""));
        };
        let publication = Publication::read(kind, obj).map_err(|error| {
            Failure::new(
                Code::BadBody,
                format!("the Obj of {kind} is malformed: {error}"),
                "",
            )
        })?;
        let publication = publication.ok_or_else(|| {
            Failure::new(Code::BadBody, format!("there is no message of type '{kind}'"), "")
        })?;
        let done = tokio::task::spawn_blocking(move || publisher.publish(publication)).await;
        let done = done.map_err(|error| {
            tracing::error!(%error, "a publication panicked");
            Failure::new(Code::Internal, "the message failed inside flowtap", "see the log")
        })?;
        done.map_err(|error: DeclaredError| error.into())
    }

    /// Tells that a message was not carried out, and why.
    async fn refuse(
        &self,
        socket: &mut WebSocket,
        kind: &str,
        uuid: &str,
        status: u16,
        reason: &str,
    ) -> Result<(), End> {
        count(&self.seat.counters().refused);
        tracing::debug!(host = %self.handshake.host, kind, reason, "a WebSocket message was refused");
        send(socket, Message::text(message::reply(kind, uuid, status, reason))).await
    }
}

/// Waits until there may be something to tell; forever, if nothing is told.
async fn changed(feed: &mut Option<Feed>) {
    match feed {
        Some(feed) => feed.changed().await,
        None => std::future::pending().await,
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(READ, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_gone)) => Err(End::Closed),
        Err(_elapsed) => Err(End::Slow),
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

//! `GET /api/v1/events`: changes of the topology as server-sent events.

mod log;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use flowtap_gremlin::NodeExpression;
use flowtap_topology::Graph;
use serde::Deserialize;
use utoipa::IntoParams;

use super::params;
use crate::connection::Connection;
use crate::failure::{Failure, ProblemFailure};
use crate::feed::{Feed, Part, Select};
use crate::server::App;
use crate::view::{Elements, View};
use crate::wire::Problem;
pub(crate) use log::EventLog;
use stream::{Identify, Start, Stream};

/// Readers at once: each holds a connection and some 10 KB; what it has not read yet is the graph's.
pub(crate) const MAX_STREAMS: usize = 128;

/// How often a connection on which nothing happens shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: &str = "last-event-id";

/// Parameters of this path.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventParams {
    /// `true`: the graph as it is comes first.
    #[param(inline, value_type = Option<bool>)]
    snapshot: Option<String>,
    /// Only what concerns the nodes that this expression names, and edges between them.
    #[param(inline, value_type = Option<String>, example = "G.V().Has('Type', 'device')")]
    gremlin: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    unknown: BTreeMap<String, String>,
}

/// Changes of the topology, as they happen (server-sent events).
///
/// `NodeAdded`, `NodeUpdated`, `NodeDeleted`, `EdgeAdded`, `EdgeUpdated`, `EdgeDeleted` carry `Sequence`,
/// `At` (ms since the Unix epoch) and the `Node` or `Edge`. `reset` says that what was known before is
/// void, and why; `snapshot` events follow it with the graph in pieces (`Nodes`, `Edges`, and `More` in
/// all but the last). Browsers reconnect with `Last-Event-ID` by themselves, and go on where they were if
/// that is among the last 4,096 events; if not, a `reset` comes. With an expression, an element may be
/// told as added again after that.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "events",
    tag = "topology",
    params(EventParams, ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event seen")),
    responses(
        (status = 200, description = "The stream; it ends when either side does", body = String,
            content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many readers at once", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    connection: Option<Extension<Connection>>,
    headers: HeaderMap,
    query: Result<Query<EventParams>, QueryRejection>,
) -> Result<Response, ProblemFailure> {
    let Query(params) = query.map_err(super::bad_query_string)?;
    params::refuse_unknown(&params.unknown, "snapshot, gremlin")?;
    let snapshot = match params.snapshot.as_deref() {
        None | Some("" | "false" | "0") => false,
        Some("true" | "1") => true,
        Some(other) => return Err(params::bad("snapshot", other, "`true` or `false`").into()),
    };
    let gremlin = params.gremlin.as_deref().filter(|text| !text.trim().is_empty());
    let expression = gremlin.map(NodeExpression::parse).transpose()?;
    let place = Arc::clone(&app.event_streams).try_acquire_owned();
    let place = place.map_err(|_| Failure::busy("readers of events"))?;

    let stopping = connection
        .map(|Extension(connection)| connection.stopping)
        .unwrap_or_default();
    let identify = Identify::new(app.services.identity.started);
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let reader = Reader {
        app: &app,
        last: last
            .filter(|text| !text.is_empty())
            .map(|text| identify.read(text)),
        snapshot,
    };
    app.events.follow(app.services.topology.graph(), &stopping);
    let opened = async {
        match expression {
            None => Ok(reader.whole().await),
            Some(expression) => reader.part(Arc::new(expression)).await,
        }
    };
    let (start, feed) = tokio::select! {
        opened = opened => opened?,
        () = stopping.cancelled() => return Err(Failure::busy("requests for a server that stops").into()),
    };
    let stream = Stream::new(identify, start, feed, stopping, place);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("nothing happened");
    Ok(Sse::new(stream.into_events())
        .keep_alive(keep_alive)
        .into_response())
}

/// Why nobody can go on from the event that was named.
const FORGOTTEN: &str = "the last event seen is too long ago, or was before flowtap was started";

/// Who wants events, and what it knows already.
struct Reader<'a> {
    app: &'a App,
    /// The last event that it has seen; `Some(None)` is one of another life.
    last: Option<Option<u64>>,
    /// Whether it wants the graph as it is.
    snapshot: bool,
}

impl Reader<'_> {
    async fn whole(&self) -> (Start, Feed) {
        let (now, feed) = Feed::whole(self.graph());
        let sequence = now.sequence();
        let missed = match self.last {
            Some(Some(last)) => self.app.events.between(last, sequence).await,
            _ => None,
        };
        let start = match (self.last, missed) {
            (Some(_), Some(missed)) => Start::Missed(missed),
            (Some(_), None) => Start::Graph(FORGOTTEN, sequence, Elements::of(&now)),
            (None, _) if self.snapshot => Start::Graph("", sequence, Elements::of(&now)),
            (None, _) => Start::Now(sequence),
        };
        (start, feed)
    }

    async fn part(&self, expression: Arc<NodeExpression>) -> Result<(Start, Feed), Failure> {
        let graph = self.graph();
        let select = select(graph, Arc::clone(&expression));
        if let Some(Some(last)) = self.last {
            let now = graph.snapshot();
            if let Some(missed) = self.app.events.between(last, now.sequence()).await {
                // What it saw is what the expression named then.
                let then = move |_: &_| {
                    let then = log::undo(&now, &missed);
                    part_of(&expression, &then)
                };
                let seen = self
                    .app
                    .runner
                    .run::<_, flowtap_gremlin::QueryError, _>(then)
                    .await?;
                let feed = Feed::resumed(graph, select, &self.app.turns, seen.view);
                return Ok((Start::Now(last), feed));
            }
        }
        let (elements, sequence, feed) = Feed::part(graph, select, &self.app.turns).await?;
        let start = match self.last {
            Some(_) => Start::Graph(FORGOTTEN, sequence, elements),
            None if self.snapshot => Start::Graph("", sequence, elements),
            None => Start::Now(sequence),
        };
        Ok((start, feed))
    }

    fn graph(&self) -> &Arc<Graph> {
        self.app.services.topology.graph()
    }
}

fn select(graph: &Arc<Graph>, expression: Arc<NodeExpression>) -> Select {
    let graph = Arc::clone(graph);
    Arc::new(move |_| part_of(&expression, &graph.snapshot()))
}

fn part_of(
    expression: &NodeExpression,
    graph: &flowtap_topology::Snapshot,
) -> Result<Part, flowtap_gremlin::QueryError> {
    let nodes = expression.select(graph)?;
    Ok(Part {
        view: View::around(nodes, graph),
        sequence: graph.sequence(),
    })
}

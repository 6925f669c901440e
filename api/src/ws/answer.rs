//! Graphs that clients ask for.

use std::sync::Arc;

use serde::Deserialize;

use super::message;
use crate::failure::{Code, Failure};
use crate::feed::{Feed, Part, Select};
use crate::runner::Held;
use crate::server::App;
use crate::view::{Elements, View};

/// A client asks for the graph.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SyncRequest {
    /// As it was then, in ms since the Unix epoch; 0 is now.
    time: Option<i64>,
    /// A query that gives the graph that it wants from now on; empty: all of it; `None`: the same as
    /// before.
    pub(super) gremlin_filter: Option<String>,
}

/// The graph, or the part of it that `filter` names, and how it changes from then on.
pub(super) async fn subscribe(app: &App, filter: &str) -> Result<(Elements, Feed), Failure> {
    let graph = app.services.topology.graph();
    if filter.is_empty() {
        let (snapshot, feed) = Feed::whole(graph);
        return Ok((Elements::of(&snapshot), feed));
    }
    let (elements, _, feed) = Feed::part(graph, select(app, filter), &app.turns).await?;
    Ok((elements, feed))
}

impl SyncRequest {
    /// When the client wants the graph of, if not now.
    pub(super) fn time(&self) -> Option<i64> {
        self.time.filter(|time| *time != 0)
    }
}

/// The graph as it was at `time`, or the part of it that `filter` names.
pub(super) async fn past(app: &App, filter: &str, time: i64) -> Result<Elements, Failure> {
    // All of it is asked for by a query as well: what queries may cost holds.
    let filter = if filter.is_empty() { "G" } else { filter };
    let Some(steps) = filter.trim().strip_prefix('G') else {
        let detail = format!("Invalid Gremlin filter '{filter}', it begins with G");
        return Err(Failure::new(Code::BadQuery, detail, ""));
    };
    let query = format!("G.At({time}){steps}");
    let queries = Arc::clone(&app.services.queries);
    let (nodes, edges) = app
        .runner
        .run(move |cancel| queries.graph(&query, cancel))
        .await?;
    Ok(Elements { nodes, edges })
}

/// Writes a graph as a message, and takes the memory for it into account until it is sent.
pub(super) async fn graph(
    app: &App,
    kind: &'static str,
    uuid: String,
    elements: Elements,
) -> Result<(String, Held), Failure> {
    // In turn, so that many clients that come back at once do not write the graph many times at once.
    let turn = Arc::clone(&app.turns).acquire_owned().await;
    let write = move || {
        let _turn = turn;
        message::reply(kind, &uuid, 200, &elements)
    };
    let text = tokio::task::spawn_blocking(write)
        .await
        .map_err(Failure::panicked)?;
    let held = app.runner.hold(text.len())?;
    Ok((text, held))
}

fn select(app: &App, filter: &str) -> Select {
    let queries = Arc::clone(&app.services.queries);
    let filter = filter.to_owned();
    Arc::new(move |cancel| {
        let (nodes, edges) = queries.graph(&filter, cancel)?;
        Ok(Part {
            view: View::new(nodes, edges),
            sequence: 0,
        })
    })
}

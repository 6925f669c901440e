//! One reader's stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{Change, Edge, Event, Node};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::body::write_json;
use crate::feed::{Batch, Feed};
use crate::view::Elements;

/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);
/// Elements in one piece of a graph: at 11 KiB of JSON each, 3 MB.
const PIECE: usize = 256;

/// Names events. Numbers begin anew with each start of flowtap, so the start is part of the name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identify {
    started: i64,
}

impl Identify {
    pub(super) fn new(started: Timestamp) -> Self {
        Self {
            started: started.millis(),
        }
    }

    fn write(self, sequence: u64) -> String {
        format!("{}-{sequence}", self.started)
    }

    /// The number of the event named `text`, if it is of this start.
    pub(super) fn read(self, text: &str) -> Option<u64> {
        let (started, sequence) = text.split_once('-')?;
        sequence
            .parse()
            .ok()
            .filter(|_| started.parse() == Ok(self.started))
    }
}

/// What a reader is told first.
pub(super) enum Start {
    /// Nothing: it knows everything up to this event, or does not want to.
    Now(u64),
    /// What it has missed.
    Missed(Vec<Arc<Event>>),
    /// Why it is told the graph, the last event that is in it, and what it is.
    Graph(&'static str, u64, Elements),
}

/// One reader's stream.
pub(super) struct Stream {
    identify: Identify,
    /// Written already.
    ready: VecDeque<sse::Event>,
    /// Changes that come next; of a part of the graph, the last one alone has a name.
    changes: VecDeque<Arc<Event>>,
    /// A graph on its way, before `changes`.
    graph: Option<Pieces>,
    feed: Feed,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// A graph that is sent piece by piece.
struct Pieces {
    sequence: u64,
    nodes: std::vec::IntoIter<Arc<Node>>,
    edges: std::vec::IntoIter<Arc<Edge>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Piece {
    sequence: u64,
    nodes: Vec<Arc<Node>>,
    edges: Vec<Arc<Edge>>,
    more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reset<'a> {
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'a> {
    sequence: u64,
    at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a Node>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edge: Option<&'a Edge>,
}

impl Stream {
    pub(super) fn new(
        identify: Identify,
        start: Start,
        feed: Feed,
        stopping: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let hello = sse::Event::default().retry(RETRY);
        let mut stream = Self {
            identify,
            ready: VecDeque::new(),
            changes: VecDeque::new(),
            graph: None,
            feed,
            stopping,
            _place: place,
        };
        match start {
            // An event without data is none, but its name is remembered: a reader that loses the
            // connection before anything happened goes on from here.
            Start::Now(sequence) => stream.ready.push_back(hello.id(identify.write(sequence))),
            Start::Missed(events) => {
                stream.ready.push_back(hello);
                stream.changes = events.into();
            }
            Start::Graph(reason, sequence, elements) => {
                stream.ready.push_back(hello);
                stream.reset(reason, sequence, elements);
            }
        }
        stream
    }

    /// What goes over the wire.
    pub(super) fn into_events(self) -> impl futures_util::Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut stream| async move {
            let event = stream.next().await?;
            Some((Ok(event), stream))
        })
    }

    /// The next event; `None` when flowtap stops.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if let Some(pieces) = &mut self.graph {
                let piece = pieces.next();
                let event = event("snapshot", &piece);
                if piece.more {
                    return Some(event);
                }
                self.graph = None;
                // Whoever has half a graph does not go on from it.
                return Some(event.id(self.identify.write(piece.sequence)));
            }
            if let Some(change) = self.changes.pop_front() {
                let is_last = self
                    .changes
                    .front()
                    .is_none_or(|next| next.sequence != change.sequence);
                let event = told(&change);
                return Some(if is_last {
                    event.id(self.identify.write(change.sequence))
                } else {
                    event
                });
            }
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = self.feed.changed() => {}
            }
            match self.feed.take().await {
                Batch::Changes(events) => self.changes = events.into(),
                Batch::Anew(graph) => {
                    self.reset(
                        "too much has happened to tell it all",
                        graph.sequence(),
                        Elements::of(&graph),
                    );
                }
            }
        }
    }

    fn reset(&mut self, reason: &str, sequence: u64, elements: Elements) {
        self.ready.push_back(event("reset", &Reset { reason }));
        self.graph = Some(Pieces {
            sequence,
            nodes: elements.nodes.into_iter(),
            edges: elements.edges.into_iter(),
        });
    }
}

impl Pieces {
    /// The next piece: nodes first, so that an edge finds its ends.
    fn next(&mut self) -> Piece {
        let nodes: Vec<_> = self.nodes.by_ref().take(PIECE).collect();
        let edges = self.edges.by_ref().take(PIECE - nodes.len()).collect();
        Piece {
            sequence: self.sequence,
            nodes,
            edges,
            more: self.nodes.len() + self.edges.len() > 0,
        }
    }
}

fn told(event: &Event) -> sse::Event {
    let (kind, node, edge) = match &event.change {
        Change::NodeAdded(node) => ("NodeAdded", Some(&**node), None),
        Change::NodeUpdated { node, .. } => ("NodeUpdated", Some(&**node), None),
        Change::NodeDeleted(node) => ("NodeDeleted", Some(&**node), None),
        Change::EdgeAdded(edge) => ("EdgeAdded", None, Some(&**edge)),
        Change::EdgeUpdated { edge, .. } => ("EdgeUpdated", None, Some(&**edge)),
        Change::EdgeDeleted(edge) => ("EdgeDeleted", None, Some(&**edge)),
    };
    let told = Told {
        sequence: event.sequence,
        at: event.at,
        node,
        edge,
    };
    self::event(kind, &told)
}

fn event<T: Serialize>(kind: &str, data: &T) -> sse::Event {
    let mut text = Vec::new();
    write_json(data, &mut text);
    // What serde_json writes is UTF-8, and of one line.
    sse::Event::default()
        .event(kind)
        .data(String::from_utf8(text).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_start() {
        let identify = Identify::new(Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(identify.write(17), "1700000000000-17");
        assert_eq!(identify.read("1700000000000-17"), Some(17));
        for other in [
            "1600000000000-17",
            "17",
            "",
            "1700000000000-",
            "x-17",
            "1700000000000-x",
        ] {
            assert_eq!(identify.read(other), None, "{other}");
        }
    }

    #[test]
    fn a_graph_in_pieces_has_its_nodes_first() {
        let node: Arc<Node> = Arc::new(serde_json::from_str(r#"{"ID": "n"}"#).unwrap());
        let edge: Arc<Edge> =
            Arc::new(serde_json::from_str(r#"{"ID": "e", "Parent": "n", "Child": "n"}"#).unwrap());
        let pieces = |nodes: usize, edges: usize| {
            let mut pieces = Pieces {
                sequence: 7,
                nodes: vec![Arc::clone(&node); nodes].into_iter(),
                edges: vec![Arc::clone(&edge); edges].into_iter(),
            };
            let mut all = Vec::new();
            loop {
                let piece = pieces.next();
                all.push((piece.nodes.len(), piece.edges.len()));
                if !piece.more {
                    return all;
                }
            }
        };
        assert_eq!(pieces(0, 0), [(0, 0)]);
        assert_eq!(pieces(300, 300), [(256, 0), (44, 212), (0, 88)]);
        assert_eq!(pieces(256, 0), [(256, 0)]);
    }
}

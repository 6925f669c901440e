//! Changes of the graph, or of a part of it, for one reader.
//!
//! A reader of the whole graph receives the graph's own events. The graph keeps those that it has not
//! read yet (16,384 at most, shared by all readers); one that falls behind further is given the graph
//! anew. A reader of a part has the part worked out again after each burst of events, and is told the
//! difference.

use std::sync::Arc;
use std::time::Duration;

use flowtap_flow::query::Cancel;
use flowtap_gremlin::QueryError;
use flowtap_topology::{Event, Graph, Snapshot, Subscription};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::failure::{Code, Failure};
use crate::view::{Elements, View};

/// Events that are handed over at once: at 11 KiB of JSON each, 3 MB.
const BATCH: usize = 256;

/// The shortest time between two workings out of a part. With many readers of parts, this bounds what a
/// busy graph costs.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a part that could not be worked out is left as it was.
const RETRY: Duration = Duration::from_secs(2);

/// How long working out a part may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Parts that are worked out at once.
pub(crate) const TURNS: usize = 2;

/// A part of the graph at some moment.
pub(crate) struct Part {
    pub(crate) view: View,
    /// The graph's last event then, 0 if nobody asks.
    pub(crate) sequence: u64,
}

/// Works out a part of the graph as it is. It blocks.
pub(crate) type Select = Arc<dyn Fn(&Cancel) -> Result<Part, QueryError> + Send + Sync>;

/// What a reader is to be told.
pub(crate) enum Batch {
    /// These changes, in order.
    Changes(Vec<Arc<Event>>),
    /// Forget everything: the graph is this.
    Anew(Arc<Snapshot>),
}

/// Changes for one reader.
pub(crate) struct Feed {
    graph: Arc<Graph>,
    events: Subscription,
    source: Source,
}

enum Source {
    Whole {
        pending: Vec<Arc<Event>>,
        anew: Option<Arc<Snapshot>>,
    },
    Part {
        select: Select,
        turns: Arc<Semaphore>,
        view: View,
        /// Whether the graph has changed since `view` was worked out.
        stale: bool,
        not_before: Instant,
    },
}

impl Feed {
    /// The whole graph as it is, and what changes from then on.
    pub(crate) fn whole(graph: &Arc<Graph>) -> (Arc<Snapshot>, Self) {
        let (snapshot, events) = graph.subscribe();
        let feed = Self {
            graph: Arc::clone(graph),
            events,
            source: Source::Whole {
                pending: Vec::new(),
                anew: None,
            },
        };
        (snapshot, feed)
    }

    /// A part of the graph as it is, and what changes in it from then on.
    ///
    /// # Errors
    /// Why it cannot be worked out.
    pub(crate) async fn part(
        graph: &Arc<Graph>,
        select: Select,
        turns: &Arc<Semaphore>,
    ) -> Result<(Elements, u64, Self), Failure> {
        let (_, events) = graph.subscribe();
        let part = work_out(&select, turns).await?;
        let elements = part.view.elements();
        let feed = Self {
            graph: Arc::clone(graph),
            events,
            source: Source::Part {
                select,
                turns: Arc::clone(turns),
                view: part.view,
                stale: false,
                not_before: Instant::now() + PAUSE,
            },
        };
        Ok((elements, part.sequence, feed))
    }

    /// As [`Feed::part`], for a reader that has seen `view` already.
    pub(crate) fn resumed(graph: &Arc<Graph>, select: Select, turns: &Arc<Semaphore>, view: View) -> Self {
        Self {
            graph: Arc::clone(graph),
            events: graph.subscribe().1,
            source: Source::Part {
                select,
                turns: Arc::clone(turns),
                view,
                stale: true,
                not_before: Instant::now(),
            },
        }
    }

    /// Waits until there may be something to tell. May be dropped while it waits: nothing is lost.
    pub(crate) async fn changed(&mut self) {
        match &mut self.source {
            Source::Whole { pending, anew } => {
                while pending.is_empty() && anew.is_none() {
                    match self.events.next().await {
                        Ok(event) => pending.push(event),
                        Err(_lagged) => {
                            let (snapshot, events) = self.graph.subscribe();
                            self.events = events;
                            *anew = Some(snapshot);
                        }
                    }
                }
            }
            Source::Part {
                stale, not_before, ..
            } => {
                if !*stale {
                    // Missed or not: the graph has changed.
                    let _changed = self.events.next().await;
                    *stale = true;
                }
                tokio::time::sleep_until(*not_before).await;
            }
        }
    }

    /// What there is to tell. The number of an event of a part is that of the graph's last event that
    /// is in it.
    pub(crate) async fn take(&mut self) -> Batch {
        match &mut self.source {
            Source::Whole { pending, anew } => {
                if let Some(snapshot) = anew.take() {
                    pending.clear();
                    return Batch::Anew(snapshot);
                }
                let mut batch = std::mem::take(pending);
                while batch.len() < BATCH {
                    match self.events.try_next() {
                        Ok(Some(event)) => batch.push(event),
                        Ok(None) => break,
                        Err(_lagged) => {
                            let (snapshot, events) = self.graph.subscribe();
                            self.events = events;
                            return Batch::Anew(snapshot);
                        }
                    }
                }
                Batch::Changes(batch)
            }
            Source::Part {
                select,
                turns,
                view,
                stale,
                not_before,
            } => {
                // What has happened until now is in what is worked out now.
                while !matches!(self.events.try_next(), Ok(None)) {}
                *stale = false;
                match work_out(select, turns).await {
                    Ok(part) => {
                        *not_before = Instant::now() + PAUSE;
                        let changes = view.advance(part.view).into_iter();
                        let at = flowtap_flow::timestamp::Timestamp::now().millis();
                        let event = |change| {
                            Arc::new(Event {
                                sequence: part.sequence,
                                at,
                                change,
                            })
                        };
                        Batch::Changes(changes.map(event).collect())
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a reader's part of the topology could not be worked out, trying again");
                        *stale = true;
                        *not_before = Instant::now() + RETRY;
                        Batch::Changes(Vec::new())
                    }
                }
            }
        }
    }
}

async fn work_out(select: &Select, turns: &Arc<Semaphore>) -> Result<Part, Failure> {
    let internal = |reason: &'static str| Failure::new(Code::Internal, reason, "see the log");
    let turn = Arc::clone(turns).acquire_owned().await;
    let select = Arc::clone(select);
    let work = move || {
        let _turn = turn;
        select(&Cancel::at(std::time::Instant::now() + TIME_LIMIT))
    };
    let part = tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "working out a part of the topology panicked");
        internal("the query failed inside flowtap")
    })?;
    Ok(part?)
}

//! The last events, for readers that come back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowtap_topology::{Change, Event, Graph, Snapshot};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Events that are remembered: some 11 KiB each at most, so 45 MB. When there are more, the oldest is
/// forgotten, and a reader that has seen no later one is sent the graph anew.
const REMEMBERED: usize = 4_096;

/// The last events of a graph. It begins with the first reader: before, nobody can come back.
pub(crate) struct EventLog {
    events: Mutex<Remembered>,
    /// The last event that has been looked at.
    reached: watch::Sender<u64>,
    started: AtomicBool,
}

#[derive(Default)]
struct Remembered {
    /// The number of the event before the first of them.
    before: u64,
    events: VecDeque<Arc<Event>>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            reached: watch::Sender::new(0),
            started: AtomicBool::new(false),
        }
    }
}

impl EventLog {
    /// Remembers from now on until `stopping` fires. The first call counts.
    pub(crate) fn follow(self: &Arc<Self>, graph: &Arc<Graph>, stopping: &CancellationToken) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut events = self.begin(graph);
        let (log, graph, stopping) = (Arc::clone(self), Arc::clone(graph), stopping.clone());
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = events.next() => next,
                    () = stopping.cancelled() => return,
                };
                match next {
                    Ok(event) => log.remember(event),
                    Err(_lagged) => events = log.begin(&graph),
                }
            }
        });
    }

    /// The events after `last` up to `end`, both of which have happened; waits until they have been
    /// looked at. `None` if they are not remembered, or `last` never was.
    pub(crate) async fn between(&self, last: u64, end: u64) -> Option<Vec<Arc<Event>>> {
        let mut reached = self.reached.subscribe();
        reached.wait_for(|reached| *reached >= end).await.ok()?;
        drop(reached);
        let remembered = self.remembered();
        if last < remembered.before || last > end {
            return None;
        }
        let events = remembered.events.iter();
        let events = events.filter(|event| last < event.sequence && event.sequence <= end);
        Some(events.cloned().collect())
    }

    /// Forgets everything, and begins with what happens from now on.
    fn begin(&self, graph: &Graph) -> flowtap_topology::Subscription {
        let (now, events) = graph.subscribe();
        *self.remembered() = Remembered {
            before: now.sequence(),
            events: VecDeque::new(),
        };
        self.reached.send_replace(now.sequence());
        events
    }

    fn remember(&self, event: Arc<Event>) {
        let sequence = event.sequence;
        let mut remembered = self.remembered();
        remembered.events.push_back(event);
        if remembered.events.len() > REMEMBERED
            && let Some(oldest) = remembered.events.pop_front()
        {
            remembered.before = oldest.sequence;
        }
        drop(remembered);
        self.reached.send_replace(sequence);
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        // Nothing panics while it is held.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `graph` as it was before `events`, the last of which is the last that is in it.
pub(super) fn undo(graph: &Snapshot, events: &[Arc<Event>]) -> Snapshot {
    let mut graph = graph.clone();
    for event in events.iter().rev() {
        graph.apply(&Event {
            sequence: event.sequence.saturating_sub(1),
            at: event.at,
            change: inverse(&event.change),
        });
    }
    graph
}

fn inverse(change: &Change) -> Change {
    match change {
        Change::NodeAdded(node) => Change::NodeDeleted(Arc::clone(node)),
        Change::NodeUpdated { node, before } => Change::NodeUpdated {
            node: Arc::clone(before),
            before: Arc::clone(node),
        },
        Change::NodeDeleted(node) => Change::NodeAdded(Arc::clone(node)),
        Change::EdgeAdded(edge) => Change::EdgeDeleted(Arc::clone(edge)),
        Change::EdgeUpdated { edge, before } => Change::EdgeUpdated {
            edge: Arc::clone(before),
            before: Arc::clone(edge),
        },
        Change::EdgeDeleted(edge) => Change::EdgeAdded(Arc::clone(edge)),
    }
}

#[cfg(test)]
mod tests {
    use flowtap_topology::{LAYER2, Metadata, NodeSpec};

    use super::*;

    #[tokio::test]
    async fn what_happened_is_told_or_forgotten() {
        let graph = Arc::new(Graph::new("compute-1"));
        let log = Arc::new(EventLog::default());
        log.follow(&graph, &CancellationToken::new());
        let begin = graph.snapshot();
        let port = |name: &str| {
            graph
                .upsert_node(NodeSpec::new(graph.host(), "device", name))
                .unwrap()
        };
        let (a, b) = (port("a"), port("b"));
        let middle = graph.snapshot();
        graph.link(&a, &b, LAYER2, Metadata::new()).unwrap();
        graph.set_metadata(&a, "Name", "renamed").unwrap();
        graph.edit(|edit| edit.remove_node(&b));
        let end = graph.snapshot();

        let all = log.between(begin.sequence(), end.sequence()).await.unwrap();
        assert_eq!(all.len() as u64, end.sequence() - begin.sequence());
        assert_eq!(undo(&end, &all).nodes().count(), begin.len());
        let part = log.between(middle.sequence(), end.sequence()).await.unwrap();
        let undone = undo(&end, &part);
        assert_eq!(
            (undone.sequence(), undone.edge_count()),
            (middle.sequence(), middle.edge_count())
        );
        // All but the time of its end is again as it was.
        assert_eq!(undone.node(&a), middle.node(&a));
        assert_eq!(log.between(end.sequence(), end.sequence()).await.unwrap(), []);

        assert!(
            log.between(begin.sequence() - 1, end.sequence()).await.is_none(),
            "before the log"
        );
        assert!(
            log.between(end.sequence() + 1, end.sequence()).await.is_none(),
            "not yet"
        );
        for value in 0..REMEMBERED {
            graph.set_metadata(&a, "MTU", value).unwrap();
        }
        let now = graph.snapshot().sequence();
        assert!(log.between(middle.sequence(), now).await.is_none(), "forgotten");
        assert_eq!(log.between(end.sequence(), now).await.unwrap().len(), REMEMBERED);
    }
}

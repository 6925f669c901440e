//! Which nodes the expressions name, kept up to date change by change.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtap_topology::{NodeId, Snapshot};

use crate::declare::Expression;
use crate::entry::Entry;

/// One capture's expression and the nodes that it names.
struct Watched {
    entry: Arc<Entry>,
    nodes: HashSet<NodeId>,
    /// The graph has changed in a way that may matter, and the whole expression is to be asked.
    is_stale: bool,
    /// It was asked before.
    is_known: bool,
    /// Why it could not be asked; then the nodes of before stand.
    problem: Option<String>,
}

impl Watched {
    fn expression(&self) -> Option<&Expression> {
        self.entry.declared.expression.as_ref().ok()
    }
}

/// The expressions of all captures, by the captures' numbers.
///
/// An expression that each node answers by itself is asked about the nodes that have changed; any other
/// about the whole graph, one expression at a time, so that what the first can tell never waits long for
/// what the second costs.
#[derive(Default)]
pub(super) struct Matching {
    watched: BTreeMap<u64, Watched>,
    /// When the next whole graph may be searched.
    rest_until: Option<Instant>,
}

/// What changed for one capture.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Nodes that it names, did name, or names still and that have changed themselves.
    pub(super) pairs: Vec<(u64, NodeId)>,
    /// Captures whose number of nodes may be another.
    pub(super) captures: Vec<u64>,
}

impl Matching {
    /// Follows `entries` from now on, and no others. Returns the captures that it does not follow any more,
    /// with their nodes.
    pub(super) fn follow(&mut self, entries: &[Arc<Entry>]) -> Vec<(u64, HashSet<NodeId>)> {
        let numbers: HashSet<u64> = entries.iter().map(|entry| entry.number).collect();
        let ended: Vec<u64> = self
            .watched
            .keys()
            .filter(|number| !numbers.contains(number))
            .copied()
            .collect();
        let gone = ended
            .into_iter()
            .filter_map(|number| Some((number, self.watched.remove(&number)?.nodes)));
        let gone = gone.collect();
        for entry in entries {
            self.watched.entry(entry.number).or_insert_with(|| Watched {
                entry: Arc::clone(entry),
                nodes: HashSet::new(),
                is_stale: true,
                is_known: false,
                problem: None,
            });
        }
        gone
    }

    /// The capture of this number.
    pub(super) fn entry(&self, number: u64) -> Option<&Arc<Entry>> {
        self.watched.get(&number).map(|watched| &watched.entry)
    }

    /// Whether `number` names `node`.
    pub(super) fn names(&self, number: u64, node: &NodeId) -> bool {
        let watched = self.watched.get(&number);
        watched.is_some_and(|watched| watched.nodes.contains(node))
    }

    /// The nodes that `number` names.
    pub(super) fn nodes(&self, number: u64) -> impl Iterator<Item = &NodeId> {
        self.watched
            .get(&number)
            .into_iter()
            .flat_map(|watched| &watched.nodes)
    }

    /// How many nodes `number` names, and why that may be wrong.
    pub(super) fn count(&self, number: u64) -> Option<(usize, Option<&str>)> {
        let watched = self.watched.get(&number)?;
        Some((watched.nodes.len(), watched.problem.as_deref()))
    }

    /// All that may have changed without an event: every expression is asked anew.
    pub(super) fn forget_all(&mut self) {
        for watched in self.watched.values_mut() {
            watched.is_stale = true;
        }
    }

    /// Takes a change of the graph: `nodes` have come, gone or changed, and whatever leads from one node to
    /// another may have, too.
    pub(super) fn nodes_changed(&mut self, nodes: &HashSet<NodeId>, graph: &Snapshot) -> Changed {
        let there = nodes.iter().filter_map(|id| graph.node(id).cloned());
        let alone = Snapshot::of(there, []);
        let mut changed = Changed::default();
        for (number, watched) in &mut self.watched {
            let before = nodes.iter().filter(|id| watched.nodes.contains(*id));
            let mut touched: HashSet<NodeId> = before.cloned().collect();
            let expression = watched.entry.declared.expression.as_ref();
            match expression {
                Ok(expression) if expression.is_local() && !watched.is_stale => {
                    match expression.ids(&alone) {
                        Ok(named) => {
                            for id in nodes {
                                watched.nodes.remove(id);
                            }
                            touched.extend(named.iter().cloned());
                            watched.nodes.extend(named);
                        }
                        Err(_) => watched.is_stale = true,
                    }
                }
                Ok(_) => watched.is_stale = true,
                Err(_) => {}
            }
            if !touched.is_empty() {
                changed.captures.push(*number);
                changed.pairs.extend(touched.into_iter().map(|id| (*number, id)));
            }
        }
        changed
    }

    /// Takes a change of edges.
    pub(super) fn edges_changed(&mut self) {
        for watched in self.watched.values_mut() {
            if watched
                .expression()
                .is_some_and(|expression| !expression.is_local())
            {
                watched.is_stale = true;
            }
        }
    }

    /// When the next expression can be asked about the whole graph; `None` if none needs it.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let is_due = self.watched.values().any(|watched| watched.is_stale);
        is_due.then(|| self.rest_until.map_or(now, |rest| rest.max(now)))
    }

    /// Asks one expression about the whole graph, the oldest capture first. While the graph changes all the
    /// time, half of the time is left for others.
    pub(super) fn ask_one(&mut self, graph: &Snapshot) -> Changed {
        let mut changed = Changed::default();
        let stale = self.watched.iter_mut().find(|(_, watched)| watched.is_stale);
        let Some((number, watched)) = stale else {
            return changed;
        };
        let start = Instant::now();
        watched.is_stale = false;
        changed.captures.push(*number);
        let asked = match &watched.entry.declared.expression {
            Ok(expression) => expression.ids(graph),
            Err(_) => Ok(HashSet::new()),
        };
        match asked {
            Ok(named) => {
                let differ = watched.nodes.symmetric_difference(&named);
                changed.pairs.extend(differ.map(|id| (*number, id.clone())));
                watched.nodes = named;
                watched.problem = None;
            }
            Err(problem) => watched.problem = Some(format!("its nodes can't be found: {problem}")),
        }
        let now = Instant::now();
        // What is asked for the first time comes once; below a tenth of a millisecond nobody is kept waiting.
        let is_again = std::mem::replace(&mut watched.is_known, true);
        let rest = Some(now - start).filter(|took| is_again && *took > Duration::from_micros(100));
        self.rest_until = rest.map(|took| now + took);
        changed
    }
}

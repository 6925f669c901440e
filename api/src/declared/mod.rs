//! What users declared of the topology: nodes, edges, and rules that add to it.
//!
//! A declaration is in force and on disk when its call returns, and it is put in force again at the
//! next start. An edge whose ends are not there (an interface that has not come up yet, or is gone for
//! a while) waits for them. One that was given a time to live goes when that is over, also if flowtap
//! was not running then.
//!
//! Nodes and edges that nobody declared (watchers', publishers') are changed through here as well, so
//! that there is one place that knows who may do what; such changes are not kept.

mod edges;
mod elements;
mod error;
mod keep;
mod nodes;
mod rules;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flowtap_storage::Resources;
use flowtap_topology::rules::{EdgeRule, NodeRule, Rules};
use flowtap_topology::{Edge, EdgeId, Graph, NodeId};
use tokio::sync::Notify;

use crate::wire::NodeDocument;

pub(crate) use edges::check_ends;
pub(crate) use elements::{check_edge, check_growth, check_node, keep_identity, size, too_deep};
pub use error::{DeclaredError, Kind};
use keep::Expiries;
use stored::Stored;

/// Everything that users declared, and the graph that it is in force in.
pub struct Declared {
    graph: Arc<Graph>,
    rules: Arc<Rules>,
    store: Resources,
    /// Held through a whole change, so that graph, disk and this agree. Changes wait for the disk: they
    /// run beside the async runtime.
    state: Mutex<State>,
    /// Rung when something that expires was declared.
    expiries_changed: Notify,
}

#[derive(Default)]
struct State {
    /// What users said of them; the graph knows more.
    nodes: HashMap<NodeId, NodeDocument>,
    edges: HashMap<EdgeId, Arc<Edge>>,
    node_rules: BTreeMap<String, NodeRule>,
    edge_rules: BTreeMap<String, EdgeRule>,
    /// Why rules of an earlier start are not in force.
    refused: HashMap<String, String>,
    /// Why edges are not made although their ends are there; it is told once.
    unmade: HashMap<EdgeId, String>,
    expiries: Expiries,
}

impl Declared {
    /// Reads what was declared in earlier lives, and puts it in force in `graph`. What cannot be any
    /// more (a full graph, a rule that an older flowtap understood) is told in the log and kept.
    ///
    /// It blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`DeclaredError::Store`] if it cannot be read.
    pub fn open(graph: Arc<Graph>, store: Resources) -> Result<Arc<Self>, DeclaredError> {
        let rules = Rules::new(Arc::clone(&graph), |query: &str, graph: &_| {
            let nodes = flowtap_gremlin::select_nodes(query, graph).map_err(|error| error.to_string())?;
            Ok(nodes.iter().map(|node| node.id.clone()).collect())
        });
        let declared = Self {
            graph,
            rules: Arc::new(rules),
            store,
            state: Mutex::default(),
            expiries_changed: Notify::new(),
        };
        declared.load()?;
        Ok(Arc::new(declared))
    }

    /// Keeps what is declared in force until the future is dropped: rules for nodes that come and
    /// change, edges for ends that come, and an end for what has outlived its time.
    pub async fn follow(self: Arc<Self>) {
        tokio::join!(self.rules.follow(), self.keep());
    }

    /// The graph that all of it is in force in.
    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Whether `origin` is that of watchers and rules: what carries it is seen or made by flowtap itself.
    pub(crate) fn is_watched(&self, origin: &str) -> bool {
        let kind = origin.strip_suffix(&**self.graph.host_name());
        kind == Some("agent.")
    }

    /// Puts everything in force that is on disk.
    fn load(&self) -> Result<(), DeclaredError> {
        let mut state = self.state();
        self.load_nodes(&mut state)?;
        self.load_edges(&mut state)?;
        self.load_rules(&mut state)?;
        drop(state);
        self.mend();
        Ok(())
    }

    /// What is on disk of a kind; what cannot be read is left out, and told.
    fn stored<T: serde::de::DeserializeOwned>(
        &self,
        kind: Kind,
    ) -> Result<Vec<(String, Stored<T>)>, DeclaredError> {
        let stored = self.store.list(kind.as_str())?.into_iter();
        let readable = stored.filter_map(|resource| match serde_json::from_value(resource.document) {
            Ok(stored) => Some((resource.uuid, stored)),
            Err(error) => {
                tracing::error!(kind = kind.as_str(), id = %resource.uuid, %error, "a declaration cannot be read");
                None
            }
        });
        Ok(readable.collect())
    }

    /// Writes a declaration down.
    fn save<T: serde::Serialize>(
        &self,
        state: &State,
        kind: Kind,
        id: &str,
        resource: &T,
    ) -> Result<(), DeclaredError> {
        let stored = Stored {
            resource,
            expires_at: state.expiries.of(kind, id),
        };
        let document = serde_json::to_value(stored).map_err(DeclaredError::Unwritable)?;
        Ok(self.store.put(kind.as_str(), id, &document)?)
    }

    /// Takes a declaration off the disk. One that the disk keeps would come back at the next start, so
    /// whoever asked is told.
    fn strike(&self, state: &mut State, kind: Kind, id: &str) -> Result<(), DeclaredError> {
        self.store.delete(kind.as_str(), id)?;
        state.expiries.remove(kind, id);
        Ok(())
    }

    /// Notes when a new declaration ends.
    fn note_expiry(&self, state: &mut State, kind: Kind, id: &str, ttl: Option<Duration>) {
        let Some(ttl) = ttl else { return };
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        state.expiries.insert(kind, id, now_ms().saturating_add(ttl));
        self.expiries_changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A change that panicked may have left a declaration on disk alone: the next start has it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declared").finish_non_exhaustive()
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

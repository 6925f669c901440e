//! Where packets are held: in the kernel, by sockets of new interfaces and of namespaces.

use std::collections::HashMap;
use std::path::PathBuf;

use flowtap_collectors::{CollectError, EarlyPackets, EarlySocket, EarlyWatch, Interface};
use flowtap_topology::{Node, NodeId, Snapshot};
use serde_json::Value;

/// Opens what holds packets. Errors are sentences for the log.
pub(crate) trait Source: Send + Sync + 'static {
    /// Holds the packets of interfaces that a network namespace does not have yet.
    type Watch: Send;
    /// Holds the packets of one interface, for any number of captures.
    type Socket: Clone + Send;

    /// Begins to watch a namespace, `None` for flowtap's own.
    fn watch(&self, netns: Option<PathBuf>) -> Result<Self::Watch, String>;

    /// Opens a socket for an interface that has appeared, with what the watch of its namespace held before.
    /// True if nothing that ever came in is missing.
    fn socket(
        &self,
        watch: Option<&Self::Watch>,
        interface: &Interface,
        queue: Queue,
    ) -> Result<(Self::Socket, bool), String>;
}

/// How much a socket may queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// 8 MiB as the kernel counts: some 10,000 small packets.
    Whole,
    /// A sixteenth of that.
    Small,
}

/// What the kernel may hold at a socket with a [`Queue::Small`].
const SMALL_QUEUE: usize = 512 << 10;

/// The kernel's own sockets.
#[derive(Debug)]
pub(crate) struct Kernel;

impl Source for Kernel {
    type Watch = EarlyWatch;
    type Socket = EarlyPackets;

    fn watch(&self, netns: Option<PathBuf>) -> Result<EarlyWatch, String> {
        EarlyWatch::open(netns).map_err(|error| error.to_string())
    }

    fn socket(
        &self,
        watch: Option<&EarlyWatch>,
        interface: &Interface,
        queue: Queue,
    ) -> Result<(EarlyPackets, bool), String> {
        let text = |error: CollectError| error.to_string();
        let socket = match watch {
            Some(watch) => watch.socket(interface),
            None => EarlySocket::open(interface),
        };
        let socket = socket.map_err(text)?;
        if queue == Queue::Small {
            let limited = socket.limit_queue(SMALL_QUEUE);
            limited.map_err(|error| error.to_string())?;
        }
        Ok((socket.packets(), socket.is_complete()))
    }
}

/// The namespaces that are watched.
pub(super) struct Watches<W> {
    by_node: HashMap<NodeId, (Option<PathBuf>, W)>,
    limit: usize,
}

impl<W> Watches<W> {
    /// None; `limit` at most.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_node: HashMap::new(),
            limit,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    /// Watches `node`, if it is a namespace, or the host `own`, whose namespace is flowtap's own. Returns
    /// whether it could.
    pub(super) fn add(
        &mut self,
        node: &Node,
        own: &NodeId,
        open: impl FnOnce(Option<PathBuf>) -> Result<W, String>,
    ) -> bool {
        let path = match node.metadata.get("Path").and_then(Value::as_str) {
            _ if node.id == *own => None,
            Some(path) if node.node_type() == Some("netns") => Some(PathBuf::from(path)),
            _ => return true,
        };
        if self
            .by_node
            .get(&node.id)
            .is_some_and(|(known, _)| *known == path)
        {
            return true;
        }
        self.by_node.remove(&node.id);
        if self.by_node.len() >= self.limit {
            return false;
        }
        match open(path.clone()) {
            Ok(watch) => {
                self.by_node.insert(node.id.clone(), (path, watch));
                true
            }
            Err(reason) => {
                tracing::debug!(namespace = node.name(), reason, "new interfaces are not awaited");
                false
            }
        }
    }

    /// Watches all namespaces of `graph`. Returns how many could not be.
    pub(super) fn add_all(
        &mut self,
        graph: &Snapshot,
        own: &NodeId,
        mut open: impl FnMut(Option<PathBuf>) -> Result<W, String>,
    ) -> u64 {
        // First where most interfaces come.
        let mut nodes: Vec<&Node> = graph.nodes().map(|node| &**node).collect();
        nodes.sort_by_key(|node| (node.id != *own, node.created_at));
        let failed = nodes.into_iter().filter(|node| !self.add(node, own, &mut open));
        failed.count() as u64
    }

    /// Lets a namespace go: a watch keeps it alive.
    pub(super) fn remove(&mut self, node: &NodeId) {
        self.by_node.remove(node);
    }

    pub(super) fn clear(&mut self) {
        self.by_node.clear();
    }

    /// The watch of the namespace at `path`.
    pub(super) fn at(&self, path: Option<&PathBuf>) -> Option<&W> {
        let mut watches = self.by_node.values();
        let found = watches.find(|(known, _)| known.as_ref() == path);
        found.map(|(_, watch)| watch)
    }
}

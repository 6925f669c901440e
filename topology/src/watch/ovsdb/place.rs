//! Rows as nodes and edges of the graph, and what of the graph is there because of which row.
//!
//! Everything is written as "so it should be": what is so already makes no revision and no event. A
//! row can therefore be looked at as often as anyone likes, and after a reconnection only what really
//! changed becomes history.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::describe::{self, Facts};
use super::devices::Devices;
use super::interface::Interface;
use super::metrics;
use super::rows::{Dirty, Rows};
use crate::element::{LAYER2, Metadata, OWNERSHIP};
use crate::error::TopologyError;
use crate::graph::{Edit, Graph, NodeSpec};
use crate::identity::{EdgeId, NodeId};

/// When a row that the graph had no room for is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The node and the edges of one row.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) node: NodeId,
    /// The entries of the node's metadata that come from the row.
    keys: BTreeSet<&'static str>,
    /// The edges that come from the row, but for ownership, which has its own rules.
    edges: BTreeSet<EdgeId>,
    /// The `Type` that the node's watcher gave it, while the row has a better one.
    covered: Option<Value>,
}

/// An edge of layer 2, with what it says besides.
pub(super) type Layer2 = (NodeId, NodeId, Metadata);

impl Placed {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            keys: BTreeSet::new(),
            edges: BTreeSet::new(),
            covered: None,
        }
    }

    /// Makes a node that says `facts` from the first, so that its history begins with one revision.
    pub(super) fn make(
        edit: &mut Edit<'_>,
        spec: NodeSpec<'_>,
        facts: &Facts,
    ) -> Result<Self, TopologyError> {
        let metadata = facts
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        edit.upsert_node(spec.with_all(metadata.collect())).map(Self::new)
    }

    /// Writes what the row says of its node, in one revision, and takes back what it says no more.
    pub(super) fn write(&mut self, edit: &mut Edit<'_>, facts: Facts) -> Result<(), TopologyError> {
        let keys: BTreeSet<_> = facts.keys().copied().collect();
        edit.update_node(&self.node, |metadata| {
            for key in self.keys.difference(&keys) {
                metadata.remove(*key);
            }
            if let Some(covered) = self.covered.take() {
                metadata.insert("Type".to_owned(), covered);
            }
            for (key, mut value) in facts {
                if key == "Ovs" {
                    metrics::keep(&mut value, metadata.get(key));
                }
                let before = metadata.insert(key.to_owned(), value);
                if key == "Type" {
                    self.covered = before;
                }
            }
        })?;
        self.keys = keys;
        Ok(())
    }

    /// Makes the edges that the row asks for, and takes back those that it asked for before.
    pub(super) fn link(&mut self, edit: &mut Edit<'_>, wanted: Vec<Layer2>) -> Result<(), TopologyError> {
        let mut edges = BTreeSet::new();
        for (parent, child, extra) in wanted {
            edges.insert(edit.link(&parent, &child, LAYER2, extra)?);
        }
        for gone in self.edges.difference(&edges) {
            edit.unlink(gone);
        }
        self.edges = edges;
        Ok(())
    }

    /// Takes back all that the row said, and leaves the node to whom it belongs.
    pub(super) fn retract(mut self, edit: &mut Edit<'_>) {
        // A node that is gone took its metadata and its edges along.
        let _gone = self.write(edit, Facts::new());
        let _gone = self.link(edit, Vec::new());
    }
}

/// What a row is seen against.
pub(super) struct Surroundings<'a> {
    pub(super) rows: &'a Rows,
    pub(super) devices: &'a Devices,
    /// Whether `ExtID` answers to the names of other orchestrators too.
    pub(super) aliases: bool,
    pub(super) now: Instant,
    /// How long a row without a device waits for one before it gets a node of its own.
    pub(super) settle: Duration,
}

/// Keeps the graph as the rows are.
#[derive(Debug)]
pub(super) struct Placer {
    graph: Arc<Graph>,
    bridges: HashMap<Uuid, Placed>,
    ports: HashMap<Uuid, Placed>,
    interfaces: HashMap<Uuid, Interface>,
    /// Rows to look at again, by when: [`Placer::due`]. One entry for each time that an interface lost
    /// its device in the last half second, or that the graph was full.
    later: VecDeque<(Instant, Uuid)>,
    /// Why rows are not in the graph, or not as they should be.
    refused: HashMap<Uuid, TopologyError>,
}

impl Placer {
    pub(super) fn new(graph: Arc<Graph>) -> Self {
        Self {
            graph,
            bridges: HashMap::new(),
            ports: HashMap::new(),
            interfaces: HashMap::new(),
            later: VecDeque::new(),
            refused: HashMap::new(),
        }
    }

    /// When the next row has to be looked at again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.iter().map(|(at, _)| *at).min()
    }

    /// Why rows are missing in the graph, if any are.
    pub(super) fn refused(&self) -> Option<&TopologyError> {
        self.refused.values().next()
    }

    /// Looks at rows, and makes the graph so.
    pub(super) fn place(&mut self, mut dirty: Dirty, around: &Surroundings<'_>) {
        let rows = around.rows;
        self.due(&mut dirty, around);
        let graph = Arc::clone(&self.graph);
        // Interfaces that went leave first: one that came may have the name, and so the identity, of
        // one that went. Bridges and ports that went leave last: what they owned has moved by then.
        graph.edit_in_turns(
            gone(&dirty.interfaces, |uuid| rows.interface(uuid)),
            |edit, uuid| {
                if let Some(interface) = self.interfaces.remove(uuid) {
                    interface.remove(edit);
                }
                self.refused.remove(uuid);
            },
        );
        graph.edit_in_turns(&dirty.bridges, |edit, uuid| {
            let placed = self.place_bridge(edit, uuid, around);
            if self.note(placed, *uuid, around) {
                dirty.ports.extend(rows.ports_of(uuid));
            }
        });
        graph.edit_in_turns(&dirty.ports, |edit, uuid| {
            let placed = self.place_port(edit, uuid, around);
            if self.note(placed, *uuid, around) {
                dirty.interfaces.extend(rows.interfaces_of(uuid));
            }
        });
        graph.edit_in_turns(&dirty.interfaces, |edit, uuid| {
            let placed = self.place_interface(edit, uuid, around);
            self.note(placed.map(|()| false), *uuid, around);
        });
        graph.edit_in_turns(&dirty.metrics, |edit, uuid| {
            if let (Some(interface), Some(row)) = (self.interfaces.get_mut(uuid), rows.interface(uuid)) {
                interface.show_metrics(edit, row);
            }
        });
        graph.edit_in_turns(gone(&dirty.ports, |uuid| rows.port(uuid)), |edit, uuid| {
            if let Some(port) = self.ports.remove(uuid) {
                edit.remove_node(&port.node);
            }
            self.refused.remove(uuid);
        });
        graph.edit_in_turns(gone(&dirty.bridges, |uuid| rows.bridge(uuid)), |edit, uuid| {
            if let Some(bridge) = self.bridges.remove(uuid) {
                edit.remove_node(&bridge.node);
            }
            self.refused.remove(uuid);
        });
    }

    /// Adds the rows whose time has come.
    fn due(&mut self, dirty: &mut Dirty, around: &Surroundings<'_>) {
        let Surroundings { rows, now, .. } = *around;
        self.later.retain(|(at, uuid)| {
            let due = *at <= now;
            if due {
                // A UUID names one row of all tables.
                let set = if rows.bridge(uuid).is_some() {
                    &mut dirty.bridges
                } else if rows.port(uuid).is_some() {
                    &mut dirty.ports
                } else {
                    &mut dirty.interfaces
                };
                set.insert(*uuid);
            }
            !due
        });
    }

    /// Notes what came of placing a row. Returns whether it has got a node that it had not: what hangs on it
    /// has to be looked at then, for it may have come before.
    fn note(&mut self, placed: Result<bool, TopologyError>, uuid: Uuid, around: &Surroundings<'_>) -> bool {
        match placed {
            Ok(is_new) => {
                self.refused.remove(&uuid);
                is_new
            }
            Err(error) => {
                self.refused.insert(uuid, error);
                self.later.push_back((around.now + RETRY, uuid));
                false
            }
        }
    }

    fn place_bridge(
        &mut self,
        edit: &mut Edit<'_>,
        uuid: &Uuid,
        around: &Surroundings<'_>,
    ) -> Result<bool, TopologyError> {
        let Some(row) = around.rows.bridge(uuid) else {
            return Ok(false);
        };
        let mut facts = describe::bridge(row, around.aliases);
        facts.insert("UUID", uuid.to_string().into());
        let host = self.graph.host();
        let name = row.text("name").unwrap_or_default();
        let spec = NodeSpec::new(host, "ovsbridge", name);
        standing(edit, &mut self.bridges, uuid, spec, facts).map(|(_, is_new)| is_new)
    }

    fn place_port(
        &mut self,
        edit: &mut Edit<'_>,
        uuid: &Uuid,
        around: &Surroundings<'_>,
    ) -> Result<bool, TopologyError> {
        let rows = around.rows;
        let bridge = rows.bridge_of(uuid).and_then(|bridge| self.bridges.get(&bridge));
        // Without its bridge it waits: the bridge brings its ports along.
        let (Some(row), Some(bridge)) = (rows.port(uuid), bridge) else {
            return Ok(false);
        };
        let mut facts = describe::port(row, around.aliases);
        facts.insert("UUID", uuid.to_string().into());
        let name = row.text("name").unwrap_or_default();
        let bridge = &bridge.node;
        let spec = NodeSpec::new(bridge, "ovsport", name);
        let (placed, is_new) = standing(edit, &mut self.ports, uuid, spec, facts)?;
        edit.link(bridge, &placed.node, OWNERSHIP, Metadata::new())?;
        let layer2 = (bridge.clone(), placed.node.clone(), Metadata::new());
        placed.link(edit, vec![layer2])?;
        Ok(is_new)
    }

    fn place_interface(
        &mut self,
        edit: &mut Edit<'_>,
        uuid: &Uuid,
        around: &Surroundings<'_>,
    ) -> Result<(), TopologyError> {
        let rows = around.rows;
        let Some(row) = rows.interface(uuid) else {
            return Ok(());
        };
        let port = rows.port_of(uuid);
        let bridge = port.and_then(|port| rows.bridge_of(&port));
        let node = |placed: &Placed| placed.node.clone();
        let port = port.and_then(|port| self.ports.get(&port)).map(node);
        let bridge = bridge.and_then(|bridge| self.bridges.get(&bridge)).map(node);
        let interface = self.interfaces.entry(*uuid).or_default();
        if let Some(at) = interface.settle(edit, uuid, row, bridge.as_ref(), around)? {
            self.later.push_back((at, *uuid));
        }
        let Some(node) = interface.node().cloned() else {
            return Ok(());
        };
        let mut wanted = Vec::new();
        if let Some(port) = port {
            wanted.push((port, node.clone(), Metadata::new()));
        }
        let peer = rows.patch_peer(uuid);
        if let Some((peer, other)) = peer.and_then(|peer| Some((peer, self.interfaces.get(&peer)?.node()?))) {
            // One edge for both, whichever of them is looked at.
            let ends = if *uuid < peer {
                (node, other.clone())
            } else {
                (other.clone(), node)
            };
            let patch = Metadata::from_iter([("Type".to_owned(), "patch".into())]);
            wanted.push((ends.0, ends.1, patch));
        }
        match self.interfaces.get_mut(uuid) {
            Some(interface) => interface.link(edit, wanted),
            None => Ok(()),
        }
    }
}

/// The node of a row: the one it has, or a new one after `spec`; with `facts` in it. And whether it is new.
fn standing<'a>(
    edit: &mut Edit<'_>,
    placed: &'a mut HashMap<Uuid, Placed>,
    uuid: &Uuid,
    spec: NodeSpec<'_>,
    facts: Facts,
) -> Result<(&'a mut Placed, bool), TopologyError> {
    // Somebody else may have removed it.
    if placed
        .get(uuid)
        .is_some_and(|placed| edit.snapshot().node(&placed.node).is_none())
    {
        placed.remove(uuid);
    }
    let (placed, is_new) = match placed.entry(*uuid) {
        Entry::Occupied(placed) => (placed.into_mut(), false),
        Entry::Vacant(place) => (place.insert(Placed::make(edit, spec, &facts)?), true),
    };
    placed.write(edit, facts)?;
    Ok((placed, is_new))
}

/// The rows of `uuids` that are not there any more.
fn gone<R>(uuids: &HashSet<Uuid>, row: impl Fn(&Uuid) -> Option<R>) -> Vec<&Uuid> {
    uuids.iter().filter(|uuid| row(uuid).is_none()).collect()
}

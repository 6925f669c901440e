//! Where in the graph a row of `Interface` is: at the kernel's interface, or at a node of its own.

use std::time::Instant;

use uuid::Uuid;

use super::describe::{self, Facts};
use super::devices;
use super::join::{Candidate, Clues, choose};
use super::metrics::{self, Reading};
use super::place::{Layer2, Placed, Surroundings};
use crate::element::{Metadata, OWNERSHIP};
use crate::error::TopologyError;
use crate::graph::{Edit, NodeSpec};
use crate::identity::NodeId;
use crate::ovsdb::Row;

/// One row of `Interface`.
#[derive(Debug, Default)]
pub(super) struct Interface {
    place: Option<Place>,
    /// Since when it has been waiting for its device.
    waiting: Option<Instant>,
    /// The MAC that the switch saw last: it forgets it when it loses sight of the device.
    last_mac: Option<Box<str>>,
    reading: Option<Reading>,
}

#[derive(Debug)]
enum Place {
    /// At a node of the kernel's interface, that somebody else watches.
    Device(Placed),
    /// At a node of its own.
    Own(Placed),
}

/// Whether the kernel has a device of the row's name. Tunnels share one device for all, of another name;
/// patch ports and what DPDK drives have none.
fn has_device(kind: &str) -> bool {
    matches!(kind, "system" | "internal" | "tap" | "afxdp" | "afxdp-nonpmd")
}

impl Interface {
    /// The node that it is at.
    pub(super) fn node(&self) -> Option<&NodeId> {
        self.placed().map(|placed| &placed.node)
    }

    fn placed(&self) -> Option<&Placed> {
        match &self.place {
            Some(Place::Device(placed) | Place::Own(placed)) => Some(placed),
            None => None,
        }
    }

    /// Finds the right node for the row and writes there what it says. Returns when to look again, if it
    /// waits for its device.
    ///
    /// Database and kernel tell of the same interface at different times, and of its end too. So a
    /// row without its device waits a little before it gets a node of its own, which would be gone
    /// again the next moment, but be history for ever.
    pub(super) fn settle(
        &mut self,
        edit: &mut Edit<'_>,
        uuid: &Uuid,
        row: &Row,
        bridge: Option<&NodeId>,
        around: &Surroundings<'_>,
    ) -> Result<Option<Instant>, TopologyError> {
        if self
            .node()
            .is_some_and(|node| edit.snapshot().node(node).is_none())
        {
            self.place = None;
        }
        let kind = describe::kind(row);
        let device = if has_device(kind) {
            self.device(edit, row, around)
        } else {
            None
        };
        let mut look_again = None;
        self.place = match (self.place.take(), device) {
            (Some(Place::Device(placed)), Some(device)) if placed.node == device => {
                Some(Place::Device(placed))
            }
            (place, Some(device)) => {
                self.leave(edit, place);
                Some(Place::Device(Placed::new(device)))
            }
            (Some(Place::Own(placed)), None) => Some(Place::Own(placed)),
            (place, None) => {
                self.leave(edit, place);
                let since = *self.waiting.get_or_insert(around.now);
                let until = since + around.settle;
                if has_device(kind) && around.now < until {
                    // Once for each wait: it is asked for when it begins.
                    look_again = (since == around.now).then_some(until);
                    None
                } else {
                    own_place(edit, uuid, row, bridge, around.aliases)?
                }
            }
        };
        if self.place.is_some() {
            self.waiting = None;
        }
        self.remember(row);
        self.write(edit, uuid, row, bridge, around.aliases)?;
        Ok(look_again)
    }

    fn write(
        &mut self,
        edit: &mut Edit<'_>,
        uuid: &Uuid,
        row: &Row,
        bridge: Option<&NodeId>,
        aliases: bool,
    ) -> Result<(), TopologyError> {
        let is_first = self.reading.is_none();
        match &mut self.place {
            None => return Ok(()),
            Some(Place::Device(placed)) => {
                let mut facts = device_facts(uuid, row, aliases);
                if is_first {
                    count(&mut facts, row, edit.at());
                }
                placed.write(edit, facts)?;
            }
            Some(Place::Own(placed)) => {
                if let Some(bridge) = bridge {
                    edit.link(bridge, &placed.node, OWNERSHIP, Metadata::new())?;
                }
                placed.write(edit, own_facts(uuid, row, aliases))?;
            }
        }
        if self.reading.is_none() {
            self.show_metrics(edit, row);
        }
        Ok(())
    }

    /// Makes the edges that the row asks for.
    pub(super) fn link(&mut self, edit: &mut Edit<'_>, wanted: Vec<Layer2>) -> Result<(), TopologyError> {
        match &mut self.place {
            Some(Place::Device(placed) | Place::Own(placed)) => placed.link(edit, wanted),
            None => Ok(()),
        }
    }

    /// Shows the row's counters at its node.
    pub(super) fn show_metrics(&mut self, edit: &mut Edit<'_>, row: &Row) {
        let Some(node) = self.node().cloned() else {
            return;
        };
        let (now, last) = (edit.at(), self.reading);
        // A node that is gone counts no more.
        let _gone = edit.update_metrics(&node, "Ovs", |ovs| {
            self.reading = Some(metrics::show(ovs, row, now, last.as_ref()));
        });
    }

    /// Takes the row out of the graph.
    pub(super) fn remove(mut self, edit: &mut Edit<'_>) {
        let place = self.place.take();
        self.leave(edit, place);
    }

    fn leave(&mut self, edit: &mut Edit<'_>, place: Option<Place>) {
        match place {
            Some(Place::Device(placed)) => placed.retract(edit),
            Some(Place::Own(placed)) => drop(edit.remove_node(&placed.node)),
            None => {}
        }
        // Another node shows what is gained from then on.
        self.reading = None;
    }

    /// The kernel's interface that the row is about, if it is in the graph.
    fn device(&self, edit: &Edit<'_>, row: &Row, around: &Surroundings<'_>) -> Option<NodeId> {
        let graph = edit.snapshot();
        let joined = match &self.place {
            Some(Place::Device(placed)) => Some(&placed.node),
            Some(Place::Own(_)) | None => None,
        };
        let candidates: Vec<_> = around
            .devices
            .named(row.text("name")?)
            .filter_map(|id| {
                let (node, owner) = (graph.node(id)?, graph.owner(id)?);
                // Ports of sFlow agents and what users drew have names and indexes too.
                matches!(owner.node_type(), Some("host" | "netns")).then_some(())?;
                Some(Candidate {
                    id,
                    ifindex: devices::ifindex(node)?,
                    mac: node.metadata.get("MAC").and_then(|mac| mac.as_str()),
                    on_host: owner.node_type() == Some("host"),
                    joined: joined == Some(id),
                })
            })
            .collect();
        let attached = ["attached-mac", "attached_mac"];
        let attached = attached.iter().find_map(|key| row.text_at("external_ids", key));
        let clues = Clues {
            ifindex: ifindex(row),
            mac: row.text("mac_in_use").or(self.last_mac.as_deref()),
            attached_mac: attached,
            open: row.integer("ofport").is_some_and(|port| port > 0) && row.text("error").is_none(),
        };
        choose(&clues, &candidates).cloned()
    }

    fn remember(&mut self, row: &Row) {
        if let Some(mac) = row.text("mac_in_use")
            && self.last_mac.as_deref() != Some(mac)
        {
            self.last_mac = Some(mac.into());
        }
    }
}

/// The ifindex that a row knows: 0 is for "none".
fn ifindex(row: &Row) -> Option<i64> {
    row.integer("ifindex").filter(|index| *index > 0)
}

/// What a row says at the kernel's interface.
fn device_facts(uuid: &Uuid, row: &Row, aliases: bool) -> Facts {
    let mut facts = describe::interface(row, aliases);
    facts.insert("UUID", uuid.to_string().into());
    let kind = describe::kind(row);
    // The kernel's word for it depends on the datapath: `tun` for the one in user space.
    if kind == "internal" {
        facts.insert("Type", kind.into());
    }
    facts
}

/// What a row says at a node of its own.
fn own_facts(uuid: &Uuid, row: &Row, aliases: bool) -> Facts {
    let mut facts = device_facts(uuid, row, aliases);
    facts.extend(describe::device(row));
    facts.insert("Type", describe::kind(row).into());
    facts
}

/// Adds the counters of a row to the facts that are the first of it: a node that begins to count later gets a
/// revision for that.
fn count(facts: &mut Facts, row: &Row, now: i64) {
    if let Some(ovs) = facts.get_mut("Ovs") {
        metrics::show(ovs, row, now, None);
    }
}

/// A node for a row that the kernel has no device for; `None` as long as its bridge is unknown.
fn own_place(
    edit: &mut Edit<'_>,
    uuid: &Uuid,
    row: &Row,
    bridge: Option<&NodeId>,
    aliases: bool,
) -> Result<Option<Place>, TopologyError> {
    let (Some(bridge), Some(name)) = (bridge, row.text("name")) else {
        return Ok(None);
    };
    let spec = NodeSpec::new(bridge, describe::kind(row), name);
    let mut facts = own_facts(uuid, row, aliases);
    count(&mut facts, row, edit.at());
    let placed = Placed::make(edit, spec, &facts)?;
    Ok(Some(Place::Own(placed)))
}

//! The rows of the switch, and how they hang together.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::metrics;
use crate::ovsdb::{Row, RowChange};

/// The database that Open vSwitch is configured by.
pub(super) const DATABASE: &str = "Open_vSwitch";

/// What is followed of it.
pub(super) const TABLES: &[(&str, &[&str])] = &[
    (
        "Bridge",
        &[
            "name",
            "ports",
            "datapath_id",
            "datapath_type",
            "fail_mode",
            "protocols",
            "other_config",
            "external_ids",
        ],
    ),
    (
        "Port",
        &[
            "name",
            "interfaces",
            "tag",
            "trunks",
            "vlan_mode",
            "bond_mode",
            "lacp",
            "other_config",
            "external_ids",
        ],
    ),
    (
        "Interface",
        &[
            "name",
            "type",
            "ofport",
            "ifindex",
            "mac_in_use",
            "link_state",
            "error",
            "options",
            "status",
            "other_config",
            "external_ids",
            "statistics",
            "link_resets",
        ],
    ),
];

/// Rows that have to be looked at.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) bridges: HashSet<Uuid>,
    pub(super) ports: HashSet<Uuid>,
    pub(super) interfaces: HashSet<Uuid>,
    /// Interfaces whose counters changed, and maybe nothing else.
    pub(super) metrics: HashSet<Uuid>,
}

impl Dirty {
    pub(super) fn is_empty(&self) -> bool {
        self.bridges.is_empty()
            && self.ports.is_empty()
            && self.interfaces.is_empty()
            && self.metrics.is_empty()
    }
}

/// Rows by name, shared with the follower that brought them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bridges: HashMap<Uuid, Arc<Row>>,
    ports: HashMap<Uuid, Arc<Row>>,
    interfaces: HashMap<Uuid, Arc<Row>>,
    bridge_of_port: HashMap<Uuid, Uuid>,
    port_of_interface: HashMap<Uuid, Uuid>,
    interfaces_by_name: HashMap<Box<str>, BTreeSet<Uuid>>,
}

impl Rows {
    pub(super) fn bridge(&self, uuid: &Uuid) -> Option<&Arc<Row>> {
        self.bridges.get(uuid)
    }

    pub(super) fn port(&self, uuid: &Uuid) -> Option<&Arc<Row>> {
        self.ports.get(uuid)
    }

    pub(super) fn interface(&self, uuid: &Uuid) -> Option<&Arc<Row>> {
        self.interfaces.get(uuid)
    }

    /// The bridge that a port is on.
    pub(super) fn bridge_of(&self, port: &Uuid) -> Option<Uuid> {
        self.bridge_of_port.get(port).copied()
    }

    /// The port that an interface belongs to.
    pub(super) fn port_of(&self, interface: &Uuid) -> Option<Uuid> {
        self.port_of_interface.get(interface).copied()
    }

    /// The ports of a bridge.
    pub(super) fn ports_of(&self, bridge: &Uuid) -> impl Iterator<Item = Uuid> {
        self.bridge(bridge).into_iter().flat_map(|row| row.uuids("ports"))
    }

    /// The interfaces of a port.
    pub(super) fn interfaces_of(&self, port: &Uuid) -> impl Iterator<Item = Uuid> {
        self.port(port)
            .into_iter()
            .flat_map(|row| row.uuids("interfaces"))
    }

    /// Interfaces of that name; the switch allows one.
    pub(super) fn interfaces_named(&self, name: &str) -> impl Iterator<Item = Uuid> {
        self.interfaces_by_name.get(name).into_iter().flatten().copied()
    }

    /// All interfaces.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = Uuid> {
        self.interfaces.keys().copied()
    }

    /// The other end of a patch port: the switch joins two that name each other.
    pub(super) fn patch_peer(&self, uuid: &Uuid) -> Option<Uuid> {
        let row = self.interface(uuid)?;
        let name = row.text("name")?;
        let is_peer = |peer: &Uuid| {
            let peer = self.interface(peer);
            peer.and_then(|peer| patch_to(peer)) == Some(name)
        };
        self.interfaces_named(patch_to(row)?).find(is_peer)
    }

    /// Takes changes over, and notes what has to be looked at.
    pub(super) fn apply(&mut self, changes: Vec<RowChange>, dirty: &mut Dirty) {
        for change in changes {
            match &*change.table {
                "Bridge" => self.bridge_changed(change, dirty),
                "Port" => self.port_changed(change, dirty),
                "Interface" => self.interface_changed(change, dirty),
                _ => {}
            }
        }
    }

    fn bridge_changed(&mut self, change: RowChange, dirty: &mut Dirty) {
        let RowChange {
            uuid, before, after, ..
        } = change;
        let (came, went) = members(before.as_deref(), after.as_deref(), "ports");
        for port in &went {
            // Unless another bridge has it by now.
            if self.bridge_of_port.get(port) == Some(&uuid) {
                self.bridge_of_port.remove(port);
            }
        }
        for port in &came {
            self.bridge_of_port.insert(*port, uuid);
        }
        for port in came.into_iter().chain(went) {
            // Their interfaces may be owned by the bridge.
            if let Some(row) = self.ports.get(&port) {
                dirty.interfaces.extend(row.uuids("interfaces"));
            }
            dirty.ports.insert(port);
        }
        dirty.bridges.insert(uuid);
        put(&mut self.bridges, uuid, after);
    }

    fn port_changed(&mut self, change: RowChange, dirty: &mut Dirty) {
        let RowChange {
            uuid, before, after, ..
        } = change;
        let (came, went) = members(before.as_deref(), after.as_deref(), "interfaces");
        for interface in &went {
            if self.port_of_interface.get(interface) == Some(&uuid) {
                self.port_of_interface.remove(interface);
            }
        }
        for interface in &came {
            self.port_of_interface.insert(*interface, uuid);
        }
        dirty.interfaces.extend(came.into_iter().chain(went));
        dirty.ports.insert(uuid);
        put(&mut self.ports, uuid, after);
    }

    fn interface_changed(&mut self, change: RowChange, dirty: &mut Dirty) {
        let RowChange {
            uuid, before, after, ..
        } = change;
        dirty.metrics.insert(uuid);
        if let (Some(before), Some(after)) = (&before, &after)
            && only_counted(before, after)
        {
            self.interfaces.insert(uuid, Arc::clone(after));
            return;
        }
        for name in [&before, &after]
            .into_iter()
            .flatten()
            .filter_map(|row| row.text("name"))
        {
            let known = self.interfaces_by_name.entry(name.into()).or_default();
            if after.is_some() {
                known.insert(uuid);
            } else {
                known.remove(&uuid);
                if known.is_empty() {
                    self.interfaces_by_name.remove(name);
                }
            }
        }
        // The patch ports that it was and is joined with.
        for peer in [&before, &after]
            .into_iter()
            .flatten()
            .filter_map(|row| patch_to(row))
        {
            dirty
                .interfaces
                .extend(self.interfaces_by_name.get(peer).into_iter().flatten());
        }
        dirty.interfaces.insert(uuid);
        put(&mut self.interfaces, uuid, after);
    }
}

/// The name of the interface that a patch port names as its other end.
fn patch_to(row: &Row) -> Option<&str> {
    let is_patch = row.text("type") == Some("patch");
    is_patch.then(|| row.text_at("options", "peer")).flatten()
}

fn put(rows: &mut HashMap<Uuid, Arc<Row>>, uuid: Uuid, row: Option<Arc<Row>>) {
    match row {
        Some(row) => rows.insert(uuid, row),
        None => rows.remove(&uuid),
    };
}

/// What a set of rows gained and lost.
fn members(before: Option<&Row>, after: Option<&Row>, column: &str) -> (Vec<Uuid>, Vec<Uuid>) {
    let set =
        |row: Option<&Row>| -> HashSet<Uuid> { row.into_iter().flat_map(|row| row.uuids(column)).collect() };
    let (before, after) = (set(before), set(after));
    let came = after.difference(&before).copied().collect();
    (came, before.difference(&after).copied().collect())
}

/// Whether nothing changed but counters.
fn only_counted(before: &Row, after: &Row) -> bool {
    let counted = |column: &str| metrics::COUNTERS.contains(&column);
    let rest = |row: &Row, other: &Row| {
        row.columns()
            .filter(|(column, _)| !counted(column))
            .all(|(column, datum)| other.get(column) == Some(datum))
    };
    rest(before, after) && rest(after, before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ovsdb::Datum;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    fn change(table: &str, uuid: Uuid, before: Option<Row>, after: Option<Row>) -> Vec<RowChange> {
        vec![RowChange {
            table: table.into(),
            uuid,
            before: before.map(Arc::new),
            after: after.map(Arc::new),
        }]
    }

    fn patch(name: &str, peer: &str) -> Option<Row> {
        let row = Row::new().with("name", name).with("type", "patch");
        Some(row.with("options", Datum::map([("peer", peer)])))
    }

    #[test]
    fn patch_ports_are_joined_when_each_names_the_other() {
        let (mut rows, mut dirty) = (Rows::default(), Dirty::default());
        rows.apply(change("Interface", A, None, patch("a", "b")), &mut dirty);
        assert_eq!(rows.patch_peer(&A), None);
        rows.apply(change("Interface", B, None, patch("b", "c")), &mut dirty);
        assert_eq!(rows.patch_peer(&A), None);
        let mut dirty = Dirty::default();
        rows.apply(
            change("Interface", B, patch("b", "c"), patch("b", "a")),
            &mut dirty,
        );
        assert_eq!((rows.patch_peer(&A), rows.patch_peer(&B)), (Some(B), Some(A)));
        assert_eq!(dirty.interfaces, HashSet::from([A, B]));
        let mut dirty = Dirty::default();
        rows.apply(change("Interface", B, patch("b", "a"), None), &mut dirty);
        assert_eq!(rows.patch_peer(&A), None);
        assert_eq!(dirty.interfaces, HashSet::from([A, B]));
    }

    #[test]
    fn counters_alone_are_told_apart() {
        let row = |count| Some(Row::new().with("name", "a").with("link_resets", count));
        let (mut rows, mut dirty) = (Rows::default(), Dirty::default());
        rows.apply(change("Interface", A, None, row(1)), &mut dirty);
        let mut dirty = Dirty::default();
        rows.apply(change("Interface", A, row(1), row(2)), &mut dirty);
        rows.apply(change("Interface", A, row(2), row(3)), &mut dirty);
        assert!(dirty.interfaces.is_empty());
        assert!(dirty.metrics.contains(&A));
        assert_eq!(rows.interface(&A).unwrap().integer("link_resets"), Some(3));
    }

    #[test]
    fn a_port_that_moves_belongs_to_where_it_went_in_either_order() {
        let port = Uuid::from_u128(9);
        let with = |ports: &[Uuid]| Some(Row::new().with("ports", Datum::set(ports.iter().copied())));
        for order in [[A, B], [B, A]] {
            let (mut rows, mut dirty) = (Rows::default(), Dirty::default());
            rows.apply(change("Bridge", A, None, with(&[port])), &mut dirty);
            rows.apply(change("Bridge", B, None, with(&[])), &mut dirty);
            for bridge in order {
                let (before, after) = if bridge == A {
                    (with(&[port]), with(&[]))
                } else {
                    (with(&[]), with(&[port]))
                };
                rows.apply(change("Bridge", bridge, before, after), &mut dirty);
            }
            assert_eq!(rows.bridge_of(&port), Some(B));
        }
    }
}

//! The interfaces of one namespace, as last heard, and what of it the graph still has to learn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::identity::NodeId;
use crate::watch::netns::NamespaceId;
use crate::watch::wiring::{Port, Role, Want};

use super::counters::Counters;
use super::describe::{describe, driver};
use super::link::Link;
use super::lists::Address;

/// One interface.
#[derive(Debug, Default)]
pub(super) struct Interface {
    pub(super) link: Link,
    /// Where [`Link::link`] is.
    pub(super) far: Option<NamespaceId>,
    driver: Option<String>,
    addresses: Vec<Address>,
    pub(super) node: Option<NodeId>,
    /// A hash of each value that was said, to tell what is new. What others say of the node, and what
    /// they said instead of us, stays as long as we have nothing new to say.
    said: BTreeMap<&'static str, u64>,
    /// What the graph does not know yet; `None` takes a key back.
    pub(super) pending: BTreeMap<&'static str, Option<Value>>,
    /// The counters at the last look and its time in milliseconds since the Unix epoch.
    pub(super) counted: Option<(i64, Counters)>,
}

impl Interface {
    /// Says `value` of `key` from now on. Returns whether that is new.
    fn say(&mut self, key: &'static str, value: Option<Value>) -> bool {
        let hash = value.as_ref().map(|value| {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            hasher.finish()
        });
        let before = match hash {
            Some(hash) => self.said.insert(key, hash),
            None => self.said.remove(key),
        };
        if before == hash {
            return false;
        }
        self.pending.insert(key, value);
        true
    }

    fn say_addresses(&mut self) -> bool {
        let mut new = false;
        for key in ["IPV4", "IPV6"] {
            let list: Vec<_> = self
                .addresses
                .iter()
                .filter(|address| address.key() == key)
                .collect();
            let list: Vec<_> = list.into_iter().map(Address::cidr).collect();
            new |= self.say(key, (!list.is_empty()).then(|| list.into()));
        }
        new
    }
}

/// The interfaces of one namespace.
#[derive(Debug)]
pub(super) struct Interfaces {
    pub(super) namespace: NamespaceId,
    /// What owns them: the host, or the namespace's node.
    pub(super) owner: NodeId,
    is_own: bool,
    pub(super) by_index: BTreeMap<u32, Interface>,
    /// Interfaces that the graph does not know all of.
    pub(super) dirty: BTreeSet<u32>,
    /// Nodes of interfaces that are gone, and that the graph still has.
    pub(super) gone: Vec<(u32, NodeId)>,
}

impl Interfaces {
    /// None yet. `is_own` if it is the namespace that flowtap runs in.
    pub(super) fn new(namespace: NamespaceId, owner: NodeId, is_own: bool) -> Self {
        Self {
            namespace,
            owner,
            is_own,
            by_index: BTreeMap::new(),
            dirty: BTreeSet::new(),
            gone: Vec::new(),
        }
    }

    pub(super) fn port(&self, index: u32) -> Port {
        Port {
            index,
            namespace: self.namespace,
        }
    }

    /// Takes what was heard of an interface. `far` and its name is where its other end is. Returns
    /// whether something is new.
    pub(super) fn link(&mut self, mut link: Link, far: Option<NamespaceId>, far_name: Option<&str>) -> bool {
        let index = link.index;
        // A number that was given anew while messages were lost.
        let known = self.by_index.get(&index);
        if known.is_some_and(|known| known.link.kind != link.kind) {
            self.unlink(index);
        }
        let is_new = !self.by_index.contains_key(&index);
        let interface = self.by_index.entry(index).or_default();
        if link.functions.is_none() {
            link.functions = interface.link.functions.take();
        }
        if is_new || interface.link.device != link.device {
            interface.driver = driver(&link, self.is_own);
        }
        let mut new = is_new || interface.far != far;
        for (key, value) in describe(&link, interface.driver.as_deref(), far_name) {
            new |= interface.say(key, value);
        }
        interface.link = link;
        interface.far = far;
        if new {
            self.dirty.insert(index);
        }
        new
    }

    /// Notes that an interface is gone.
    pub(super) fn unlink(&mut self, index: u32) {
        if let Some(interface) = self.by_index.remove(&index) {
            self.dirty.remove(&index);
            self.gone.extend(interface.node.map(|node| (index, node)));
        }
    }

    /// Those that are not among `seen`.
    pub(super) fn missing(&self, seen: &BTreeSet<u32>) -> Vec<u32> {
        let known = self.by_index.keys();
        known.filter(|index| !seen.contains(index)).copied().collect()
    }

    pub(super) fn add_address(&mut self, address: Address) {
        self.with(address.index, |interface| {
            let same = |known: &Address| known.ip == address.ip && known.prefix == address.prefix;
            if !interface.addresses.iter().any(same) && interface.addresses.len() < super::lists::LIST_LIMIT {
                interface.addresses.push(address);
            }
            interface.say_addresses()
        });
    }

    pub(super) fn remove_address(&mut self, address: &Address) {
        self.with(address.index, |interface| {
            let same = |known: &Address| known.ip == address.ip && known.prefix == address.prefix;
            interface.addresses.retain(|known| !same(known));
            interface.say_addresses()
        });
    }

    /// Takes the addresses of all interfaces.
    pub(super) fn set_addresses(&mut self, mut all: HashMap<u32, Vec<Address>>) {
        self.with_all(|index, interface| {
            interface.addresses = all.remove(&index).unwrap_or_default();
            interface.say_addresses()
        });
    }

    /// Takes a list of all interfaces, as what is said of `key`.
    pub(super) fn set_lists<T>(
        &mut self,
        key: &'static str,
        mut all: HashMap<u32, Vec<T>>,
        to_json: impl Fn(Vec<T>) -> Value,
    ) {
        self.with_all(|index, interface| interface.say(key, all.remove(&index).map(&to_json)));
    }

    /// Says `value` of one interface's `key`.
    pub(super) fn say(&mut self, index: u32, key: &'static str, value: Option<Value>) {
        self.with(index, |interface| interface.say(key, value));
    }

    /// What an interface wants to be joined to.
    pub(super) fn wants(&self, index: u32) -> Vec<Want> {
        let Some(interface) = self.by_index.get(&index) else {
            return Vec::new();
        };
        let link = &interface.link;
        let mut wants = Vec::new();
        // The kernel tells of a bridge before its ports. The datapath of Open vSwitch is no bridge: its
        // bridges are known from OVSDB.
        let master = link.master.and_then(|master| self.by_index.get(&master));
        if let Some(master) = master.filter(|master| master.link.type_name() != "openvswitch") {
            wants.push(Want {
                to: self.port(master.link.index),
                role: Role::Child,
                kind: master.link.type_name().to_owned(),
            });
        }
        if let (Some(other), Some(namespace), Some(kind)) = (link.link, interface.far, &link.kind) {
            wants.push(Want {
                to: Port {
                    index: other,
                    namespace,
                },
                role: if link.is_pair() { Role::Peer } else { Role::Child },
                kind: kind.clone(),
            });
        }
        wants
    }

    /// Has an interface's node made anew: somebody else deleted it.
    pub(super) fn forget_node(&mut self, index: u32) {
        if let Some(interface) = self.by_index.get_mut(&index) {
            interface.node = None;
            interface.said.clear();
            interface.pending.clear();
            self.dirty.insert(index);
        }
    }

    fn with(&mut self, index: u32, change: impl FnOnce(&mut Interface) -> bool) {
        if let Some(interface) = self.by_index.get_mut(&index)
            && change(interface)
        {
            self.dirty.insert(index);
        }
    }

    fn with_all(&mut self, mut change: impl FnMut(u32, &mut Interface) -> bool) {
        for (index, interface) in &mut self.by_index {
            if change(*index, interface) {
                self.dirty.insert(*index);
            }
        }
    }
}

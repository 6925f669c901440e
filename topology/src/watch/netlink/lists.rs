//! The lists of an interface: addresses, neighbours, forwarding entries, routes.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::numbers::*;
use super::wire::{Attributes, Request, hardware_address, ip, u8_at, u16_at, u32_at};

/// Entries of one list of one interface that are kept. An entry is some 200 bytes as metadata. What is
/// beyond is left out and counted in the watcher's health; a router with a full table shows its first
/// routes.
pub const LIST_LIMIT: usize = 1_024;

/// Lists of all interfaces, by index.
#[derive(Debug)]
pub(super) struct Lists<T> {
    pub(super) by_index: HashMap<u32, Vec<T>>,
    /// Entries that were left out because a list was full.
    pub(super) left_out: u64,
}

impl<T> Lists<T> {
    pub(super) fn new() -> Self {
        Self {
            by_index: HashMap::new(),
            left_out: 0,
        }
    }

    /// Appends other lists.
    pub(super) fn extend(&mut self, other: Self) {
        for (index, list) in other.by_index {
            for entry in list {
                self.push(index, entry);
            }
        }
        self.left_out += other.left_out;
    }

    pub(super) fn push(&mut self, index: u32, entry: T) {
        let list = self.by_index.entry(index).or_default();
        if list.len() < LIST_LIMIT {
            list.push(entry);
        } else {
            self.left_out += 1;
        }
    }
}

/// Asks for all of `kind` in a family. All have a fixed part that begins with the family.
pub(super) fn request(kind: u16, family: u8) -> Request {
    let fixed = match kind {
        RTM_GETADDR => 8,
        _ => 12,
    };
    let mut bytes = [0; 12];
    bytes[0] = family;
    Request::new(kind, NLM_F_DUMP).bytes(&bytes[..fixed])
}

/// An address of an interface (`struct ifaddrmsg`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
}

impl Address {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let attributes = Attributes::after(body, 8);
        // Of a point-to-point interface IFA_ADDRESS is the other end's.
        let address = attributes
            .find_kind(IFA_LOCAL)
            .or_else(|| attributes.find_kind(IFA_ADDRESS))?;
        Some(Self {
            index: u32_at(body, 4)?,
            ip: ip(address)?,
            prefix: u8_at(body, 1)?,
        })
    }

    pub(super) fn key(&self) -> &'static str {
        if self.ip.is_ipv4() { "IPV4" } else { "IPV6" }
    }

    pub(super) fn cidr(&self) -> String {
        format!("{}/{}", self.ip, self.prefix)
    }
}

/// Neighbour states of the kernel, lowest bit first.
const NEIGHBOUR_STATES: [&str; 8] = [
    "NUD_INCOMPLETE",
    "NUD_REACHABLE",
    "NUD_STALE",
    "NUD_DELAY",
    "NUD_PROBE",
    "NUD_FAILED",
    "NUD_NOARP",
    "NUD_PERMANENT",
];

/// Flags of a neighbour, lowest bit first.
const NEIGHBOUR_FLAGS: [&str; 8] = [
    "NTF_USE",
    "NTF_SELF",
    "NTF_MASTER",
    "NTF_PROXY",
    "NTF_EXT_LEARNED",
    "NTF_OFFLOADED",
    "NTF_STICKY",
    "NTF_ROUTER",
];

/// The names of the bits that are set.
pub(super) fn bit_names(names: &[&str], bits: u32) -> Vec<String> {
    let set = names.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

/// An entry of `Neighbors` or `FDB` and the index of its interface (`struct ndmsg`).
///
/// A neighbour that no protocol asks for, such as a multicast address, is none: the kernel keeps what it
/// has computed among the others, `ip neigh` does not show it, and no event tells of it.
pub(super) fn neighbour(body: &[u8]) -> Option<(u32, Value)> {
    let index = u32_at(body, 4)?;
    if u8_at(body, 0)? != AF_BRIDGE && u16_at(body, 8)? & !NUD_NOARP == 0 {
        return None;
    }
    let attributes = Attributes::after(body, 12);
    let mac = attributes.find_kind(NDA_LLADDR).map(hardware_address);
    let mut entry = json!({"IfIndex": index, "MAC": mac.unwrap_or_default()});
    let mut say = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            entry[key] = value;
        }
    };
    let states = bit_names(&NEIGHBOUR_STATES, u16_at(body, 8)?.into());
    let flags = bit_names(&NEIGHBOUR_FLAGS, u8_at(body, 10)?.into());
    say("State", (!states.is_empty()).then(|| states.into()));
    say("Flags", (!flags.is_empty()).then(|| flags.into()));
    say(
        "IP",
        attributes
            .find_kind(NDA_DST)
            .and_then(ip)
            .map(|ip| ip.to_string().into()),
    );
    say(
        "Vlan",
        attributes
            .find_kind(NDA_VLAN)
            .and_then(|vlan| u16_at(vlan, 0))
            .map(Value::from),
    );
    let vni = attributes
        .find_kind(NDA_VNI)
        .or_else(|| attributes.find_kind(NDA_SRC_VNI));
    say("VNI", vni.and_then(|vni| u32_at(vni, 0)).map(Value::from));
    Some((index, entry))
}

/// The kernel lists neighbours by their place in a hash table; sorted, the same ones make the same list.
pub(super) fn sorted(mut neighbours: Vec<Value>) -> Value {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    neighbours.sort_by_cached_key(|entry| {
        let ip: Option<IpAddr> = entry["IP"].as_str().and_then(|ip| ip.parse().ok());
        (
            ip,
            text(entry, "MAC"),
            entry["Vlan"].as_u64(),
            entry["VNI"].as_u64(),
        )
    });
    neighbours.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::netlink::wire::Messages;

    #[test]
    fn a_full_list_counts_what_it_leaves_out() {
        let mut lists = Lists::new();
        for entry in 0..LIST_LIMIT + 3 {
            lists.push(1, entry);
        }
        lists.push(2, 0);
        assert_eq!((lists.by_index[&1].len(), lists.left_out), (LIST_LIMIT, 3));
        assert_eq!(lists.by_index[&2].len(), 1);
    }

    #[test]
    fn the_near_end_of_a_point_to_point_address_counts() {
        let request = Request::new(RTM_NEWADDR, 0)
            .bytes(&[AF_INET, 32, 0, 0, 5, 0, 0, 0])
            .attribute(IFA_ADDRESS, &[10, 0, 0, 2])
            .attribute(IFA_LOCAL, &[10, 0, 0, 1]);
        let bytes = request.sealed(0);
        let address = Address::parse(Messages(&bytes).next().unwrap().body).unwrap();
        assert_eq!((address.cidr().as_str(), address.key()), ("10.0.0.1/32", "IPV4"));
    }

    #[test]
    fn a_neighbour_says_what_it_has() {
        let mut fixed = [0; 12];
        fixed[0] = AF_INET;
        fixed[4] = 5;
        fixed[8] = 0x80;
        fixed[10] = 0x80;
        let request = Request::new(RTM_NEWNEIGH, 0)
            .bytes(&fixed)
            .attribute(NDA_DST, &[10, 0, 0, 2])
            .attribute(NDA_LLADDR, &[2, 0, 0, 0, 0, 1])
            .attribute(NDA_VLAN, &7_u16.to_ne_bytes());
        let bytes = request.sealed(0);
        let (index, entry) = neighbour(Messages(&bytes).next().unwrap().body).unwrap();
        assert_eq!(index, 5);
        assert_eq!(
            entry,
            json!({"IfIndex": 5, "IP": "10.0.0.2", "MAC": "02:00:00:00:00:01", "Vlan": 7,
                   "State": ["NUD_PERMANENT"], "Flags": ["NTF_ROUTER"]})
        );
    }

    #[test]
    fn neighbours_are_sorted_by_address() {
        let list = sorted(vec![
            json!({"IP": "10.0.0.10", "MAC": "b"}),
            json!({"IP": "10.0.0.9", "MAC": "a"}),
            json!({"MAC": "c"}),
        ]);
        let macs: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["MAC"])
            .collect();
        assert_eq!(macs, ["c", "a", "b"]);
    }
}

//! `NextHop`: where a packet to an address leaves a host or namespace, by its routing tables.

use std::cmp::Reverse;
use std::net::IpAddr;

use flowtap_topology::{Metadata, Node, Snapshot};
use serde::Serialize;
use serde_json::Value as Json;

/// The next hop towards an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NextHop {
    /// The route's priority; the kernel takes the smallest.
    pub priority: i64,
    /// The gateway, or the address itself where no gateway is on the way.
    #[serde(rename = "IP")]
    pub ip: IpAddr,
    /// The MAC address of [`Self::ip`], if a neighbour is known by it.
    #[serde(rename = "MAC", skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Through which interface, by its index in the network namespace.
    pub if_index: i64,
}

/// The tables that the kernel asks by itself, first to last: local, main, default.
const KERNEL_TABLES: [i64; 3] = [255, 254, 253];

/// The next hop from `node` to `to`; `None` if the node has no tables or none leads there.
///
/// The tables are asked in the kernel's order, those of policy rules (which are not known) last; the
/// first that has a route decides, by its longest prefix, then its smallest priority. (Skydive takes
/// the first route that matches.)
pub(crate) fn next_hop(graph: &Snapshot, node: &Node, to: IpAddr) -> Option<NextHop> {
    let mut tables: Vec<&Metadata> = objects(node.metadata.get("RoutingTables")).collect();
    tables.sort_by_key(|table| {
        let id = table.get("ID").or_else(|| table.get("Id")).and_then(Json::as_i64);
        let place = KERNEL_TABLES.iter().position(|known| Some(*known) == id);
        place.unwrap_or(KERNEL_TABLES.len())
    });
    let mut hop = tables.into_iter().find_map(|table| best(table, to))?;
    hop.mac = mac_of(graph, node, hop.ip, hop.if_index);
    Some(hop)
}

fn objects(list: Option<&Json>) -> impl Iterator<Item = &Metadata> {
    let elements = list.and_then(Json::as_array).into_iter().flatten();
    elements.filter_map(Json::as_object)
}

fn best(table: &Metadata, to: IpAddr) -> Option<NextHop> {
    let routes = objects(table.get("Routes")).filter_map(|route| {
        let length = matched_length(route.get("Prefix").and_then(Json::as_str)?, to)?;
        let hop = objects(route.get("NextHops"))
            .filter_map(|hop| hop_of(hop, to))
            .min_by_key(|hop| hop.priority)?;
        Some((length, hop))
    });
    routes
        .min_by_key(|(length, hop)| (Reverse(*length), hop.priority))
        .map(|(_, hop)| hop)
}

fn hop_of(hop: &Metadata, to: IpAddr) -> Option<NextHop> {
    let gateway = hop.get("IP").and_then(Json::as_str).unwrap_or_default();
    // A gateway of the other family (IPv4 through an IPv6 neighbour) is one too.
    let ip = if gateway.is_empty() {
        to
    } else {
        gateway.parse().ok()?
    };
    Some(NextHop {
        priority: hop.get("Priority").and_then(Json::as_i64).unwrap_or(0),
        ip,
        mac: None,
        if_index: hop.get("IfIndex").and_then(Json::as_i64).unwrap_or(0),
    })
}

/// How many bits of `to` the prefix (`10.0.0.0/8`, an address alone, `default`) fixes; `None` if `to`
/// does not lie in it.
fn matched_length(prefix: &str, to: IpAddr) -> Option<u8> {
    if prefix == "default" {
        return Some(0);
    }
    let (address, bits) = match prefix.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (prefix, None),
    };
    match (address.parse().ok()?, to) {
        (IpAddr::V4(network), IpAddr::V4(to)) => {
            let bits = bits.unwrap_or(32);
            same_bits(network.to_bits().into(), to.to_bits().into(), bits, 32)
        }
        (IpAddr::V6(network), IpAddr::V6(to)) => {
            let bits = bits.unwrap_or(128);
            same_bits(network.to_bits(), to.to_bits(), bits, 128)
        }
        _ => None,
    }
}

fn same_bits(a: u128, b: u128, bits: u8, width: u8) -> Option<u8> {
    let rest = width.checked_sub(bits)?;
    let differ = (a ^ b).checked_shr(rest.into()).unwrap_or(0);
    (differ == 0).then_some(bits)
}

/// The neighbour's MAC: from the node itself, or from the interface that it owns (namespaces have the
/// routes, interfaces the neighbours).
fn mac_of(graph: &Snapshot, node: &Node, ip: IpAddr, if_index: i64) -> Option<String> {
    let interface = graph
        .owned(&node.id)
        .find(|owned| owned.metadata.get("IfIndex").and_then(Json::as_i64) == Some(if_index));
    let holders = [Some(node), interface.map(|interface| &**interface)];
    let mut neighbours = holders
        .into_iter()
        .flatten()
        .flat_map(|holder| objects(holder.metadata.get("Neighbors")));
    let found = neighbours.find(|neighbour| {
        let address = neighbour.get("IP").and_then(Json::as_str);
        let index = neighbour.get("IfIndex").and_then(Json::as_i64);
        address.and_then(|text| text.parse().ok()) == Some(ip) && index.is_none_or(|index| index == if_index)
    })?;
    let mac = found.get("MAC").and_then(Json::as_str)?;
    (!mac.is_empty()).then(|| mac.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_fix_bits() {
        for (prefix, to, length) in [
            ("10.0.0.0/8", "10.1.2.3", Some(8)),
            ("10.0.0.0/8", "11.1.2.3", None),
            ("0.0.0.0/0", "11.1.2.3", Some(0)),
            ("10.0.0.7", "10.0.0.7", Some(32)),
            ("10.0.0.7/32", "10.0.0.6", None),
            ("10.0.0.0/33", "10.0.0.0", None),
            ("10.0.0.0/x", "10.0.0.0", None),
            ("x", "10.0.0.0", None),
            ("", "10.0.0.0", None),
            ("default", "::1", Some(0)),
            ("fe80::/64", "fe80::7", Some(64)),
            ("fe80::/64", "fe81::7", None),
            ("::/0", "fe81::7", Some(0)),
            ("::/0", "10.0.0.1", None),
            ("::1/129", "::1", None),
        ] {
            assert_eq!(
                matched_length(prefix, to.parse().unwrap()),
                length,
                "{prefix} {to}"
            );
        }
    }
}

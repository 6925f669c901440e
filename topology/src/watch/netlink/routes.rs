//! Routing tables (`struct rtmsg`) as `RoutingTables` of the interfaces that the routes lead to.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::lists::Lists;
use super::numbers::*;
use super::wire::{Attributes, ip, u8_at, u16_at, u32_at};

/// Bytes of `struct rtmsg`.
const FIXED: usize = 12;
/// Bytes of `struct rtnexthop`.
const HOP_FIXED: usize = 8;

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    table: u32,
    protocol: u8,
    prefix: String,
    source: Option<IpAddr>,
    hops: Vec<Hop>,
}

/// One way that a route leads.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hop {
    priority: u32,
    ip: Option<IpAddr>,
    index: Option<u32>,
}

impl Route {
    /// Adds the route of a message to each interface that it leads to. One that leads nowhere
    /// (`blackhole`), or is a copy made for one destination, is of none.
    pub(super) fn collect(routes: &mut Lists<Self>, body: &[u8]) {
        let Some(route) = Self::parse(body) else { return };
        let mut indexes: Vec<_> = route.hops.iter().filter_map(|hop| hop.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        for index in indexes {
            routes.push(index, route.clone());
        }
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let family = u8_at(body, 0)?;
        if u32_at(body, 8)? & RTM_F_CLONED != 0 || ![AF_INET, AF_INET6].contains(&family) {
            return None;
        }
        let attributes = Attributes::after(body, FIXED);
        let number = |kind| attributes.find_kind(kind).and_then(|value| u32_at(value, 0));
        let priority = number(RTA_PRIORITY).unwrap_or_default();
        let destination = match attributes.find_kind(RTA_DST) {
            Some(destination) => ip(destination)?,
            None if family == AF_INET => IpAddr::from([0; 4]),
            None => IpAddr::from([0; 16]),
        };
        let hops = match attributes.find_kind(RTA_MULTIPATH) {
            Some(hops) => Hop::parse_list(hops, priority),
            None => vec![Hop {
                priority,
                ip: Hop::gateway(attributes),
                index: number(RTA_OIF),
            }],
        };
        Some(Self {
            table: number(RTA_TABLE).unwrap_or(u8_at(body, 4)?.into()),
            protocol: u8_at(body, 5)?,
            prefix: format!("{destination}/{}", u8_at(body, 1)?),
            source: attributes.find_kind(RTA_PREFSRC).and_then(ip),
            hops,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "Protocol": self.protocol,
            "Prefix": self.prefix,
            "NextHops": self.hops.iter().copied().map(Hop::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Hop {
    fn parse_list(mut value: &[u8], priority: u32) -> Vec<Self> {
        let mut hops = Vec::new();
        while let Some(length) = u16_at(value, 0).map(usize::from) {
            let Some(hop) = value.get(..length).filter(|hop| hop.len() >= HOP_FIXED) else {
                break;
            };
            hops.push(Self {
                priority,
                ip: Self::gateway(Attributes::after(hop, HOP_FIXED)),
                index: u32_at(hop, 4),
            });
            value = value.get(length.saturating_add(3) & !3..).unwrap_or_default();
        }
        hops
    }

    /// A gateway; `RTA_VIA` is one of another family, after the family's two bytes.
    fn gateway(attributes: Attributes<'_>) -> Option<IpAddr> {
        let via = || attributes.find_kind(RTA_VIA).and_then(|via| via.get(2..));
        attributes.find_kind(RTA_GATEWAY).or_else(via).and_then(ip)
    }

    fn to_json(self) -> Value {
        let mut hop = json!({"Priority": self.priority});
        if let Some(ip) = self.ip {
            hop["IP"] = ip.to_string().into();
        }
        if let Some(index) = self.index {
            hop["IfIndex"] = index.into();
        }
        hop
    }
}

/// `RoutingTables`: the routes by table, tables and routes in the kernel's order. Routes of one protocol
/// and prefix are one, with all their ways. `Src` is the first preferred source in the table.
pub(super) fn tables(routes: &[Route]) -> Value {
    let mut order = Vec::new();
    let mut by_table: HashMap<u32, Vec<Route>> = HashMap::new();
    for route in routes {
        let table = by_table.entry(route.table).or_insert_with(|| {
            order.push(route.table);
            Vec::new()
        });
        let same = |other: &&mut Route| (other.protocol, &other.prefix) == (route.protocol, &route.prefix);
        match table.iter_mut().find(same) {
            Some(other) => {
                let new: Vec<_> = route
                    .hops
                    .iter()
                    .filter(|hop| !other.hops.contains(hop))
                    .copied()
                    .collect();
                other.hops.extend(new);
            }
            None => table.push(route.clone()),
        }
    }
    let table = |id: u32| {
        let routes = by_table.get(&id).map(Vec::as_slice).unwrap_or_default();
        let mut table = json!({
            "ID": id,
            "Routes": routes.iter().map(Route::to_json).collect::<Vec<_>>(),
        });
        if let Some(source) = routes.iter().find_map(|route| route.source) {
            table["Src"] = source.to_string().into();
        }
        table
    };
    order.into_iter().map(table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::netlink::wire::{Messages, Request};

    fn route(length: u8, add: impl FnOnce(Request) -> Request) -> Vec<u8> {
        let fixed = [AF_INET, length, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        let bytes = add(Request::new(RTM_NEWROUTE, 0).bytes(&fixed)).sealed(0);
        Messages(&bytes).next().unwrap().body.to_vec()
    }

    fn collected(bodies: &[Vec<u8>]) -> Lists<Route> {
        let mut routes = Lists::new();
        for body in bodies {
            Route::collect(&mut routes, body);
        }
        routes
    }

    #[test]
    fn a_default_route_has_the_prefix_of_everything() {
        let routes = collected(&[route(0, |route| {
            route
                .attribute(RTA_TABLE, &1000_u32.to_ne_bytes())
                .attribute(RTA_GATEWAY, &[10, 0, 0, 254])
                .attribute(RTA_PRIORITY, &100_u32.to_ne_bytes())
                .attribute(RTA_OIF, &3_u32.to_ne_bytes())
        })]);
        assert_eq!(
            tables(&routes.by_index[&3]),
            json!([{"ID": 1000, "Routes": [{"Protocol": 4, "Prefix": "0.0.0.0/0",
                    "NextHops": [{"Priority": 100, "IP": "10.0.0.254", "IfIndex": 3}]}]}])
        );
    }

    #[test]
    fn a_route_of_two_ways_is_at_both_interfaces() {
        let mut hops = Vec::new();
        for (index, last) in [(3_u32, 1), (4, 2)] {
            hops.extend(16_u16.to_ne_bytes());
            hops.extend([0, 0]);
            hops.extend(index.to_ne_bytes());
            hops.extend(8_u16.to_ne_bytes());
            hops.extend(RTA_GATEWAY.to_ne_bytes());
            hops.extend([10, 0, 0, last]);
        }
        let routes = collected(&[route(24, |route| {
            route
                .attribute(RTA_DST, &[192, 0, 2, 0])
                .attribute(RTA_PREFSRC, &[10, 0, 0, 9])
                .attribute(RTA_MULTIPATH, &hops)
        })]);
        assert_eq!(routes.by_index[&3], routes.by_index[&4]);
        let table = &tables(&routes.by_index[&3])[0];
        assert_eq!((&table["ID"], &table["Src"]), (&json!(254), &json!("10.0.0.9")));
        assert_eq!(
            table["Routes"][0]["NextHops"][1],
            json!({"Priority": 0, "IP": "10.0.0.2", "IfIndex": 4})
        );
    }

    #[test]
    fn routes_to_nowhere_are_of_no_interface() {
        let routes = collected(&[route(24, |route| route.attribute(RTA_DST, &[192, 0, 2, 0]))]);
        assert!(routes.by_index.is_empty());
    }
}

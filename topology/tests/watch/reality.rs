//! The graph of a namespace and what `ip`, `bridge` and `ethtool` say of it, in the same words.

use std::collections::{BTreeMap, BTreeSet};

use flowtap_topology::{LAYER2, Metadata, Snapshot};
use serde_json::{Value, json};

use crate::support::{Lab, Watched, eventually, interfaces};

/// Each interface by its name, in words that both sides can say.
type View = BTreeMap<String, BTreeMap<&'static str, Value>>;

impl Lab {
    /// Waits until the graph shows each of these namespaces as it is.
    pub(crate) fn agrees(&self, watched: &Watched, namespaces: &[&str], after: &str) {
        eventually(&format!("the graph after: {after}"), || {
            for name in namespaces {
                let snapshot = watched.graph.snapshot();
                let (graph, kernel) = (seen(&snapshot, name), self.real(name));
                if graph != kernel {
                    return Err(format!("in {name}\n{}", differences(&graph, &kernel)));
                }
            }
            Ok(())
        });
    }

    fn real(&self, name: &str) -> View {
        let links = self.json(name, "ip", "-j -d link");
        let names: BTreeMap<_, _> = links
            .iter()
            .map(|link| (text(link, "ifname"), link["ifindex"].clone()))
            .collect();
        let mut view: View = links
            .iter()
            .map(|link| (text(link, "ifname"), real_link(link, &names)))
            .collect();
        for link in self.json(name, "ip", "-j addr") {
            for (key, family) in [("IPV4", "inet"), ("IPV6", "inet6")] {
                let of_family = link["addr_info"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|a| a["family"] == family);
                let list = of_family.map(|a| format!("{}/{}", text(a, "local"), a["prefixlen"]));
                add(&mut view, &text(&link, "ifname"), key, list);
            }
        }
        for neighbour in self.json(name, "ip", "-j neigh show") {
            let states = neighbour["state"]
                .as_array()
                .unwrap()
                .iter()
                .map(|state| state.as_str().unwrap());
            let states: Vec<_> = states.map(phase).collect();
            let entry = format!(
                "{} {} {states:?}",
                text(&neighbour, "dst"),
                text(&neighbour, "lladdr")
            );
            add(&mut view, &text(&neighbour, "dev"), "Neighbors", [entry]);
        }
        for entry in self.json(name, "bridge", "-j fdb") {
            let vlan = entry.get("vlan").unwrap_or(&Value::Null);
            let entry_text = format!("{} {vlan} {}", text(&entry, "mac"), text(&entry, "dst"));
            add(&mut view, &text(&entry, "ifname"), "FDB", [entry_text]);
        }
        for family in ["-4", "-6"] {
            for route in self.json(name, "ip", &format!("-j {family} -N route show table all")) {
                real_route(&mut view, &route, family);
            }
        }
        view
    }
}

fn real_link(link: &Value, names: &BTreeMap<String, Value>) -> BTreeMap<&'static str, Value> {
    let kind = link["linkinfo"]["info_kind"].as_str();
    let flags: BTreeSet<_> = link["flags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|flag| flag.as_str().unwrap())
        .collect();
    let up = match link["operstate"].as_str().unwrap() {
        "UNKNOWN" => flags.contains("UP"),
        state => state == "UP",
    };
    // Printed by `ip` among the flags, and none of the kernel's.
    let real = |flag: &&str| !["NO-CARRIER", "M-DOWN"].contains(flag);
    let other = link
        .get("link_index")
        .or_else(|| link.get("link").and_then(|name| names.get(name.as_str()?)))
        .or_else(|| names.get(link["linkinfo"]["info_data"]["link"].as_str()?));
    let index = |key: &str| names.get(link[key].as_str()?).cloned();
    let (peer, parent) = if kind == Some("veth") {
        (other, None)
    } else {
        (None, other)
    };
    let entries = [
        ("Type", Some(json!(kind.unwrap_or("device")))),
        ("IfIndex", Some(link["ifindex"].clone())),
        ("MTU", Some(link["mtu"].clone())),
        (
            "MAC",
            link.get("address")
                .filter(|mac| *mac != "00:00:00:00:00:00")
                .cloned(),
        ),
        ("EncapType", Some(link["link_type"].clone())),
        ("State", Some(json!(if up { "UP" } else { "DOWN" }))),
        (
            "LinkFlags",
            Some(json!(flags.into_iter().filter(real).collect::<Vec<_>>())),
        ),
        ("MasterIndex", index("master")),
        ("PeerIfIndex", peer.cloned()),
        ("ParentIndex", parent.cloned()),
        ("LinkNetNsID", link.get("link_netnsid").cloned()),
        (
            "VNI",
            link["linkinfo"]["info_data"]
                .get("id")
                .cloned()
                .filter(|_| kind == Some("vxlan")),
        ),
    ];
    entries
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

fn real_route(view: &mut View, route: &Value, family: &str) {
    let mut destination = match text(route, "dst").as_str() {
        "default" if family == "-4" => "0.0.0.0/0".to_owned(),
        "default" => "::/0".to_owned(),
        destination => destination.to_owned(),
    };
    if !destination.contains('/') {
        destination += if family == "-4" { "/32" } else { "/128" };
    }
    // With -N the table is a number, and the main one is left out.
    let table = route["table"].as_str().unwrap_or("254").to_owned();
    let hops = route["nexthops"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![route.clone()]);
    for hop in &hops {
        let entry = format!("{table} {destination} via {}", text(hop, "gateway"));
        add(view, &text(hop, "dev"), "RoutingTables", [entry]);
    }
}

fn add(view: &mut View, interface: &str, key: &'static str, entries: impl IntoIterator<Item = String>) {
    let Some(interface) = view.get_mut(interface) else {
        return;
    };
    let list = interface.entry(key).or_insert_with(|| json!([]));
    let list = list.as_array_mut().unwrap();
    list.extend(entries.into_iter().map(Value::from));
    list.sort_by_key(|entry| entry.as_str().unwrap().to_owned());
    list.dedup();
    if list.is_empty() {
        interface.remove(key);
    }
}

fn seen(snapshot: &Snapshot, namespace: &str) -> View {
    let nodes = interfaces(snapshot, namespace);
    nodes
        .into_iter()
        .map(|node| (node.name().unwrap().to_owned(), seen_interface(&node.metadata)))
        .collect()
}

fn seen_interface(metadata: &Metadata) -> BTreeMap<&'static str, Value> {
    let mut view = BTreeMap::new();
    for key in [
        "Type",
        "IfIndex",
        "MTU",
        "MAC",
        "EncapType",
        "State",
        "MasterIndex",
        "PeerIfIndex",
        "ParentIndex",
        "LinkNetNsID",
        "VNI",
    ] {
        view.extend(metadata.get(key).map(|value| (key, value.clone())));
    }
    let entries = |key: &str| {
        metadata
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let flags: BTreeSet<_> = entries("LinkFlags")
        .into_iter()
        .map(|flag| flag.as_str().unwrap().to_owned())
        .collect();
    // `ip` does not print it.
    let flags: Vec<_> = flags.into_iter().filter(|flag| flag != "RUNNING").collect();
    view.insert("LinkFlags", json!(flags));
    let mut say = |key: &'static str, mut list: Vec<String>| {
        list.sort();
        list.dedup();
        if !list.is_empty() {
            view.insert(key, json!(list));
        }
    };
    for key in ["IPV4", "IPV6"] {
        say(
            key,
            entries(key)
                .iter()
                .map(|cidr| cidr.as_str().unwrap().to_owned())
                .collect(),
        );
    }
    let neighbours = entries("Neighbors");
    say(
        "Neighbors",
        neighbours
            .iter()
            .map(|entry| {
                let states = entry["State"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str);
                let states: Vec<_> = states.map(|state| phase(&state["NUD_".len()..])).collect();
                format!("{} {} {states:?}", text(entry, "IP"), text(entry, "MAC"))
            })
            .collect(),
    );
    let forwarding = entries("FDB");
    say(
        "FDB",
        forwarding
            .iter()
            .map(|entry| format!("{} {} {}", text(entry, "MAC"), entry["Vlan"], text(entry, "IP")))
            .collect(),
    );
    let index = &metadata["IfIndex"];
    let mut routes = Vec::new();
    for table in entries("RoutingTables") {
        for route in table["Routes"].as_array().unwrap() {
            let hops = route["NextHops"].as_array().unwrap();
            for hop in hops.iter().filter(|hop| hop["IfIndex"] == *index) {
                routes.push(format!(
                    "{} {} via {}",
                    table["ID"],
                    text(route, "Prefix"),
                    text(hop, "IP")
                ));
            }
        }
    }
    say("RoutingTables", routes);
    view
}

/// What a neighbour's state means. The kernel goes from one to another of the same meaning without
/// telling, as often as it asks.
fn phase(state: &str) -> &str {
    match state {
        "REACHABLE" | "STALE" | "DELAY" | "PROBE" => "known",
        "INCOMPLETE" | "FAILED" => "unknown",
        other => other,
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// What differs, one line each.
fn differences(graph: &View, kernel: &View) -> String {
    let mut lines = Vec::new();
    let names: BTreeSet<_> = graph.keys().chain(kernel.keys()).collect();
    for name in names {
        let (Some(seen), Some(real)) = (graph.get(name), kernel.get(name)) else {
            let only = if graph.contains_key(name) {
                "graph"
            } else {
                "kernel"
            };
            lines.push(format!("{name}: only in the {only}"));
            continue;
        };
        let keys: BTreeSet<_> = seen.keys().chain(real.keys()).collect();
        for key in keys.into_iter().filter(|key| seen.get(*key) != real.get(*key)) {
            lines.push(format!(
                "{name} {key}: graph {:?}, kernel {:?}",
                seen.get(key),
                real.get(key)
            ));
        }
    }
    lines.join("\n")
}

/// The layer 2 edges between interfaces of these namespaces: `TYPE NAMESPACE/PARENT NAMESPACE/CHILD`, and
/// the two ends of a veth in alphabetical order.
pub(crate) fn wires(snapshot: &Snapshot, namespaces: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeMap::new();
    for namespace in namespaces {
        for node in interfaces(snapshot, namespace) {
            names.insert(node.id.clone(), format!("{namespace}/{}", node.name().unwrap()));
        }
    }
    let wires = snapshot.edges().filter(|edge| edge.relation() == LAYER2);
    wires
        .filter_map(|edge| {
            let kind = edge.metadata["Type"].as_str().unwrap();
            let mut ends = [names.get(&edge.parent)?, names.get(&edge.child)?];
            if kind == "veth" {
                ends.sort();
            }
            Some(format!("{kind} {} {}", ends[0], ends[1]))
        })
        .collect()
}

impl Watched {
    /// Waits until these are the wires between the namespaces.
    pub(crate) fn is_wired(&self, namespaces: &[&str], expected: &[&str]) {
        let expected: BTreeSet<_> = expected.iter().map(|wire| (*wire).to_owned()).collect();
        eventually("the wires", || {
            let seen = wires(&self.graph.snapshot(), namespaces);
            if seen == expected {
                Ok(())
            } else {
                Err(format!("seen {seen:?}\nexpected {expected:?}"))
            }
        });
    }
}

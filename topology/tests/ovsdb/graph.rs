//! What the graph should hold for what a database holds, worked out from what `ovs-vsctl` says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use flowtap_topology::{Graph, LAYER2, Node, OWNERSHIP, Snapshot};
use serde_json::{Map, Value, json};

use crate::support::{Database, PATIENCE, elements, eventually, map};

/// Names of the nodes and edges of the switch that are not as `ovs-vsctl` has them; none if all are.
/// `Ovs.Metric` and its like are left out, as they change all the time.
pub(crate) fn differences(graph: &Graph, database: &Database) -> Vec<String> {
    let snapshot = graph.snapshot();
    let mut differences = Vec::new();
    // What the watcher says of each row, at whatever node that is.
    let rows: HashMap<&str, &Arc<Node>> = snapshot
        .nodes()
        .filter_map(|node| Some((node.metadata.get("UUID")?.as_str()?, node)))
        .collect();
    let joined = |uuid: &str| {
        rows.get(uuid)
            .is_some_and(|node| node.metadata.contains_key("IfIndex"))
    };
    let wanted = Wanted::of(database, joined);
    for (uuid, (name, facts)) in &wanted.nodes {
        let Some(node) = rows.get(uuid.as_str()) else {
            differences.push(format!("{name} is missing"));
            continue;
        };
        let mut metadata = node.metadata.clone();
        if let Some(ovs) = metadata.get_mut("Ovs").and_then(Value::as_object_mut) {
            ovs.retain(|key, _| !["Metric", "LastUpdateMetric", "LinkResets"].contains(&key.as_str()));
        }
        for (key, value) in facts {
            if metadata.get(key) != Some(value) {
                differences.push(format!("{name}.{key} is {:?}, not {value}", metadata.get(key)));
            }
        }
        let known = [
            "Ovs", "ExtID", "OfPort", "VM", "Port", "Pod", "Vlans", "Trunks", "BondMode", "LACP",
        ];
        for key in known.iter().filter(|key| !facts.contains_key(**key)) {
            if let Some(value) = metadata.get(*key).filter(|value| *value != &json!({})) {
                differences.push(format!("{name}.{key} is {value}, and should not be"));
            }
        }
    }
    for node in rows
        .iter()
        .filter(|(uuid, _)| !wanted.nodes.contains_key(**uuid))
        .map(|(_, node)| node)
    {
        differences.push(format!("{:?} {:?} is still there", node.node_type(), node.name()));
    }
    let edges = edges(&snapshot);
    differences.extend(
        wanted
            .edges
            .difference(&edges)
            .map(|edge| format!("{edge:?} is missing")),
    );
    differences.extend(
        edges
            .difference(&wanted.edges)
            .map(|edge| format!("{edge:?} is still there")),
    );
    differences
}

/// Waits until the graph is as the database.
pub(crate) fn agree(graph: &Graph, database: &Database) {
    let mut last = Vec::new();
    let agreed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the graph to be as the database", || {
            last = differences(graph, database);
            last.is_empty().then_some(())
        });
    }));
    assert!(agreed.is_ok(), "after {PATIENCE:?} still different: {last:#?}");
}

/// Relation, `Type`, and the rows of both ends.
type WantedEdge = (String, String, String, String);

/// The edges between nodes of rows. Ownership of what has no row (the host, namespaces) is left out.
fn edges(snapshot: &Snapshot) -> BTreeSet<WantedEdge> {
    let uuid = |id| {
        let node = snapshot.node(id)?;
        node.metadata
            .get("UUID")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let edges = snapshot.edges().filter_map(|edge| {
        let (mut parent, mut child) = (uuid(&edge.parent)?, uuid(&edge.child)?);
        let kind = edge
            .metadata
            .get("Type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if kind == "patch" && parent > child {
            (parent, child) = (child, parent);
        }
        Some((edge.relation().to_owned(), kind.to_owned(), parent, child))
    });
    edges.collect()
}

#[derive(Default)]
struct Wanted {
    /// Name and metadata by row.
    nodes: BTreeMap<String, (String, Map<String, Value>)>,
    edges: BTreeSet<WantedEdge>,
}

impl Wanted {
    /// `joined` says whether a row is at an interface of the kernel, which has another owner.
    fn of(database: &Database, joined: impl Fn(&str) -> bool) -> Self {
        let mut wanted = Self::default();
        let (bridges, ports) = (database.list("Bridge"), database.list("Port"));
        let interfaces = database.list("Interface");
        let named: HashMap<&str, &Value> = interfaces.iter().map(|row| (text(&row["name"]), row)).collect();
        let mut owner = HashMap::new();
        for bridge in &bridges {
            let facts = facts([
                ("Type", Some(json!("ovsbridge"))),
                (
                    "Ovs",
                    object([
                        ("OtherConfig", texts(&bridge["other_config"])),
                        ("Protocols", list(&bridge["protocols"])),
                        ("DatapathID", one(&bridge["datapath_id"])),
                        ("DatapathType", one(&bridge["datapath_type"])),
                        ("FailMode", one(&bridge["fail_mode"])),
                    ]),
                ),
                ("ExtID", texts(&bridge["external_ids"])),
            ]);
            for port in elements(&bridge["ports"]) {
                let (bridge, port) = (uuid(bridge), text(&named_uuid(&port)).to_owned());
                wanted.edge(OWNERSHIP, "", &bridge, &port);
                wanted.edge(LAYER2, "", &bridge, &port);
                owner.insert(port, bridge);
            }
            wanted.node(bridge, facts);
        }
        for port in &ports {
            let facts = facts([
                ("Type", Some(json!("ovsport"))),
                (
                    "Ovs",
                    object([
                        ("OtherConfig", texts(&port["other_config"])),
                        ("VlanMode", one(&port["vlan_mode"])),
                    ]),
                ),
                ("ExtID", texts(&port["external_ids"])),
                ("Vlans", one(&port["tag"])),
                ("Trunks", list(&port["trunks"])),
                ("BondMode", one(&port["bond_mode"])),
                ("LACP", one(&port["lacp"])),
            ]);
            for interface in elements(&port["interfaces"]) {
                let interface = text(&named_uuid(&interface)).to_owned();
                wanted.edge(LAYER2, "", &uuid(port), &interface);
                owner.insert(interface, owner[&uuid(port)].clone());
            }
            wanted.node(port, facts);
        }
        for interface in &interfaces {
            let kind = text(&interface["type"]);
            let options = map(&interface["options"]);
            let ids = map(&interface["external_ids"]);
            let id = |key: &str| ids.get(key).cloned();
            let tunnel = |key: &str| options.get(key).cloned();
            let facts = facts([
                ("Type", (!kind.is_empty()).then(|| json!(kind))),
                (
                    "Ovs",
                    object([
                        ("Options", texts(&interface["options"])),
                        ("OtherConfig", texts(&interface["other_config"])),
                        ("Error", one(&interface["error"])),
                    ])
                    .or(Some(json!({}))),
                ),
                ("ExtID", aliased(&ids)),
                ("OfPort", one(&interface["ofport"]).filter(|port| *port != -1)),
                ("LocalIP", tunnel("local_ip")),
                ("RemoteIP", tunnel("remote_ip")),
                ("VM", object([("ID", id("vm-id").or(id("vm-uuid")))])),
                (
                    "Port",
                    object([
                        ("ID", id("iface-id")),
                        ("MAC", id("attached-mac").or(id("attached_mac"))),
                    ]),
                ),
            ]);
            if let Some(peer) = options
                .get("peer")
                .filter(|_| kind == "patch")
                .and_then(|peer| named.get(text(peer)))
            {
                let back = map(&peer["options"]).get("peer").cloned();
                let (one, other) = (uuid(interface), uuid(peer));
                if back.as_ref() == Some(&interface["name"]) && one < other {
                    wanted.edge(LAYER2, "patch", &one, &other);
                }
            }
            if !joined(&uuid(interface)) {
                wanted.edge(OWNERSHIP, "", &owner[&uuid(interface)], &uuid(interface));
            }
            wanted.node(interface, facts);
        }
        wanted
    }

    fn node(&mut self, row: &Value, facts: Map<String, Value>) {
        self.nodes
            .insert(uuid(row), (text(&row["name"]).to_owned(), facts));
    }

    fn edge(&mut self, relation: &str, kind: &str, parent: &str, child: &str) {
        self.edges.insert((
            relation.to_owned(),
            kind.to_owned(),
            parent.to_owned(),
            child.to_owned(),
        ));
    }
}

/// Both names of what has two.
fn aliased(ids: &Map<String, Value>) -> Option<Value> {
    let mut ids = ids.clone();
    for (one, other) in [("vm-id", "vm-uuid"), ("attached-mac", "attached_mac")] {
        for (from, to) in [(one, other), (other, one)] {
            if let Some(value) = ids.get(from).cloned() {
                ids.entry(to).or_insert(value);
            }
        }
    }
    (!ids.is_empty()).then_some(Value::Object(ids))
}

fn facts<const N: usize>(entries: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let known = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    known.collect()
}

fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Option<Value> {
    let object = facts(entries);
    (!object.is_empty()).then_some(Value::Object(object))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// In a set a row is `["uuid", …]`, alone it is that text.
fn named_uuid(value: &Value) -> Value {
    value.get(1).unwrap_or(value).clone()
}

fn uuid(row: &Value) -> String {
    text(&row["_uuid"][1]).to_owned()
}

fn texts(value: &Value) -> Option<Value> {
    let texts = map(value);
    (!texts.is_empty()).then_some(Value::Object(texts))
}

fn one(value: &Value) -> Option<Value> {
    elements(value).into_iter().find(|value| *value != "")
}

fn list(value: &Value) -> Option<Value> {
    let mut list = elements(value);
    list.sort_by_key(|value| (value.as_i64(), value.to_string()));
    (!list.is_empty()).then_some(Value::Array(list))
}

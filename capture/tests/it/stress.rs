//! Whatever happens in whatever order: in the end runs what is declared, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use flowtap_capture::{CaptureError, NewCapture, NodeState};
use flowtap_gremlin::select_nodes;
use flowtap_topology::NodeId;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Lab, until, veth};

/// What users do.
#[derive(Clone, Debug)]
enum Declaration {
    Create(usize, &'static str),
    Delete(usize),
}

/// What becomes of interfaces.
#[derive(Clone, Debug)]
enum Happening {
    Add(usize, usize),
    Remove(usize),
    MakeAnew(usize),
    Rename(usize, usize),
    Mark(usize, bool),
    Raise(usize, bool),
    Link(usize, usize),
    End(usize),
}

const EXPRESSIONS: [&str; 8] = [
    "G.V().Has('Type', 'veth')",
    "G.V().Has('Name', 'stress1')",
    "G.V().Has('Name', Regex('stress[2-5]'))",
    "G.V().HasKey('ExtID.vm-id')",
    "G.V().Has('Type', 'netns').Out()",
    "G.V().Has('Name', 'stress1').ShortestPathTo(Metadata('Name', 'stress4'), Metadata('RelationType', 'layer2'))",
    "G.V().Has('Type', 'veth').Sort().Limit(2)",
    "G.V().HasNot('ExtID').Has('State', 'UP')",
];
const NAMES: usize = 7;
const OWNERS: usize = 3;

fn declaration() -> impl Strategy<Value = Declaration> {
    let kinds = prop::sample::select(vec!["", "afpacket", "pcap", "pcapsocket"]);
    prop_oneof![
        3 => (0..EXPRESSIONS.len(), kinds).prop_map(|(expression, kind)| Declaration::Create(expression, kind)),
        2 => (0..8_usize).prop_map(Declaration::Delete),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let name = || 0..NAMES;
    prop_oneof![
        4 => (name(), 0..OWNERS).prop_map(|(name, owner)| Happening::Add(name, owner)),
        2 => name().prop_map(Happening::Remove),
        1 => name().prop_map(Happening::MakeAnew),
        1 => (name(), name()).prop_map(|(name, other)| Happening::Rename(name, other)),
        2 => (name(), any::<bool>()).prop_map(|(name, on)| Happening::Mark(name, on)),
        2 => (name(), any::<bool>()).prop_map(|(name, on)| Happening::Raise(name, on)),
        2 => (name(), name()).prop_map(|(name, other)| Happening::Link(name, other)),
        1 => name().prop_map(Happening::End),
    ]
}

fn declare(lab: &Lab, declaration: &Declaration) {
    match declaration {
        Declaration::Create(expression, kind) => {
            let new = NewCapture {
                r#type: (*kind).to_owned(),
                ..NewCapture::new(EXPRESSIONS[*expression])
            };
            match lab.declare(new) {
                Ok(_) | Err(CaptureError::Duplicate { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        Declaration::Delete(place) => {
            if let Some(capture) = lab.captures.list().get(*place) {
                lab.captures.delete(&capture.uuid).unwrap();
            }
        }
    }
}

/// The interfaces of a run: whose place among the owners, and the node.
struct Interfaces {
    owners: Vec<NodeId>,
    nodes: BTreeMap<usize, NodeId>,
    last_index: u32,
}

impl Interfaces {
    fn new(lab: &Lab) -> Self {
        let owners = vec![
            lab.graph.host().clone(),
            lab.namespace("blue"),
            lab.namespace("red"),
        ];
        Self {
            owners,
            nodes: BTreeMap::new(),
            last_index: 0,
        }
    }

    fn happen(&mut self, lab: &Lab, happening: &Happening) {
        let name = |number: usize| format!("stress{number}");
        match happening {
            Happening::Add(number, owner) => {
                // Added where it is already: it moves.
                if let Some(node) = self.nodes.remove(number) {
                    lab.remove(&node);
                }
                self.last_index += 1;
                let node = lab.interface_of(&self.owners[*owner].clone(), &name(*number), self.last_index);
                self.nodes.insert(*number, node);
            }
            Happening::Remove(number) => {
                if let Some(node) = self.nodes.remove(number) {
                    lab.remove(&node);
                }
            }
            Happening::MakeAnew(number) => {
                if let Some(node) = self.nodes.get_mut(number) {
                    let owner = lab.graph.snapshot().owner(node).unwrap().id.clone();
                    self.last_index += 1;
                    *node = lab.graph.edit(|edit| {
                        edit.remove_node(node);
                        edit.upsert_node(veth(&owner, &name(*number), self.last_index))
                            .unwrap()
                    });
                }
            }
            Happening::Rename(number, other) => {
                if !self.nodes.contains_key(other)
                    && let Some(node) = self.nodes.remove(number)
                {
                    lab.set(&node, "Name", name(*other));
                    self.nodes.insert(*other, node);
                }
            }
            Happening::Mark(number, on) => {
                if let Some(node) = self.nodes.get(number) {
                    if *on {
                        lab.set(node, "ExtID", json!({"vm-id": number}));
                    } else {
                        lab.graph.edit(|edit| edit.remove_key(node, "ExtID")).unwrap();
                    }
                }
            }
            Happening::Raise(number, on) => {
                if let Some(node) = self.nodes.get(number) {
                    lab.set(node, "LinkFlags", if *on { json!(["UP"]) } else { json!([]) });
                    lab.set(node, "State", if *on { "UP" } else { "DOWN" });
                }
            }
            Happening::Link(number, other) => {
                if let (Some(one), Some(other)) = (self.nodes.get(number), self.nodes.get(other)) {
                    lab.graph.link(one, other, "layer2", Default::default()).unwrap();
                }
            }
            Happening::End(number) => lab.log.end(&name(*number)),
        }
    }
}

/// Whether what runs is what is declared, now.
fn is_so(lab: &Lab) -> bool {
    let graph = lab.graph.snapshot();
    let mut wanted = Vec::new();
    let mut taken = Vec::new();
    for capture in lab.captures.list() {
        for node in select_nodes(&capture.gremlin_query, &graph).unwrap() {
            if node.node_type() != Some("veth") {
                continue;
            }
            let owner = graph.owner(&node.id).unwrap();
            let netns = owner.metadata.get("Path").and_then(|path| path.as_str());
            let index = u32::try_from(node.metadata["IfIndex"].as_u64().unwrap()).unwrap();
            let place = (netns.unwrap_or_default().to_owned(), index);
            let seen = capture.nodes.iter().find(|seen| seen.node_id == node.id.as_str());
            let Some(seen) = seen else { return false };
            // A pcap that was opened while the interface was up goes on; and of two pcap sockets, the first
            // to open one has it.
            let may_wait = match capture.r#type.as_str() {
                "pcap" => node.metadata["LinkFlags"] == json!([]),
                "pcapsocket" => taken.contains(&place) || seen.reason.contains("runs once"),
                _ => false,
            };
            match seen.state {
                NodeState::Active => wanted.push(place.clone()),
                NodeState::Waiting if may_wait => {}
                _ => return false,
            }
            if capture.r#type == "pcapsocket" {
                taken.push(place);
            }
        }
        let named = capture.nodes.len();
        let there = select_nodes(&capture.gremlin_query, &graph).unwrap();
        if named
            != there
                .iter()
                .filter(|node| node.node_type() == Some("veth"))
                .count()
        {
            return false;
        }
    }
    wanted.sort();
    wanted == lab.log.places()
}

/// Threads that read from the interfaces of these tests.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("cap-stress")).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn in_the_end_runs_what_is_declared(
        declarations in prop::collection::vec(declaration(), 1..40),
        happenings in prop::collection::vec(happening(), 1..120),
    ) {
        let mut lab = Lab::new();
        let mut interfaces = Interfaces::new(&lab);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for declaration in &declarations {
                    declare(&lab, declaration);
                }
            });
            for happening in &happenings {
                interfaces.happen(&lab, happening);
            }
        });
        until("what is declared", || is_so(&lab));
        // What nodes say is what is so, too.
        for (number, node) in &interfaces.nodes {
            let active = lab.captures.list();
            let active = active
                .iter()
                .flat_map(|capture| &capture.nodes)
                .filter(|seen| seen.node_id == node.as_str() && seen.state == NodeState::Active);
            let active = active.count();
            until(&format!("what stress{number} says"), || {
                lab.written(node).as_array().map_or(0, Vec::len) == active
            });
        }
        for capture in lab.captures.list() {
            lab.captures.delete(&capture.uuid).unwrap();
        }
        until("nothing", || lab.log.open().is_empty() && threads() == 0);
        for node in interfaces.nodes.values() {
            until("nothing at the nodes", || lab.written(node).is_null());
        }
        prop_assert!(lab.stop(Duration::from_secs(20)).is_empty());
    }
}

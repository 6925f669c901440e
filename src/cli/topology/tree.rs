//! A graph as a tree of what owns what; other relations stand at the end of a node's line.

use std::collections::HashMap;
use std::io::{self, Write};

use flowtap_topology::{Edge, Node, NodeId};
use serde_json::Value;

use crate::output::text::printable;

/// Writes the tree. Each node stands once; those that nothing owns are its roots.
///
/// # Errors
/// Those of the write.
pub(super) fn write(nodes: Vec<Node>, edges: Vec<Edge>, out: &mut impl Write) -> io::Result<()> {
    let mut tree = Tree::new(nodes, &edges);
    for root in std::mem::take(&mut tree.roots) {
        tree.write(root, out)?;
    }
    Ok(())
}

/// Levels that are told apart by their indentation. Users may own nodes by nodes as deep as they like, and
/// lines that grow with each would be a file of gigabytes.
const DEEPEST: usize = 100;

/// A node that is still to be written.
struct Line {
    at: usize,
    depth: usize,
    /// What stands before it, and before what it owns.
    branch: String,
    indent: String,
}

struct Tree {
    nodes: Vec<Node>,
    /// By place in `nodes`, in the order in which they are shown.
    owned: Vec<Vec<usize>>,
    links: Vec<Vec<String>>,
    roots: Vec<usize>,
}

impl Tree {
    fn new(mut nodes: Vec<Node>, edges: &[Edge]) -> Self {
        nodes.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        let place: HashMap<&NodeId, usize> = nodes.iter().zip(0..).map(|(node, at)| (&node.id, at)).collect();
        let mut owned = vec![Vec::new(); nodes.len()];
        let mut links = vec![Vec::new(); nodes.len()];
        let mut has_owner = vec![false; nodes.len()];
        for edge in edges {
            let (Some(&parent), Some(&child)) = (place.get(&edge.parent), place.get(&edge.child)) else {
                continue;
            };
            if edge.is_ownership() {
                owned[parent].push(child);
                has_owner[child] = true;
            } else {
                let kind = edge.metadata.get("Type").and_then(Value::as_str);
                let kind = kind.unwrap_or(edge.relation());
                for (one, other) in [(parent, child), (child, parent)] {
                    links[one].push(format!("{kind} {}", label(&nodes[other])));
                }
            }
        }
        for list in &mut owned {
            list.sort_unstable();
        }
        for list in &mut links {
            list.sort_unstable();
        }
        let roots = (0..nodes.len()).filter(|at| !has_owner[*at]).collect();
        Self {
            nodes,
            owned,
            links,
            roots,
        }
    }

    /// Writes a root and all below it.
    fn write(&mut self, root: usize, out: &mut impl Write) -> io::Result<()> {
        // Not by recursion: who owns what is as deep as users make it.
        let mut left = vec![Line {
            at: root,
            depth: 0,
            branch: String::new(),
            indent: String::new(),
        }];
        while let Some(line) = left.pop() {
            self.node(line.at, &line.branch, out)?;
            // Taken out, so that owners in a ring, which no watcher makes, end somewhere.
            let owned = std::mem::take(&mut self.owned[line.at]);
            // The last is pushed first, for the first is taken next.
            for (from_end, child) in owned.into_iter().rev().enumerate() {
                let (corner, below) = if from_end == 0 {
                    ("└─ ", "   ")
                } else {
                    ("├─ ", "│  ")
                };
                let indent = &line.indent;
                left.push(Line {
                    at: child,
                    depth: line.depth + 1,
                    branch: format!("{indent}{corner}"),
                    indent: if line.depth < DEEPEST {
                        format!("{indent}{below}")
                    } else {
                        indent.clone()
                    },
                });
            }
        }
        Ok(())
    }

    fn node(&self, at: usize, branch: &str, out: &mut impl Write) -> io::Result<()> {
        let node = &self.nodes[at];
        let mut line = format!("{} {}", node.node_type().unwrap_or("node"), label(node));
        for detail in details(node) {
            line.push(' ');
            line.push_str(detail);
        }
        for link in &self.links[at] {
            line.push_str(" [");
            line.push_str(link);
            line.push(']');
        }
        // All of it is what others say.
        writeln!(out, "{branch}{}", printable(&line))
    }
}

/// Namespaces last: they hold most.
fn sort_key(node: &Node) -> (bool, &str, &str, &NodeId) {
    let kind = node.node_type().unwrap_or_default();
    (kind == "netns", kind, label(node), &node.id)
}

fn label(node: &Node) -> &str {
    node.name().unwrap_or(node.id.as_str())
}

/// What people look for first: state, MAC and IP addresses, the VM behind a port.
fn details(node: &Node) -> impl Iterator<Item = &str> {
    let text = |key| node.metadata.get(key).and_then(Value::as_str);
    let list = |key| {
        let values = node.metadata.get(key).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str)
    };
    let vm = node
        .metadata
        .get("VM")
        .and_then(|vm| vm.get("ID"))
        .and_then(Value::as_str);
    ["State", "MAC"]
        .into_iter()
        .filter_map(text)
        .chain(list("IPV4"))
        .chain(list("IPV6"))
        .chain(vm)
}

#[cfg(test)]
mod tests {
    use flowtap_topology::{Graph, NodeSpec};
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_above_what_they_own() {
        let graph = Graph::new("compute-1");
        let put = |owner: &NodeId, kind: &str, name: &str| {
            let spec = NodeSpec::new(owner, kind, name).with("State", "UP");
            graph.upsert_node(spec).expect("room")
        };
        let namespace = put(graph.host(), "netns", "blue");
        let inner = put(&namespace, "veth", "eth0");
        let outer = put(graph.host(), "veth", "tap0");
        put(graph.host(), "device", "lo");
        let mut peer = serde_json::Map::new();
        peer.insert("Type".to_owned(), "veth".into());
        graph
            .edit(|edit| edit.link(&inner, &outer, "layer2", peer))
            .expect("both are there");
        let snapshot = graph.snapshot();
        let mut out = Vec::new();
        let nodes = snapshot.nodes().map(|node| Node::clone(node)).collect();
        let edges = snapshot.edges().map(|edge| Edge::clone(edge)).collect();
        write(nodes, edges, &mut out).expect("memory");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "host compute-1\n\
             ├─ device lo UP\n\
             ├─ veth tap0 UP [veth eth0]\n\
             └─ netns blue UP\n   \
                └─ veth eth0 UP [veth tap0]\n"
        );
    }

    #[test]
    fn no_name_steers_the_terminal() {
        let node =
            json!({"ID": "n", "Metadata": {"Name": "a\u{1b}[2J\nb", "Type": "x\r", "State": "\u{9b}1m"}});
        let mut out = Vec::new();
        write(
            vec![serde_json::from_value(node).expect("a node")],
            Vec::new(),
            &mut out,
        )
        .expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "x\\u{d} a\\u{1b}[2J\\u{a}b \\u{9b}1m\n");
    }

    #[test]
    fn a_chain_of_owners_may_be_long() {
        let node = |n: u32| json!({"ID": n.to_string(), "Metadata": {"Name": "nested", "Type": "device"}});
        let edge = |n: u32| {
            let (parent, child) = (n.to_string(), (n + 1).to_string());
            let metadata = json!({"RelationType": "ownership"});
            json!({"ID": format!("e{n}"), "Parent": parent, "Child": child, "Metadata": metadata})
        };
        let nodes = (0..=20_000).map(|n| serde_json::from_value(node(n)).expect("a node"));
        let edges = (0..20_000).map(|n| serde_json::from_value(edge(n)).expect("an edge"));
        let (nodes, edges) = (nodes.collect(), edges.collect());
        let mut out = Vec::new();
        write(nodes, edges, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), 20_001);
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest < Some(400), "{longest:?}");
    }
}

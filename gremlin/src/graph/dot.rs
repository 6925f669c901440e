//! Graphs in Graphviz's language, as Skydive writes them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use flowtap_topology::{Edge, Node, NodeId};
use serde_json::Value as Json;

/// What a node's label tells besides its title.
const TOLD: [&str; 6] = ["Type", "IfIndex", "State", "TID", "IPV4", "IPV6"];

/// Characters of the ID in a title.
const SHORT_ID: usize = 8;

/// Writes the graph. Nodes are named `name-12345678`, by the beginning of their ID; two that would
/// share a name have their whole ID in it. Edges whose nodes are not there are left out.
pub(crate) fn dot(nodes: &[Arc<Node>], edges: &[Arc<Edge>]) -> String {
    let titles = titles(nodes);
    let mut out = String::from("digraph g {\n");
    // Writing to a string cannot fail.
    for node in nodes {
        let Some(title) = titles.get(&node.id) else {
            continue;
        };
        let _ = write!(out, "\"{title}\" [label=\"{title}");
        for key in TOLD {
            if let Some(value) = node.metadata.get(key).filter(|value| !value.is_null()) {
                let _ = write!(out, "\\n{key} = {}", quotable(&plain(value)));
            }
        }
        out.push_str("\"]\n");
    }
    for edge in edges {
        let (Some(parent), Some(child)) = (titles.get(&edge.parent), titles.get(&edge.child)) else {
            continue;
        };
        let _ = write!(out, "\"{parent}\" -> \"{child}\"");
        match edge.relation() {
            "" => {}
            relation => {
                let direction = if relation == flowtap_topology::LAYER2 {
                    "both"
                } else {
                    "forward"
                };
                let _ = write!(out, " [label={},dir={direction}]", identifier(relation));
            }
        }
        out.push('\n');
    }
    out.push_str("}\n");
    out
}

/// The title of each node, ready to stand between quotes.
fn titles(nodes: &[Arc<Node>]) -> HashMap<&NodeId, String> {
    let short = |node: &Node| {
        let id: String = node.id.as_str().chars().take(SHORT_ID).collect();
        quotable(&format!("{}-{id}", node.name().unwrap_or_default()))
    };
    let mut count: HashMap<String, u32> = HashMap::new();
    for node in nodes {
        *count.entry(short(node)).or_default() += 1;
    }
    let title = |node: &Node| {
        let title = short(node);
        if count.get(&title) == Some(&1) {
            return title;
        }
        quotable(&format!("{}-{}", node.name().unwrap_or_default(), node.id))
    };
    nodes.iter().map(|node| (&node.id, title(node))).collect()
}

/// A value without JSON's quotes; lists as Go prints them, `[a b]`.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(plain).collect();
            format!("[{}]", elements.join(" "))
        }
        other => other.to_string(),
    }
}

fn quotable(text: &str) -> String {
    let mut quotable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => quotable.extend(['\\', c]),
            c if c.is_control() => quotable.push(' '),
            c => quotable.push(c),
        }
    }
    quotable
}

/// As it is if Graphviz reads it as one word, else in quotes.
fn identifier(text: &str) -> String {
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit());
    if word {
        text.to_owned()
    } else {
        format!("\"{}\"", quotable(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_stay_apart_and_inside_their_quotes() {
        let node = |id: &str, name: &str| -> Arc<Node> {
            let node = json!({"ID": id, "Metadata": {"Name": name, "State": "a\"b\nc"}});
            Arc::new(serde_json::from_value(node).unwrap())
        };
        let edge = |child: &str, relation: Json| -> Arc<Edge> {
            let edge = json!({"ID": "e", "Parent": "12345678-a", "Child": child,
                "Metadata": {"RelationType": relation}});
            Arc::new(serde_json::from_value(edge).unwrap())
        };
        let nodes = [
            node("12345678-a", "eth0"),
            node("12345678-b", "eth0"),
            node("c", "\\"),
        ];
        let edges = [
            edge("12345678-b", json!("is part of")),
            edge("c", json!(null)),
            edge("gone", json!("layer2")),
        ];
        let expected = r#"digraph g {
"eth0-12345678-a" [label="eth0-12345678-a\nState = a\"b c"]
"eth0-12345678-b" [label="eth0-12345678-b\nState = a\"b c"]
"\\-c" [label="\\-c\nState = a\"b c"]
"eth0-12345678-a" -> "eth0-12345678-b" [label="is part of",dir=forward]
"eth0-12345678-a" -> "\\-c"
}
"#;
        assert_eq!(dot(&nodes, &edges), expected);
    }
}

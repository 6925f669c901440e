//! What a capture is doing as a whole, from what it is doing at its nodes.

use std::collections::BTreeMap;

use flowtap_topology::NodeId;

use crate::document::{NodeState, State};
use crate::entry::Seen;

/// Nodes that a reason names one by one.
const NAMED: usize = 3;

/// State and reason. `named` is how many nodes the expression names; `note` is said besides.
///
/// Nodes that can never have what was declared are no failure, as long as others can: `Has('Name', 'br0')`
/// names a bridge and the interface of the same name, and means the one that fits.
pub(crate) fn summarize(nodes: &BTreeMap<NodeId, Seen>, named: Option<usize>, note: &str) -> (State, String) {
    let in_state = |state: NodeState| -> Vec<&Seen> {
        let fitting = nodes.values().filter(|seen| !seen.is_refused);
        fitting.filter(|seen| seen.node.state == state).collect()
    };
    let refused: Vec<&Seen> = nodes.values().filter(|seen| seen.is_refused).collect();
    let fitting = nodes.len() - refused.len();
    let [waiting, starting, active, failed, done] = [
        NodeState::Waiting,
        NodeState::Starting,
        NodeState::Active,
        NodeState::Error,
        NodeState::Done,
    ]
    .map(in_state);
    let (state, mut parts) = if fitting == 0 {
        match (refused.is_empty(), named) {
            (false, _) => (State::Error, vec![reasons(&refused)]),
            (true, None) => (State::Waiting, vec!["its nodes are being looked for".to_owned()]),
            (true, Some(0)) => (State::Waiting, vec!["the expression matches no node".to_owned()]),
            (true, Some(named)) => {
                let nothing = format!(
                    "the expression matches {}, where nothing can be captured",
                    count(named)
                );
                (State::Waiting, vec![nothing])
            }
        }
    } else if !active.is_empty() {
        let state = if failed.is_empty() {
            State::Active
        } else {
            State::Partial
        };
        let mut parts = Vec::new();
        if active.len() < fitting {
            parts.push(format!("active on {} of {}", active.len(), count(fitting)));
        }
        parts.extend([&failed, &waiting, &done].map(|seen| reasons(seen)));
        (state, parts)
    } else if !starting.is_empty() {
        (
            State::Starting,
            [&failed, &waiting].map(|seen| reasons(seen)).into(),
        )
    } else if !failed.is_empty() {
        (State::Error, [&failed, &waiting].map(|seen| reasons(seen)).into())
    } else if !waiting.is_empty() {
        (State::Waiting, vec![reasons(&waiting)])
    } else {
        (State::Done, vec![reasons(&done)])
    };
    if !note.is_empty() {
        parts.push(note.to_owned());
    }
    parts.retain(|part| !part.is_empty());
    (state, parts.join("; "))
}

/// `3 nodes`.
pub(crate) fn count(nodes: usize) -> String {
    match nodes {
        1 => "1 node".to_owned(),
        more => format!("{more} nodes"),
    }
}

/// The reasons of some nodes, each node by its name.
fn reasons(nodes: &[&Seen]) -> String {
    let mut told = nodes.iter().filter(|seen| !seen.node.reason.is_empty());
    let named = told.by_ref().take(NAMED);
    let mut texts: Vec<String> = named
        .map(|seen| format!("{}: {}", seen.node.name, seen.node.reason))
        .collect();
    let more = told.count();
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use flowtap_flow::ledger::Ledger;

    use super::*;
    use crate::document::CapturedNode;

    fn nodes(list: &[(&str, NodeState, &str)]) -> BTreeMap<NodeId, Seen> {
        let seen = |(name, state, reason): &(&str, NodeState, &str)| Seen {
            node: CapturedNode {
                name: (*name).into(),
                state: *state,
                reason: (*reason).into(),
                ..CapturedNode::default()
            },
            is_refused: reason.contains("not allowed"),
            ledger: std::sync::Arc::new(Ledger::default()),
        };
        list.iter().map(|one| (NodeId::from(one.0), seen(one))).collect()
    }

    #[test]
    fn the_whole_is_told_from_the_parts() {
        use NodeState::{Active, Done, Error, Starting, Waiting};
        let refused = (
            "br0",
            Error,
            "Capture type pcap not allowed on this node type: ovsbridge",
        );
        /// Nodes with state and reason, how many the expression names; the capture's state and reason.
        type Case<'a> = (&'a [(&'a str, NodeState, &'a str)], Option<usize>, State, &'a str);
        let cases: &[Case<'_>] = &[
            (&[], None, State::Waiting, "its nodes are being looked for"),
            (&[], Some(0), State::Waiting, "the expression matches no node"),
            (
                &[],
                Some(2),
                State::Waiting,
                "the expression matches 2 nodes, where nothing can be captured",
            ),
            (
                &[("a", Waiting, "is down")],
                Some(1),
                State::Waiting,
                "a: is down",
            ),
            (&[("a", Starting, "")], Some(1), State::Starting, ""),
            (&[("a", Active, "")], Some(1), State::Active, ""),
            (
                &[("a", Active, ""), ("b", Starting, "")],
                Some(2),
                State::Active,
                "active on 1 of 2 nodes",
            ),
            (
                &[
                    ("a", Active, ""),
                    ("b", Error, "no rights"),
                    ("c", Waiting, "is down"),
                ],
                Some(3),
                State::Partial,
                "active on 1 of 3 nodes; b: no rights; c: is down",
            ),
            (
                &[
                    ("a", Error, "1"),
                    ("b", Error, "2"),
                    ("c", Error, "3"),
                    ("d", Error, "4"),
                ],
                Some(4),
                State::Error,
                "a: 1; b: 2; c: 3; and 1 more",
            ),
            (&[("a", Done, "ended")], Some(1), State::Done, "a: ended"),
            (
                &[refused],
                Some(1),
                State::Error,
                "br0: Capture type pcap not allowed on this node type: ovsbridge",
            ),
            (&[refused, ("a", Active, "")], Some(2), State::Active, ""),
        ];
        for (list, named, state, reason) in cases {
            let expected = (*state, (*reason).to_owned());
            assert_eq!(summarize(&nodes(list), *named, ""), expected, "{list:?}");
        }
        let noted = summarize(&nodes(&[("a", Active, "")]), Some(9), "8 nodes are left out");
        assert_eq!(noted, (State::Active, "8 nodes are left out".to_owned()));
    }
}

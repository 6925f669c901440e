//! What holds for queries of any graph.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use flowtap_flow::query::Cancel;
use flowtap_gremlin::ast::StepName;
use flowtap_gremlin::{Answer, Engine, EngineOptions, Kind, NodeExpression, parse, select_nodes};
use flowtap_topology::{Graph, NewEdge, NewNode, NodeId, Snapshot, Topology};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use support::{MemoryReader, TinyCompiler, sample};

/// Nodes by number, with a name, a type and what else there may be.
#[derive(Clone, Debug)]
struct Drawn {
    nodes: Vec<(u8, u8)>,
    edges: Vec<(usize, usize, bool)>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let nodes = proptest::collection::vec((0_u8..4, 0_u8..3), 1..20);
    nodes.prop_flat_map(|nodes| {
        let count = nodes.len();
        let edges = proptest::collection::vec((0..count, 0..count, any::<bool>()), 0..30);
        edges.prop_map(move |edges| Drawn {
            nodes: nodes.clone(),
            edges,
        })
    })
}

fn id(number: usize) -> NodeId {
    NodeId::from(format!("n{number:02}").as_str())
}

fn graph_of(drawn: &Drawn) -> Arc<Graph> {
    let graph = Arc::new(Graph::new("host"));
    graph.edit(|edit| {
        for (number, (name, kind)) in drawn.nodes.iter().enumerate() {
            let metadata = json!({
                "Name": format!("eth{name}"), "Type": format!("type{kind}"), "MTU": 1500 + i64::from(*name),
                "TID": if number == 0 { "node-a" } else { "" },
                "MAC": format!("fa:16:3e:00:00:{number:02x}"), "IPV4": [format!("10.0.{name}.1/24")],
                "ExtID": {"vm-id": format!("vm{kind}"), "a.b": [{"c": number}]},
                "LastUpdateMetric": {"RxBytes": number, "Start": number, "Last": number + 10},
                "RoutingTables": [{"ID": 254, "Routes": [{"Prefix": "10.0.0.0/8", "NextHops": [{"IfIndex": name}]}]}],
            });
            let node = NewNode {
                id: Some(id(number)),
                metadata: metadata.as_object().cloned().unwrap_or_default(),
                ..NewNode::default()
            };
            edit.put_node(node).expect("a new ID");
        }
        for (parent, child, layer2) in &drawn.edges {
            // A second edge of one kind between two nodes is the same edge: nothing to add.
            let relation = if *layer2 { "layer2" } else { "owns" };
            let _there = edit.put_edge(NewEdge::new(&id(*parent), &id(*child), relation));
        }
    });
    graph
}

fn engine_of(graph: Arc<Graph>) -> Engine {
    let reader = MemoryReader {
        records: sample(),
        ..MemoryReader::default()
    };
    Engine::new(
        Arc::new(reader),
        Topology::new(graph, None),
        Arc::new(TinyCompiler),
        EngineOptions::default(),
    )
}

fn ids(engine: &Engine, query: &str) -> Result<Vec<String>, TestCaseError> {
    let query = format!("{query}.Values('@ID')");
    match engine.run(&query, support::at(100_000), &Cancel::default()) {
        Ok(Answer::Values(values)) => Ok(values
            .iter()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect()),
        other => Err(TestCaseError::fail(format!("{query}: {other:?}"))),
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn distinct(ids: Vec<String>) -> BTreeSet<String> {
    ids.into_iter().collect()
}

/// The nodes of all shortest paths, by an unweighted search from each node alone.
fn distance(graph: &Snapshot, from: &NodeId, target: &dyn Fn(&NodeId) -> bool) -> Option<usize> {
    let mut seen = BTreeSet::from([from.clone()]);
    let mut level = vec![from.clone()];
    for distance in 0.. {
        if level.is_empty() {
            return None;
        }
        if level.iter().any(target) {
            return Some(distance);
        }
        let mut next = Vec::new();
        for node in &level {
            let out = graph.out_edges(node).iter().map(|edge| &edge.child);
            let into = graph.in_edges(node).iter().map(|edge| &edge.parent);
            for other in out.chain(into) {
                if seen.insert(other.clone()) {
                    next.push(other.clone());
                }
            }
        }
        level = next;
    }
    None
}

proptest! {
    // Each case draws a graph and asks it dozens of queries.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Out and In are each other's way back, and Both is the two of them.
    #[test]
    fn walks_go_both_ways(drawn in drawn()) {
        let graph = graph_of(&drawn);
        let engine = engine_of(Arc::clone(&graph));
        for number in 0..drawn.nodes.len() {
            let from = format!("G.V('{}')", id(number));
            let (out, into) = (ids(&engine, &format!("{from}.Out()"))?, ids(&engine, &format!("{from}.In()"))?);
            for other in &out {
                let back = ids(&engine, &format!("G.V('{other}').In()"))?;
                prop_assert!(back.contains(&id(number).to_string()), "{other}");
            }
            let both = ids(&engine, &format!("{from}.Both()"))?;
            let union: BTreeSet<String> = out.iter().chain(&into).cloned().collect();
            prop_assert_eq!(distinct(both.clone()), union);
            // One node for each edge; a loop is in both of Out and In.
            let loops = out.iter().filter(|other| **other == id(number).to_string()).count();
            prop_assert_eq!(both.len(), out.len() + into.len() - loops);
            prop_assert_eq!(&sorted(ids(&engine, &format!("{from}.OutE().OutV()"))?), &sorted(out));
            prop_assert_eq!(&sorted(ids(&engine, &format!("{from}.InE().InV()"))?), &sorted(into));
        }
        let ends = ids(&engine, "G.E().BothV()")?;
        prop_assert_eq!(ends.len(), 2 * graph.edges().len());
    }

    /// Parts of an order are parts of the whole order, and dedup leaves each value once.
    #[test]
    fn slices_and_orders_agree(drawn in drawn(), from in 0_usize..25, length in 0_usize..25, order in "ASC|DESC") {
        let engine = engine_of(graph_of(&drawn));
        for whole in ["G.V()".to_owned(), format!("G.V().Sort({order}, 'MTU')"), "G.E().BothV()".to_owned()] {
            let all = ids(&engine, &whole)?;
            let part = ids(&engine, &format!("{whole}.Range({from}, {})", from + length))?;
            let expected: Vec<String> = all.iter().skip(from).take(length).cloned().collect();
            prop_assert_eq!(part, expected, "{}", whole);
            let first = ids(&engine, &format!("{whole}.Limit({length})"))?;
            prop_assert_eq!(first, all.iter().take(length).cloned().collect::<Vec<_>>());
            prop_assert_eq!(ids(&engine, &format!("{whole}.Dedup()"))?.len(), distinct(all).len());
        }
        let types = drawn.nodes.iter().map(|(_, kind)| kind).collect::<BTreeSet<_>>().len();
        prop_assert_eq!(ids(&engine, "G.V().Has('MTU').Dedup('Type')")?.len(), types);
    }

    /// What has a value and what has not are all there is; either is the union.
    #[test]
    fn conditions_divide_the_nodes(drawn in drawn(), name in 0_u8..4) {
        let engine = engine_of(graph_of(&drawn));
        let count = |query: &str| ids(&engine, query).map(|ids| ids.len());
        let all = count("G.V()")?;
        let is = count(&format!("G.V().Has('Name', 'eth{name}')"))?;
        prop_assert_eq!(is + count(&format!("G.V().Has('Name', NEE('eth{name}'))"))?, all);
        prop_assert_eq!(is, drawn.nodes.iter().filter(|(n, _)| *n == name).count());
        prop_assert_eq!(count("G.V().HasKey('MTU')")? + count("G.V().HasNot('MTU')")?, all);
        let either = count(&format!("G.V().HasEither('Name', 'eth{name}', 'Type', 'type1')"))?;
        let both = count(&format!("G.V().Has('Name', 'eth{name}', 'Type', 'type1')"))?;
        prop_assert_eq!(either + both, is + count("G.V().Has('Type', 'type1')")?);
    }

    /// A path begins where it should, ends at a target, follows edges, and none is shorter.
    #[test]
    fn paths_are_paths_and_shortest(drawn in drawn()) {
        let graph = graph_of(&drawn);
        let snapshot = graph.snapshot();
        let engine = engine_of(graph);
        let is_target = |id: &NodeId| {
            snapshot.node(id).is_some_and(|node| node.metadata.get("Name") == Some(&json!("eth0")))
        };
        for number in 0..drawn.nodes.len() {
            let from = id(number);
            let query = format!("G.V('{from}').ShortestPathTo(Metadata('Name', 'eth0'))");
            let paths = match engine.run(&query, support::at(0), &Cancel::default()) {
                Ok(Answer::Paths(paths)) => paths,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            let shortest = distance(&snapshot, &from, &is_target);
            prop_assert_eq!(paths.len(), usize::from(shortest.is_some()));
            let Some(path) = paths.first() else { continue };
            prop_assert_eq!(Some(path.len() - 1), shortest);
            prop_assert_eq!(&path[0].id, &from);
            prop_assert!(is_target(&path[path.len() - 1].id));
            for step in path.windows(2) {
                let out = snapshot.out_edges(&step[0].id).iter().any(|edge| edge.child == step[1].id);
                let into = snapshot.in_edges(&step[0].id).iter().any(|edge| edge.parent == step[1].id);
                prop_assert!(out || into);
            }
        }
    }

    /// Neighbours in any number of steps are what paths lead to.
    #[test]
    fn neighbours_are_what_can_be_reached(drawn in drawn(), depth in 1_usize..5) {
        let graph = graph_of(&drawn);
        let snapshot = graph.snapshot();
        let engine = engine_of(graph);
        let from = id(0);
        let query = format!("G.V('{from}').Neighbors('RelationType', Regex('.*'), {depth})");
        let near = ids(&engine, &query)?;
        prop_assert_eq!(distinct(near.clone()).len(), near.len(), "each once");
        for node in snapshot.nodes() {
            let reached = distance(&snapshot, &from, &|id| *id == node.id);
            let expected = reached.is_some_and(|distance| distance <= depth);
            prop_assert_eq!(near.contains(&node.id.to_string()), expected, "{}", node.id);
        }
    }

    /// A part of the graph has its nodes, and the edges between them.
    #[test]
    fn a_part_holds_what_lies_between(drawn in drawn(), kind in 0_u8..3) {
        let graph = graph_of(&drawn);
        let engine = engine_of(Arc::clone(&graph));
        let part = format!("G.V().Has('Type', 'type{kind}').SubGraph()");
        let Ok(Answer::Graph { nodes, edges }) = engine.run(&part, support::at(0), &Cancel::default()) else {
            return Err(TestCaseError::fail("no graph"));
        };
        let inside = |id: &NodeId| nodes.iter().any(|node| node.id == *id);
        let expected = graph.edges().iter().filter(|edge| inside(&edge.parent) && inside(&edge.child)).count();
        prop_assert_eq!(edges.len(), expected);
        prop_assert_eq!(nodes.len(), drawn.nodes.iter().filter(|(_, k)| *k == kind).count());
        prop_assert_eq!(ids(&engine, &format!("{part}.V()"))?.len(), nodes.len());
    }

    /// An expression selects what the query answers, each node once, and explains it by the same counts.
    #[test]
    fn expressions_and_queries_agree(drawn in drawn(), walk in "Out|In|Both", kind in 0_u8..3) {
        let graph = graph_of(&drawn);
        let engine = engine_of(Arc::clone(&graph));
        let query = format!("G.V().Has('Type', 'type{kind}').{walk}().Has('MTU', GT(1500))");
        let selected = select_nodes(&query, &graph.snapshot()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let selected: BTreeSet<String> = selected.iter().map(|node| node.id.to_string()).collect();
        let answered = ids(&engine, &query)?;
        let expression = NodeExpression::parse(&query).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let explained = expression.explain(&graph.snapshot()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(explained.count(), answered.len());
        prop_assert_eq!(explained.emptied_by().is_some(), answered.is_empty());
        prop_assert_eq!(selected, distinct(answered));
    }

    /// Any steps that fit, over any graph: they run, or say why not.
    #[test]
    fn no_query_panics(drawn in drawn(), picks in proptest::collection::vec(any::<(u16, u16)>(), 1..8)) {
        let graph = graph_of(&drawn);
        let text = fitting(&picks);
        match engine_of(graph).run(&text, support::at(0), &Cancel::default()) {
            Ok(answer) => {
                prop_assert!(!answer.to_json().is_null() || text.contains("Sum"), "{}", text);
                prop_assert_eq!(answer.to_dot().is_ok(), matches!(answer, Answer::Graph { .. }));
            }
            Err(error) => {
                let columns = 1..=text.len() + 1;
                prop_assert!(error.column.is_none_or(|c| columns.contains(&c)), "{text}: {error}");
            }
        }
        let query = parse(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let again = parse(&query.to_string()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(again.to_string(), query.to_string());
        if let Ok(expression) = NodeExpression::parse(&text) {
            let snapshot = graph_of(&drawn).snapshot();
            let selected = expression.select(&snapshot).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let explained = expression.explain(&snapshot).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(selected.is_empty(), explained.count() == 0, "{}", text);
        }
    }
}

/// A query of steps that take what the one before gives, with arguments that they take.
fn fitting(picks: &[(u16, u16)]) -> String {
    const ARGUMENTS: [&str; 14] = [
        "",
        "'n01'",
        "'Name'",
        "'MTU'",
        "'Name', 'eth1'",
        "'ExtID.a.b.c', GT(1)",
        "'Type', Within('type0', 'type1'), 'Name', NE('eth0')",
        "2",
        "1, 9",
        "DESC, 'MTU'",
        "'10.1.2.3'",
        "'RelationType', 'layer2', 3",
        "Metadata('Name', 'eth0')",
        "Metadata('Type', 'type1'), Metadata('RelationType', 'layer2')",
    ];
    let mut text = "G".to_owned();
    let mut kind = Kind::Graph;
    for (step, argument) in picks {
        // History and workflows are not part of these graphs, and the compiler knows two expressions.
        let other = [StepName::At, StepName::Workflow, StepName::Bpf];
        let fit: Vec<StepName> = StepName::ALL
            .iter()
            .copied()
            .filter(|step| kind.after(*step).is_some() && !other.contains(step))
            .collect();
        let Some(step) = fit.get(usize::from(*step) % fit.len().max(1)) else {
            break;
        };
        let arguments =
            (0..ARGUMENTS.len()).map(|turn| ARGUMENTS[(turn + usize::from(*argument)) % ARGUMENTS.len()]);
        let longer = arguments.map(|arguments| match step {
            StepName::G => format!("{text}.G"),
            step => format!("{text}.{step}({arguments})"),
        });
        let Some(longer) = longer.into_iter().find(|longer| parse(longer).is_ok()) else {
            break;
        };
        text = longer;
        kind = kind.after(*step).unwrap_or(kind);
    }
    text
}

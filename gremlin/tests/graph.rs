//! What holds for queries of the graph besides their answers: limits, cancelling, forms, expressions.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flowtap_flow::query::Cancel;
use flowtap_gremlin::{
    Answer, Engine, EngineOptions, ErrorKind, Limits, NodeExpression, QueryError, parse, select_nodes,
};
use flowtap_topology::{
    Budget, Graph, History, HistoryError, Interval, Metadata, NewNode, NodeId, NodeMetric, NodeSpec, Slice,
    Snapshot, Topology, Wanted,
};
use serde_json::json;
use support::graph::{fixed, graph_engine, tid};
use support::{MemoryReader, TinyCompiler, metric, record};

fn run(engine: &Engine, text: &str) -> Result<Answer, QueryError> {
    engine.run(text, support::at(100_000), &Cancel::default())
}

fn limited(limits: Limits) -> Engine {
    graph_engine(EngineOptions {
        limits,
        ..EngineOptions::default()
    })
}

#[test]
fn the_whole_graph_is_one_object_in_a_list() {
    let engine = graph_engine(EngineOptions::default());
    let graph = run(&engine, "G").unwrap();
    let json = graph.to_json();
    let [whole] = json.as_array().unwrap().as_slice() else {
        panic!("{json}");
    };
    assert_eq!(whole["Nodes"].as_array().unwrap().len(), 11);
    assert_eq!(whole["Edges"].as_array().unwrap().len(), 13);
    assert_eq!(whole["Nodes"][0]["Metadata"]["Type"], "host");
    let dot = graph.to_dot().unwrap();
    assert_eq!(dot.lines().count(), 1 + 11 + 13 + 1);
}

#[test]
fn written_json_is_the_json_value() {
    let engine = graph_engine(EngineOptions::default());
    for query in [
        "G",
        "G.V()",
        "G.E()",
        "G.V().ShortestPathTo(Metadata('Type', 'host'))",
        "G.V().NextHop('8.8.8.8')",
        "G.V().Sockets()",
        "G.V().Metrics()",
        "G.V().Metrics().Aggregates()",
        "G.V().Metrics().Sum()",
        "G.V().Sum('Ratio')",
        "G.V().ValueMap('Name')",
    ] {
        let answer = run(&engine, query).unwrap();
        let mut written = Vec::new();
        answer.write_json(&mut written).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, answer.to_json(), "{query}");
        assert_eq!(answer.into_packets(), None, "{query}");
    }
}

#[test]
fn each_step_counts_what_it_holds() {
    let engine = limited(Limits {
        max_rows: 5,
        ..Limits::default()
    });
    for (query, what) in [
        ("G.V()", "nodes"),
        ("G", "nodes"),
        ("G.E()", "edges"),
        ("G.V().BothE().Count()", "edges"),
        ("G.V().Both().Count()", "nodes"),
        ("G.E().BothV().Count()", "nodes"),
        ("G.V().Dedup().Count()", "different elements"),
        ("G.V().As('a').Count()", "remembered nodes"),
        (
            "G.V().ShortestPathTo(Metadata('Type', 'host')).SubGraph()",
            "nodes of paths",
        ),
        ("G.V().Keys()", "keys"),
        ("G.V().Values('Type')", "values"),
        ("G.Flows().Hops().Count()", "flows"),
        (
            "G.V('n3-tap-a').As('a').Select('a', 'a', 'a', 'a', 'a', 'a').Count()",
            "nodes",
        ),
    ] {
        let error = run(&engine, query).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{query}");
        let message = format!("more than 5 {what} match; add .Limit(N) or narrow the time");
        assert_eq!(error.to_string(), message, "{query}");
    }
    for query in [
        "G.V().Limit(5)",
        "G.V().Count()",
        "G.V().Has('Type', 'tun').Both()",
    ] {
        run(&engine, query).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

/// Nodes share their memory however often they come, their text does not.
#[test]
fn an_answer_is_as_large_as_its_text() {
    let engine = limited(Limits {
        max_bytes: 4_000,
        ..Limits::default()
    });
    run(&engine, "G.V('n6-eth0')").unwrap();
    let sixteen = "G.V('n6-eth0').As('a').Select('a', 'a', 'a', 'a').As('b').Select('b', 'b', 'b', 'b')";
    let error = run(&engine, sixteen).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert_eq!(
        run(&engine, &format!("{sixteen}.Count()")).unwrap(),
        Answer::Number(16)
    );
}

#[test]
fn whoever_stops_a_query_is_named() {
    let cancel = Cancel::default();
    cancel.cancel();
    let engine = graph_engine(EngineOptions::default());
    for query in [
        "G",
        "G.V()",
        "G.E().Count()",
        "G.V().Values('Name')",
        "G.V().NextHop('1.1.1.1')",
    ] {
        let error = engine.run(query, support::at(0), &cancel).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled, "{query}");
    }
    let hasty = limited(Limits {
        timeout: Duration::ZERO,
        ..Limits::default()
    });
    assert_eq!(run(&hasty, "G.V().Both()").unwrap_err().kind, ErrorKind::TimedOut);
}

/// Walks that multiply end at the limit, not when memory does.
/// A past that is never told: it takes until nobody waits for it any more.
struct Endless;

impl Endless {
    fn tell<T>(budget: &Budget) -> Result<T, HistoryError> {
        loop {
            budget.check()?;
            std::thread::yield_now();
        }
    }
}

impl History for Endless {
    fn slice(&self, _: Slice, _: Wanted<'_>, budget: &Budget) -> Result<Snapshot, HistoryError> {
        Self::tell(budget)
    }

    fn intervals(
        &self,
        _: NodeMetric,
        _: &HashSet<NodeId>,
        _: Slice,
        budget: &Budget,
    ) -> Result<Vec<Interval>, HistoryError> {
        Self::tell(budget)
    }
}

fn engine_over(history: impl History + 'static, timeout: Duration) -> Engine {
    let options = EngineOptions {
        limits: Limits {
            timeout,
            ..Limits::default()
        },
        ..EngineOptions::default()
    };
    let topology = Topology::new(fixed(), Some(Arc::new(history)));
    let reader = Arc::new(MemoryReader::default());
    Engine::new(reader, topology, Arc::new(TinyCompiler), options)
}

#[test]
fn a_past_that_takes_too_long_is_given_up() {
    let query = "G.At('-1h').V()";
    let engine = engine_over(Endless, Duration::from_millis(20));
    let error = run(&engine, query).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (
            ErrorKind::TimedOut,
            "the query took longer than its time limit; narrow it by time or by a filter"
        )
    );

    let engine = engine_over(Endless, Duration::from_secs(3600));
    let cancel = Cancel::default();
    let error = std::thread::scope(|scope| {
        let query = scope.spawn(|| engine.run(query, support::at(0), &cancel));
        cancel.cancel();
        query.join().unwrap().unwrap_err()
    });
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Cancelled, "the query was cancelled")
    );
}

#[test]
fn a_past_that_is_too_large_is_refused_as_all_that_is() {
    for (max_rows, max_bytes, message) in [
        (1, 1 << 20, "more than 1 nodes and edges match; narrow the time"),
        (
            100,
            100,
            "the nodes and edges that match take more than 100 bytes; narrow the time",
        ),
    ] {
        let engine = limited(Limits {
            max_rows,
            max_bytes,
            ..Limits::default()
        });
        let error = run(&engine, "G.At('-70s', 60).V().Count()").unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::TooLarge, message)
        );
    }
}

#[test]
fn a_walk_to_and_fro_is_bounded() {
    let graph = Graph::new("h");
    for port in 0..200 {
        let name = format!("eth{port}");
        graph
            .upsert_node(NodeSpec::new(graph.host(), "device", &name))
            .unwrap();
    }
    let error = select_nodes("G.V().Out().In().Out().In().Out().In()", &graph.snapshot()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
}

#[test]
fn flows_of_no_node_are_not_looked_for() {
    let graph = fixed();
    let reader = Arc::new(MemoryReader {
        records: support::graph::flows(&graph),
        ..MemoryReader::default()
    });
    let topology = Topology::new(graph, None);
    let engine = Engine::new(
        Arc::clone(&reader) as _,
        topology,
        Arc::new(TinyCompiler),
        EngineOptions::default(),
    );
    run(&engine, "G.V('n9-sw1').Flows()").unwrap();
    assert_eq!(reader.visited.load(Ordering::Relaxed), 0);
    run(&engine, "G.V('n8-veth0').Flows()").unwrap();
    assert_eq!(
        reader.visited.load(Ordering::Relaxed),
        1,
        "the reader knows which"
    );
}

/// A few nodes are named to the reader, many are looked up: the flows are the same.
#[test]
fn flows_of_many_nodes_are_theirs() {
    let graph = Arc::new(Graph::new("h"));
    let mut records = Vec::new();
    for port in 0..100_u64 {
        let name = format!("eth{port}");
        let id = graph
            .upsert_node(NodeSpec::new(graph.host(), "device", &name).with("N", port))
            .unwrap();
        let mut one = record(port + 1, port, "Ethernet", metric(0, 1, (1, 60), (0, 0)));
        one.flow.node_tid = tid(&graph, id.as_str()).as_str().into();
        records.push(one);
    }
    records.push(record(999, 999, "Ethernet", metric(0, 1, (1, 60), (0, 0))));
    let reader = MemoryReader {
        records,
        ..MemoryReader::default()
    };
    let topology = Topology::new(graph, None);
    let engine = Engine::new(
        Arc::new(reader),
        topology,
        Arc::new(TinyCompiler),
        EngineOptions::default(),
    );
    for (query, count) in [
        ("G.V().Has('N', LT(3)).Flows().Count()", 3),
        ("G.V().Has('N', LT(90)).Flows().Count()", 90),
        ("G.V().Flows().Limit(70).Count()", 70),
        ("G.V().Flows().Hops().Dedup().Count()", 100),
        ("G.Flows().Count()", 101),
        ("G.Flows().Hops().Count()", 100),
    ] {
        assert_eq!(run(&engine, query).unwrap(), Answer::Number(count), "{query}");
    }
}

#[test]
fn expressions_name_nodes() {
    let graph = fixed().snapshot();
    let names = |text: &str| -> Vec<String> {
        let nodes = select_nodes(text, &graph).unwrap_or_else(|error| panic!("{text}: {error}"));
        nodes.iter().map(|node| node.id.to_string()).collect()
    };
    assert_eq!(names("g.v().has('ExtID.vm-id', 'vm-1')"), ["n3-tap-a"]);
    assert_eq!(names("G.V().Has('Type', 'tun').In('Type', 'ovsport')").len(), 2);
    // Each node once, also those of paths; a node that may come is no error.
    assert_eq!(names("G.V().Has('Type', 'tun').In('Type', 'host')").len(), 1);
    assert_eq!(
        names("G.V('n8-veth0').ShortestPathTo(Metadata('Name', 'tap-a'))"),
        ["n8-veth0", "n3-tap-a"]
    );
    assert_eq!(names("G.V('not-yet')"), [""; 0]);
    assert_eq!(names("G.V().Has('Name', 'eth0').SubGraph().V()"), ["n6-eth0"]);
    let again = NodeExpression::parse("g.v( 'Type' , \"veth\" )").unwrap();
    assert_eq!(again.to_string(), "G.V('Type', 'veth')");
    assert_eq!(again.select(&graph).unwrap().len(), 1);
    assert_eq!(again.select(&Graph::new("other").snapshot()).unwrap().len(), 0);
}

#[test]
fn expressions_refuse_what_is_no_node() {
    for (text, message) in [
        (
            "G",
            "column 1: the expression has to end in nodes, as G.V() does; this one ends in G",
        ),
        (
            "G.E()",
            "column 3: the expression has to end in nodes, as G.V() does; this one ends in edges",
        ),
        (
            "G.V().Count()",
            "column 7: step Count has no place here: the expression has to end in nodes, as G.V() does",
        ),
        (
            "G.At('-1s').V()",
            "column 3: step At has no place here: the expression is about the graph as it is, not as it was",
        ),
        (
            "G.V().Flows().Hops()",
            "column 7: step Flows has no place here: the expression is about the graph, not about flows",
        ),
        ("G.V().Has('a'", "column 14: Expected right parenthesis"),
        ("", "column 1: found \"end of query\", expected `G`"),
    ] {
        assert_eq!(
            NodeExpression::parse(text).unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
}

#[test]
fn an_explanation_names_the_step_that_left_nothing() {
    let graph = fixed().snapshot();
    let explain = |text: &str| NodeExpression::parse(text).unwrap().explain(&graph).unwrap();

    let found = explain("G.V().Has('Type', 'tun').Has('State', 'DOWN')");
    let counts: Vec<_> = found
        .steps
        .iter()
        .map(|step| (step.step.as_str(), step.of, step.count))
        .collect();
    assert_eq!(
        counts,
        [
            ("V()", "nodes", 11),
            ("Has('Type', 'tun')", "nodes", 2),
            ("Has('State', 'DOWN')", "nodes", 1)
        ]
    );
    assert_eq!((found.count(), found.emptied_by()), (1, None));

    let nothing = explain("G.V().Has('Type', 'tun').OutE('RelationType', 'vlayer2').OutV().Has('Name', 'x')");
    let step = nothing.emptied_by().unwrap();
    assert_eq!(
        (step.step.as_str(), step.of, step.column),
        ("OutE('RelationType', 'vlayer2')", "edges", 26)
    );
    assert_eq!(nothing.count(), 0);

    // Of several conditions in one step, each tells how many it lets pass.
    let both = explain("G.V('Type', 'veth', 'State', 'DOWN')");
    let step = both.emptied_by().unwrap();
    let conditions: Vec<_> = step
        .conditions
        .iter()
        .map(|condition| (condition.condition.as_str(), condition.count))
        .collect();
    assert_eq!(conditions, [("'Type', 'veth'", 1), ("'State', 'DOWN'", 1)]);

    let none = explain("G.V('not-yet').Out()");
    assert_eq!(
        none.emptied_by().map(|step| step.step.as_str()),
        Some("V('not-yet')")
    );
}

/// An update of the graph is seen by the next query, and not by a snapshot taken before.
#[test]
fn a_query_sees_the_graph_as_it_is() {
    let graph = Arc::new(Graph::new("h"));
    let engine = Engine::new(
        Arc::new(MemoryReader::default()),
        Topology::new(Arc::clone(&graph), None),
        Arc::new(TinyCompiler),
        EngineOptions::default(),
    );
    let before = graph.snapshot();
    let count = || run(&engine, "G.V().Has('Name', 'new').Count()").unwrap();
    assert_eq!(count(), Answer::Number(0));
    let metadata = Metadata::from_iter([("Name".to_owned(), json!("new"))]);
    let node = NewNode {
        id: Some(NodeId::from("n")),
        metadata,
        ..NewNode::default()
    };
    graph.edit(|edit| edit.put_node(node)).unwrap();
    assert_eq!(count(), Answer::Number(1));
    assert_eq!(select_nodes("G.V('Name', 'new')", &before).unwrap().len(), 0);
}

#[test]
fn a_key_has_up_to_128_parts() {
    let key = |parts: usize| vec!["a"; parts].join(".");
    for (before, after) in [
        ("G.V().Has('Name', 'x', '", "', 1)"),
        ("G.V('", "', 1)"),
        ("G.V().HasKey('", "')"),
        ("G.V().HasNot('", "')"),
        ("G.V().Values('", "')"),
        ("G.V().Sort(DESC, '", "')"),
        ("G.V().Out('", "', Regex('.*'))"),
        ("G.Flows().Has('", "', 1)"),
        ("G.V().ShortestPathTo(Metadata('", "', 'x'))"),
    ] {
        assert!(parse(&format!("{before}{}{after}", key(128))).is_ok(), "{before}");
        for parts in [129, 30_000] {
            let error = parse(&format!("{before}{}{after}", key(parts))).unwrap_err();
            assert_eq!(error.column, Some(before.len()), "{before}");
            assert!(
                error.message.starts_with(&format!("the key has {parts} parts")),
                "{error}"
            );
        }
    }
    // A value is no key.
    assert!(parse(&format!("G.V().Has('Name', '{}')", key(30_000))).is_ok());
}

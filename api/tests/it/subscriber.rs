//! `/ws/subscriber`.

use std::collections::HashSet;
use std::sync::Arc;

use flowtap_topology::{
    Budget, Graph, History, HistoryError, Interval, LAYER2, Metadata, NodeId, NodeMetric, NodeSpec, Slice,
    Snapshot, Topology, Wanted,
};
use serde_json::{Value, json};

use crate::common::{sample, services, services_over};
use crate::server::Server;
use crate::websocket::Ws;

/// The names of the nodes of a graph, in order.
fn names(graph: &Value) -> Vec<&str> {
    let nodes = graph["Nodes"].as_array().unwrap().iter();
    let mut names: Vec<_> = nodes
        .map(|node| node["Metadata"]["Name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn port(graph: &Graph, name: &str) -> flowtap_topology::NodeId {
    graph
        .upsert_node(NodeSpec::new(graph.host(), "device", name))
        .unwrap()
}

#[tokio::test]
async fn the_graph_and_then_each_change_in_order() {
    let server = Server::start(services(sample())).await;
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &[])
        .await
        .unwrap();
    let reply = ws.sync(json!({})).await;
    assert_eq!(
        (&reply["Status"], names(&reply["Obj"])),
        (&json!(200), vec!["compute-1"])
    );

    let graph = &server.graph;
    let eth0 = port(graph, "eth0");
    let eth1 = port(graph, "eth1");
    let cable = graph.link(&eth0, &eth1, LAYER2, Metadata::new()).unwrap();
    graph.set_metadata(&eth0, "MTU", 9000).unwrap();
    graph.edit(|edit| {
        edit.merge_edge_metadata(&cable, Metadata::from_iter([("Speed".to_owned(), 10.into())]))
            .unwrap();
        edit.remove_node(&eth1);
    });
    let mut told = Vec::new();
    while told.last().is_none_or(|(kind, _)| kind != "NodeDeleted") {
        told.push(ws.told().await);
    }
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "NodeAdded",
            "EdgeAdded",
            "NodeAdded",
            "EdgeAdded",
            "EdgeAdded",
            "NodeUpdated",
            "EdgeUpdated",
            "EdgeDeleted",
            "EdgeDeleted",
            "NodeDeleted"
        ]
    );
    assert_eq!(told[5].1["Metadata"]["MTU"], 9000);
    assert_eq!(told[6].1["Metadata"]["Speed"], 10);
    assert!(told[9].1["DeletedAt"].is_number());
    let reply = ws.sync(json!({})).await;
    assert_eq!(names(&reply["Obj"]), ["compute-1", "eth0"]);
    server.stop().await;
}

#[tokio::test]
async fn a_filter_keeps_a_part_of_the_graph_current() {
    let server = Server::start(services(sample())).await;
    let graph = &server.graph;
    let eth0 = port(graph, "eth0");
    let filter = "G.V().Has('State', 'UP').SubGraph()";
    let headers = [("X-Gremlin-Filter", filter)];
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &headers)
        .await
        .unwrap();
    let (kind, obj) = ws.told().await;
    assert_eq!((kind.as_str(), obj), ("Sync", json!({"Nodes": [], "Edges": []})));

    // It comes into the part, changes in it, and leaves it, and stays in the graph.
    graph.set_metadata(&eth0, "State", "UP").unwrap();
    let (kind, obj) = ws.told().await;
    assert_eq!((kind.as_str(), &obj["ID"]), ("NodeAdded", &json!(eth0)));
    graph.set_metadata(&eth0, "MTU", 9000).unwrap();
    let (kind, obj) = ws.told().await;
    assert_eq!(
        (kind.as_str(), &obj["Metadata"]["MTU"]),
        ("NodeUpdated", &json!(9000))
    );
    let eth1 = port(graph, "eth1");
    graph.edit(|edit| {
        edit.set_metadata(&eth1, "State", "UP").unwrap();
        edit.link(&eth0, &eth1, LAYER2, Metadata::new()).unwrap();
    });
    assert_eq!(
        (ws.told().await.0, ws.told().await.0),
        ("NodeAdded".into(), "EdgeAdded".into())
    );
    graph.set_metadata(&eth0, "State", "DOWN").unwrap();
    assert_eq!(
        (ws.told().await.0, ws.told().await.0),
        ("EdgeDeleted".into(), "NodeDeleted".into())
    );

    // Another filter, and none.
    let reply = ws
        .sync(json!({"GremlinFilter": "G.V().Has('Type', 'device').SubGraph()"}))
        .await;
    assert_eq!(names(&reply["Obj"]), ["eth0", "eth1"]);
    let reply = ws.sync(json!({})).await;
    assert_eq!(
        names(&reply["Obj"]),
        ["eth0", "eth1"],
        "no filter is the same filter"
    );
    let reply = ws.sync(json!({"GremlinFilter": ""})).await;
    assert_eq!(names(&reply["Obj"]), ["compute-1", "eth0", "eth1"]);
    port(graph, "eth2");
    assert_eq!(ws.told().await.1["Metadata"]["Name"], "eth2");
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_leave_the_subscription_as_it_was() {
    let server = Server::start(services(sample())).await;
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &[])
        .await
        .unwrap();
    let reply = ws.sync(json!({"GremlinFilter": "G.Vee()"})).await;
    assert_eq!(reply["Status"], 400);
    assert!(
        reply["Obj"].as_str().unwrap().starts_with("column 3: "),
        "{reply}"
    );
    let reply = ws.sync(json!({"GremlinFilter": "G.V()"})).await;
    assert_eq!(
        reply["Obj"],
        "Gremlin query 'G.V()' did not return a graph; end it in .SubGraph()"
    );
    let reply = ws.sync(json!({"Time": "yesterday"})).await;
    assert!(
        reply["Obj"]
            .as_str()
            .unwrap()
            .starts_with("SyncRequestMsg malformed: "),
        "{reply}"
    );
    let (status, reason) = ws.refused("NodeAdded", json!({})).await;
    assert_eq!(status, 400);
    assert_eq!(
        reason,
        "a subscriber sends SyncRequest, not NodeAdded; connect to /ws/publisher for that"
    );
    port(&server.graph, "eth0");
    assert_eq!(ws.told().await.0, "NodeAdded");
    server.stop().await;
}

#[tokio::test]
async fn updates_may_be_partial() {
    let server = Server::start(services(sample())).await;
    let eth0 = port(&server.graph, "eth0");
    let headers = [("X-Update-Policy", "partial")];
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &headers)
        .await
        .unwrap();
    server.graph.set_metadata(&eth0, "MTU", 9000).unwrap();
    let (kind, obj) = ws.told().await;
    assert_eq!(kind, "NodePartiallyUpdated");
    assert_eq!(obj["Ops"], json!([{"Type": 1, "Key": "MTU", "Value": 9000}]));
    assert_eq!((&obj["ID"], &obj["Revision"]), (&json!(eth0), &json!(2)));
    server.stop().await;
}

#[tokio::test]
async fn who_wants_another_namespace_hears_nothing_but_answers() {
    let server = Server::start(services(sample())).await;
    let headers = [("X-Websocket-Namespace", "Flow")];
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &headers)
        .await
        .unwrap();
    port(&server.graph, "eth0");
    let reply = ws.sync(json!({})).await;
    assert_eq!(names(&reply["Obj"]), ["compute-1", "eth0"]);
    port(&server.graph, "eth1");
    let reply = ws.sync(json!({})).await;
    assert_eq!(names(&reply["Obj"]), ["compute-1", "eth0", "eth1"]);
    server.stop().await;
}

/// A past that is the same at all times.
struct Fixed(Arc<Graph>);

impl History for Fixed {
    fn slice(&self, slice: Slice, _: Wanted<'_>, _: &Budget) -> Result<Snapshot, HistoryError> {
        assert_eq!(slice, Slice::at(1_700_000_000_000));
        Ok(Snapshot::clone(&self.0.snapshot()))
    }

    fn intervals(
        &self,
        _: NodeMetric,
        _: &HashSet<NodeId>,
        _: Slice,
        _: &Budget,
    ) -> Result<Vec<Interval>, HistoryError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn the_graph_as_it_was() {
    let past = Arc::new(Graph::new("compute-0"));
    port(&past, "old");
    let graph = Arc::new(Graph::new("compute-1"));
    let topology = Topology::new(graph, Some(Arc::new(Fixed(past))));
    let server = Server::start(services_over(sample(), topology)).await;
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &[])
        .await
        .unwrap();
    let reply = ws.sync(json!({"Time": 1_700_000_000_000_i64})).await;
    assert_eq!(names(&reply["Obj"]), ["compute-0", "old"]);
    // What happens is told all the same.
    port(&server.graph, "new");
    assert_eq!(ws.told().await.1["Metadata"]["Name"], "new");
    server.stop().await;
}

#[tokio::test]
async fn a_past_that_nobody_keeps_is_told() {
    let server = Server::start(services(sample())).await;
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &[])
        .await
        .unwrap();
    for request in [
        json!({"Time": 1_700_000_000_000_i64}),
        json!({"Time": 1_700_000_000_000_i64, "GremlinFilter": "G.V().SubGraph()"}),
    ] {
        let reply = ws.sync(request).await;
        assert_eq!(reply["Status"], 400);
        assert!(
            reply["Obj"]
                .as_str()
                .unwrap()
                .contains("history is not kept here"),
            "{reply}"
        );
    }
    server.stop().await;
}

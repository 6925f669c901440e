//! What users declare outlives flowtap, waits for what is not there, and ends in its time.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use flowtap_api::{Declared, Services, router};
use flowtap_storage::{SqliteOptions, SqliteStore};
use flowtap_topology::{Graph, LAYER2, NodeId, NodeSpec, Topology};
use serde_json::{Value, json};

use crate::common::{eventually, get, open_declared, sample, send, services};

/// One life of flowtap: a graph of its own, and what is declared in `directory`.
fn life(directory: &Path) -> (Services, Arc<Graph>) {
    let mut services = services(sample());
    let graph = Arc::new(Graph::new("compute-1"));
    services.topology = Topology::new(Arc::clone(&graph), None);
    services.declared = open_declared(&graph, directory);
    (services, graph)
}

async fn post(services: &Services, path: &str, ttl: Option<&str>, body: Value) -> Value {
    let mut request = Request::builder().method(Method::POST).uri(path);
    if let Some(ttl) = ttl {
        request = request.header("X-Resource-TTL", ttl);
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = send(&router(services.clone()), request).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

fn node(id: &str) -> Value {
    json!({"ID": id, "Metadata": {"Name": id, "Type": "box"}})
}

#[tokio::test]
async fn all_of_it_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (services, graph) = life(directory.path());
    post(&services, "/api/node", None, node("a")).await;
    post(&services, "/api/node", None, node("b")).await;
    post(&services, "/api/node", None, node("gone")).await;
    let edge = json!({"ID": "e", "Parent": "a", "Child": "b", "Metadata": {"RelationType": "layer2"}});
    post(&services, "/api/edge", None, edge).await;
    let rule = json!({"Action": "update", "Query": "G.V().Has('Type', 'box')", "Metadata": {"Owner": "me"}});
    let rule = post(&services, "/api/noderule", None, rule).await;
    let rule_uuid = rule["UUID"].as_str().unwrap().to_owned();
    let links = json!({"Src": "G.V().Has('Type', 'host')", "Dst": "G.V().Has('Type', 'box')",
        "Metadata": {"RelationType": "hosts"}});
    post(&services, "/api/edgerule", None, links).await;
    let request = Request::patch("/api/node/a").body(Body::from(
        json!([{"op": "add", "path": "/Metadata/Rack", "value": 7}]).to_string(),
    ));
    assert_eq!(
        send(&router(services.clone()), request.unwrap()).await.status,
        StatusCode::OK
    );
    let request = Request::delete("/api/node/gone").body(Body::empty()).unwrap();
    assert_eq!(
        send(&router(services.clone()), request).await.status,
        StatusCode::OK
    );
    drop((services, graph));

    let (services, graph) = life(directory.path());
    let a = graph.node(&"a".into()).unwrap();
    assert_eq!(
        (&a.metadata["Rack"], &a.metadata["Owner"]),
        (&json!(7), &json!("me"))
    );
    assert_eq!(&*a.origin, "api.compute-1");
    assert!(graph.node(&"gone".into()).is_none());
    assert!(graph.snapshot().edge(&"e".into()).is_some());
    let hosts = graph
        .edges()
        .iter()
        .filter(|edge| edge.relation() == "hosts")
        .count();
    assert_eq!(hosts, 2);
    // The rule is the same one still: what it added goes with it.
    let request = Request::delete(format!("/api/noderule/{rule_uuid}"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&router(services), request).await.status, StatusCode::OK);
    assert_eq!(graph.node(&"a".into()).unwrap().metadata.get("Owner"), None);
}

#[tokio::test]
async fn what_a_rule_adds_to_a_node_is_not_written_down_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let (services, _) = life(directory.path());
    post(&services, "/api/node", None, node("a")).await;
    let rule = json!({"Action": "update", "Query": "G.V().Has('Type', 'box')", "Metadata": {"Owner": "me"}});
    let rule = post(&services, "/api/noderule", None, rule).await;
    let request = Request::patch("/api/node/a").body(Body::from(
        json!([{"op": "add", "path": "/Metadata/Rack", "value": 7}]).to_string(),
    ));
    send(&router(services.clone()), request.unwrap()).await;
    drop(services);

    let (services, graph) = life(directory.path());
    let uuid = rule["UUID"].as_str().unwrap();
    let request = Request::delete(format!("/api/noderule/{uuid}"))
        .body(Body::empty())
        .unwrap();
    send(&router(services), request).await;
    let metadata = graph.node(&"a".into()).unwrap().metadata.clone();
    assert_eq!(
        (metadata.get("Rack"), metadata.get("Owner")),
        (Some(&json!(7)), None)
    );
}

#[tokio::test]
async fn an_edge_waits_for_its_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (services, graph) = life(directory.path());
    post(&services, "/api/node", None, node("a")).await;
    let eth0 = |graph: &Graph| -> NodeId {
        graph
            .upsert_node(NodeSpec::new(graph.host(), "device", "eth0"))
            .unwrap()
    };
    let id = eth0(&graph);
    let edge = json!({"ID": "e", "Parent": "a", "Child": id, "Metadata": {"RelationType": LAYER2}});
    post(&services, "/api/edge", None, edge).await;
    drop((services, graph));

    // The interface has not been seen yet.
    let (services, graph) = life(directory.path());
    let follow = tokio::spawn(Arc::clone(&services.declared).follow());
    let router = router(services);
    let has_edge = || graph.snapshot().edge(&"e".into()).is_some();
    assert!(!has_edge());
    let waiting = get(&router, "/api/edge/e").await;
    assert_eq!(
        (waiting.status, &waiting.json()["Child"]),
        (StatusCode::OK, &json!(id))
    );
    assert!(get(&router, "/api/edge").await.json()["e"].is_object());
    assert_eq!(eth0(&graph), id);
    eventually("the edge", || has_edge().then_some(())).await;
    // It goes, and comes again.
    graph.edit(|edit| edit.remove_node(&id));
    assert!(!has_edge());
    eth0(&graph);
    eventually("the edge again", || has_edge().then_some(())).await;
    // Deleted, it stays away.
    let request = Request::delete("/api/edge/e").body(Body::empty()).unwrap();
    assert_eq!(send(&router, request).await.status, StatusCode::OK);
    assert_eq!(get(&router, "/api/edge/e").await.status, StatusCode::NOT_FOUND);
    follow.abort();
}

#[tokio::test]
async fn a_time_to_live_ends_also_while_nobody_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (services, graph) = life(directory.path());
    let follow = tokio::spawn(Arc::clone(&services.declared).follow());
    let gone = |graph: &Graph, id: &str| graph.node(&id.into()).is_none().then_some(());
    post(&services, "/api/node", Some("50ms"), node("soon")).await;
    post(&services, "/api/node", Some("1h"), node("later")).await;
    post(&services, "/api/node", Some("0"), node("ever")).await;
    eventually("the end of its time", || gone(&graph, "soon")).await;
    let rule = json!({"Action": "create", "Metadata": {"Name": "made", "Type": "x"}});
    post(&services, "/api/noderule", Some("50ms"), rule).await;
    let made = || graph.nodes().iter().any(|node| node.name() == Some("made"));
    eventually("the end of the rule", || (!made()).then_some(())).await;
    follow.abort();
    let _aborted = follow.await;

    post(&services, "/api/node", Some("1ms"), node("over")).await;
    drop((services, graph));
    let (services, graph) = life(directory.path());
    let follow = tokio::spawn(Arc::clone(&services.declared).follow());
    eventually("what ended meanwhile", || gone(&graph, "over")).await;
    assert!(graph.node(&"later".into()).is_some() && graph.node(&"ever".into()).is_some());
    assert_eq!(get(&router(services), "/api/noderule").await.json(), json!({}));
    follow.abort();
}

#[tokio::test]
async fn what_cannot_be_read_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path(), SqliteOptions::default()).unwrap();
    let resources = store.resources();
    resources.put("node", "odd", &json!({"Resource": 7})).unwrap();
    resources
        .put(
            "noderule",
            "old",
            &json!({"Resource": {"UUID": "old", "Action": "update",
        "Metadata": {"a": 1}, "Query": "G.Spells()"}}),
        )
        .unwrap();
    let graph = Arc::new(Graph::new("compute-1"));
    let declared = Declared::open(Arc::clone(&graph), resources.clone()).unwrap();
    assert_eq!(graph.nodes().len(), 1);
    let mut services = services(sample());
    services.declared = declared;
    let rule = get(&router(services), "/api/noderule/old").await.json();
    let problem = rule["Problem"].as_str().unwrap();
    assert!(problem.contains("G.Spells()"), "{problem}");
    assert!(
        resources.get("node", "odd").unwrap().is_some(),
        "it is kept for whoever can read it"
    );
}

#[tokio::test]
async fn a_disk_that_refuses_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (services, graph) = life(directory.path());
    // A disk that is full cannot be had here; a table that is gone refuses as well.
    let database = directory.path().join("catalog.db");
    let sql = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('DROP TABLE resource')";
    let dropped = Command::new("python3").args(["-c", sql]).arg(database).status();
    assert!(
        dropped
            .expect("python3 is needed: apt-get install python3")
            .success()
    );
    let request = Request::post("/api/node")
        .body(Body::from(node("a").to_string()))
        .unwrap();
    let answer = send(&router(services.clone()), request).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        answer.text().starts_with("failed to keep it: "),
        "{}",
        answer.text()
    );
    assert!(graph.node(&"a".into()).is_none());
}

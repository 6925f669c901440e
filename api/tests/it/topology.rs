//! `/api/topology`.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use flowtap_api::router;
use flowtap_api::wire::TopologyDocument;
use flowtap_topology::{LAYER2, Metadata, NodeSpec};
use serde_json::json;

use crate::common::{Answer, get, get_as, read_pcap, sample, sample_router, send, services};

const PCAP: &str = "application/vnd.tcpdump.pcap";
const DOT: &str = "text/vnd.graphviz";

async fn post(router: &Router, body: &str, accept: &str) -> Answer {
    let request = Request::post("/api/topology").header(header::ACCEPT, accept);
    send(router, request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn query(gremlin: &str, accept: &str) -> Answer {
    post(
        &sample_router(),
        &json!({"GremlinQuery": gremlin}).to_string(),
        accept,
    )
    .await
}

#[tokio::test]
async fn json_echoes_the_type_asked_for() {
    let answer = query("G.Flows().Has('Application', 'TCP').Count()", "application/json").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!(4)));
    assert_eq!(answer.content_type(), "application/json; charset=UTF-8");
    let answer = query("G.Flows().Count()", "*/*").await;
    assert_eq!(answer.content_type(), "application/json; charset=UTF-8");
}

#[tokio::test]
async fn pcap_of_raw_packets_in_time_order() {
    let answer = query("G.Flows().RawPackets()", PCAP).await;
    assert_eq!(
        answer.content_type(),
        "application/vnd.tcpdump.pcap; charset=UTF-8"
    );
    let packets = read_pcap(&answer.body);
    assert_eq!(
        packets.iter().map(|p| p.2[0]).collect::<Vec<_>>(),
        [1, 2, 1, 2, 1]
    );
    assert!(packets.iter().all(|p| p.1 == 1500));
}

#[tokio::test]
async fn no_packets_are_a_valid_empty_pcap() {
    let answer = query("G.Flows().Has('Application', 'nothing').RawPackets()", PCAP).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body.len(), 24);
    assert!(read_pcap(&answer.body).is_empty());
}

#[tokio::test]
async fn forms_that_the_result_does_not_have() {
    let answer = query("G.Flows()", PCAP).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(
        answer.text(),
        "Only RawPackets step result can be outputted as pcap"
    );
    assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
    let answer = query("G.Flows()", DOT).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    assert!(
        answer.text().ends_with("Only graph can be outputted as dot"),
        "{}",
        answer.text()
    );
}

/// A router over a graph of the host and two interfaces that are linked.
fn linked() -> Router {
    let services = services(sample());
    let graph = services.topology.graph();
    let port = |name| {
        graph
            .upsert_node(NodeSpec::new(graph.host(), "device", name))
            .unwrap()
    };
    let (a, b) = (port("a"), port("b"));
    graph.link(&a, &b, LAYER2, Metadata::new()).unwrap();
    router(services)
}

#[tokio::test]
async fn the_whole_graph() {
    let router = linked();
    let answer = get(&router, "/api/topology").await;
    assert_eq!(
        (answer.status, answer.content_type()),
        (StatusCode::OK, "application/json")
    );
    let whole: TopologyDocument = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((whole.nodes.len(), whole.edges.len()), (3, 3));
    let cable = whole
        .edges
        .iter()
        .find(|edge| edge.metadata["RelationType"] == LAYER2);
    let end = &cable.unwrap().parent;
    assert!(
        whole
            .nodes
            .iter()
            .any(|node| node.id == *end && node.metadata["Name"] == "a")
    );

    let answer = get_as(&router, "/api/topology", DOT).await;
    assert_eq!(answer.content_type(), "text/vnd.graphviz; charset=UTF-8");
    assert!(answer.text().starts_with("digraph g {\n"), "{}", answer.text());
    assert!(
        answer.text().contains("[label=layer2,dir=both]"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_graph_of_one_node_is_whole_too() {
    let whole = get(&sample_router(), "/api/topology").await.json();
    assert_eq!(whole["Nodes"].as_array().unwrap().len(), 1);
    assert_eq!(whole["Edges"], json!([]));
}

#[tokio::test]
async fn nodes_edges_and_dot_by_query() {
    let router = linked();
    let ask = async |gremlin: &str, accept: &str| {
        let body = json!({"GremlinQuery": gremlin}).to_string();
        post(&router, &body, accept).await
    };
    let nodes = ask("G.V().Has('Type', 'device')", "application/json")
        .await
        .json();
    assert_eq!(nodes.as_array().unwrap().len(), 2);
    let edges = ask("G.E().Has('RelationType', 'layer2')", "application/json")
        .await
        .json();
    assert_eq!(edges[0]["Metadata"]["RelationType"], "layer2");
    let answer = ask("G.V().Has('Type', 'device').SubGraph()", DOT).await;
    assert_eq!(answer.content_type(), "text/vnd.graphviz; charset=UTF-8");
    assert!(!answer.text().contains("compute-1"), "{}", answer.text());
    let answer = ask("G.V()", DOT).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn nothing_asked_is_no_content() {
    for body in ["", "{}", r#"{"GremlinQuery": ""}"#] {
        let answer = post(&sample_router(), body, "application/json").await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (StatusCode::NO_CONTENT, 0),
            "{body}"
        );
    }
}

#[tokio::test]
async fn wrong_requests_are_told_in_text() {
    let answer = query("G.Flow()", "application/json").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
    assert!(answer.text().starts_with("column 3: "), "{}", answer.text());
    for body in ["not json", "\"G\"", r#"{"GremlinQuery": 1}"#] {
        let answer = post(&sample_router(), body, "application/json").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let answer = post(&sample_router(), &" ".repeat((1 << 20) + 1), "application/json").await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.text(), "the query is larger than 1 MiB");
}

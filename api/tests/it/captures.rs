//! `/api/capture`, `/api`, `/api/status`.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

use crate::common::{SFLOW_NAME, get, sample_router, send, sflow_id};

#[tokio::test]
async fn the_list_is_an_object_by_uuid() {
    let answer = get(&sample_router(), "/api/capture").await;
    assert_eq!(answer.status, StatusCode::OK);
    let captures = answer.json();
    let capture = &captures[sflow_id()];
    assert_eq!(capture["UUID"], sflow_id());
    assert_eq!(capture["Type"], "sflow");
    assert_eq!(capture["State"], "active");
    assert_eq!(capture["Count"], 1);
    assert_eq!(capture["SFlowSocket"], "127.0.0.1:6343");
    assert_eq!(capture["Ledger"]["Received"], 10);
    assert_eq!(capture["Ledger"]["Dropped"]["kernel"], 2);
}

#[tokio::test]
async fn one_capture_or_skydives_words() {
    let router = sample_router();
    let answer = get(&router, &format!("/api/capture/{}", sflow_id())).await;
    assert_eq!(
        (answer.status, &answer.json()["Name"]),
        (StatusCode::OK, &json!(SFLOW_NAME))
    );
    let answer = get(&router, "/api/capture/x").await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::NOT_FOUND, "Capture 'x' not found")
    );
    assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
}

#[tokio::test]
async fn what_cannot_be_done_to_a_capture_is_told_in_skydives_words() {
    let router = sample_router();
    let standing = format!("/api/capture/{}", sflow_id());
    for (method, path, status, expected) in [
        // Nothing carries captures out in this test.
        (
            Method::DELETE,
            "/api/capture/x",
            503,
            "captures cannot be changed while flowtap starts or stops, try again",
        ),
        (Method::PATCH, "/api/capture/x", 404, "Capture 'x' not found"),
        (Method::PATCH, &standing, 400, "capture resource not updatable"),
        (
            Method::POST,
            "/api/capture",
            400,
            "the body is not the JSON of such a resource: EOF while parsing a value at line 1 column 0",
        ),
    ] {
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let answer = send(&router, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (status, expected),
            "{method} {path}"
        );
        assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn who_answers() {
    let answer = get(&sample_router(), "/api").await;
    assert_eq!(
        answer.json(),
        json!({"Host": "compute-1", "Version": "1.2.3", "Service": "analyzer"})
    );
}

#[tokio::test]
async fn status_has_skydives_keys_and_ours() {
    let status = get(&sample_router(), "/api/status").await.json();
    let mut keys: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "Agents",
        "Alerts",
        "Captures",
        "Flowtap",
        "Peers",
        "Probes",
        "Publishers",
        "Subscribers",
    ];
    assert_eq!(keys, expected);
    assert_eq!(status["Peers"], json!({"Incomers": {}, "Outgoers": {}}));
    assert_eq!(status["Captures"]["IsMaster"], true);
    assert_eq!(status["Probes"]["sflow"]["Status"], "active");
    let ours = &status["Flowtap"];
    assert_eq!(ours["Version"], "1.2.3");
    assert_eq!(ours["Captures"][0]["Ledger"]["Kept"], 8);
    assert_eq!(ours["Table"]["Flows"], 3);
    assert_eq!(ours["Store"]["Flows"], 6);
    assert_eq!(ours["Sflow"]["Agents"][1]["SubAgent"], 1);
    assert_eq!(ours["PcapClients"][0]["Peer"], "127.0.0.1:4000");
    assert_eq!(ours["Topology"]["Nodes"], 1);
    assert_eq!(ours["Topology"]["Watchers"][1]["Name"], "netlink blue");
    assert_eq!(ours["Topology"]["Watchers"][1]["State"], "starting");
}

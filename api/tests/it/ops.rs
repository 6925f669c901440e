//! `/healthz`, `/readyz`, `/version`, `/metrics`, `/api/openapi.json`.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use flowtap_api::router;
use serde_json::json;

use crate::common::{FixedObserve, get, sample, sample_router, send, services, sflow_id};

#[tokio::test]
async fn alive_ready_and_which_version() {
    let router = sample_router();
    assert_eq!(get(&router, "/healthz").await.text(), "ok\n");
    let answer = get(&router, "/readyz").await;
    assert_eq!(answer.status, StatusCode::OK);
    let expected = json!({"Ready": true, "Parts": {"storage": {"Ready": true, "Detail": "writing"}}});
    assert_eq!(answer.json(), expected);
    assert_eq!(
        get(&router, "/version").await.json(),
        json!({"Version": "1.2.3", "Revision": "abc"})
    );
}

#[tokio::test]
async fn a_store_that_fails_is_not_ready_but_alive() {
    let mut services = services(sample());
    services.observe = Arc::new(FixedObserve {
        store_error: Some("disk full".to_owned()),
    });
    let router = router(services);
    let answer = get(&router, "/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["Parts"]["storage"]["Detail"], "disk full");
    assert_eq!(get(&router, "/healthz").await.status, StatusCode::OK);
    assert!(
        get(&router, "/metrics")
            .await
            .text()
            .contains("flowtap_storage_up{backend=\"sqlite\"} 0\n")
    );
}

#[tokio::test]
async fn metrics_have_the_names_and_numbers() {
    let router = sample_router();
    get(&router, "/api/v1/flows").await;
    get(&router, "/api/capture/x").await;
    get(&router, "/no/such/path").await;
    let answer = get(&router, "/metrics").await;
    assert_eq!(answer.content_type(), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    let capture = format!(
        "capture=\"{}\",host=\"compute-1\",interface=\"\",type=\"sflow\"",
        sflow_id()
    );
    for line in [
        "flowtap_build_info{version=\"1.2.3\",revision=\"abc\"} 1".to_owned(),
        format!("flowtap_capture_interfaces{{capture=\"{}\",state=\"active\"}} 1", sflow_id()),
        format!("flowtap_capture_packets_received_total{{{capture}}} 10"),
        format!("flowtap_capture_packets_dropped_total{{{capture},reason=\"kernel\"}} 2"),
        format!("flowtap_capture_bytes_received_total{{{capture}}} 1000"),
        "flowtap_flow_table_flows 3".to_owned(),
        "flowtap_flow_table_evicted_total{reason=\"full\"} 1".to_owned(),
        "flowtap_sflow_datagrams_received_total{agent=\"10.0.0.11\"} 10".to_owned(),
        "flowtap_sflow_datagrams_lost_total{agent=\"10.0.0.11\"} 2".to_owned(),
        "flowtap_sflow_decode_errors_total{agent=\"10.0.0.11\",reason=\"record_length\"} 4".to_owned(),
        "flowtap_storage_write_duration_seconds_count{backend=\"sqlite\"} 0".to_owned(),
        "flowtap_rawpackets_bytes 0".to_owned(),
        "flowtap_topology_nodes 1".to_owned(),
        "flowtap_topology_edges 0".to_owned(),
        "flowtap_topology_events_total 1".to_owned(),
        "flowtap_topology_watchers{watcher=\"netlink\",state=\"starting\"} 1".to_owned(),
        "flowtap_topology_watcher_resyncs_total{watcher=\"netlink\"} 2".to_owned(),
        "flowtap_websocket_clients{endpoint=\"subscriber\"} 0".to_owned(),
        "flowtap_event_streams 0".to_owned(),
        "flowtap_http_request_duration_seconds_count{route=\"/api/v1/flows\",method=\"GET\",code=\"200\"} 1".to_owned(),
        "flowtap_http_request_duration_seconds_count{route=\"/api/capture/{id}\",method=\"GET\",code=\"404\"} 1"
            .to_owned(),
        "flowtap_http_request_duration_seconds_count{route=\"other\",method=\"GET\",code=\"404\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    assert!(text.contains("\nprocess_cpu_seconds_total "));
}

#[tokio::test]
async fn promtool_has_nothing_to_say() {
    let router = sample_router();
    get(&router, "/api/v1/flows").await;
    let answer = get(&router, "/metrics").await;
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("promtool is needed: apt-get install prometheus");
    child.stdin.take().unwrap().write_all(&answer.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// The document's paths are held to the router's list by a test inside the crate; this one holds the
/// methods to what the router takes.
#[tokio::test]
async fn the_openapi_document_names_the_methods_that_the_router_takes() {
    let router = sample_router();
    let document = get(&router, "/api/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        let request = Request::builder()
            .method(Method::TRACE)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let answer = send(&router, request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let mut taken: Vec<String> = answer
            .header(header::ALLOW)
            .split(',')
            .map(str::to_lowercase)
            .collect();
        taken.retain(|method| method != "head");
        taken.sort_unstable();
        let mut described: Vec<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        described.sort_unstable();
        assert_eq!(taken, described, "{path}");
    }
}

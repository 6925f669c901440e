//! `GET /api/v1/flows`.

use axum::Router;
use axum::http::StatusCode;
use serde_json::Value;

use crate::common::{SFLOW_NAME, get, get_as, sample, sample_router, sflow_id};

async fn uuids(router: &Router, parameters: &str) -> Vec<String> {
    let answer = get(router, &format!("/api/v1/flows?{parameters}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{parameters}: {}", answer.text());
    let page = answer.json();
    let flows = page["Flows"].as_array().unwrap();
    flows
        .iter()
        .map(|flow| flow["UUID"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn everything_comes_oldest_first_with_skydives_names() {
    let answer = get(&sample_router(), "/api/v1/flows").await;
    assert_eq!(answer.content_type(), "application/json");
    let page = answer.json();
    assert_eq!(page["NextCursor"], Value::Null);
    let flows = page["Flows"].as_array().unwrap();
    assert_eq!(flows.len(), 6);
    let expected: Vec<Value> = sample()
        .flows
        .iter()
        .map(|f| serde_json::to_value(f).unwrap())
        .collect();
    assert_eq!(flows, &expected);
}

#[tokio::test]
async fn pages_join_to_the_whole_in_either_order() {
    let router = sample_router();
    for (order, expected) in [
        ("asc", ["1", "2", "3", "4", "5", "6"]),
        ("desc", ["6", "5", "4", "3", "2", "1"]),
    ] {
        let mut seen = Vec::new();
        let mut path = format!("/api/v1/flows?limit=4&order={order}");
        loop {
            let answer = get(&router, &path).await;
            let page = answer.json();
            let flows = page["Flows"].as_array().unwrap();
            assert!(flows.len() <= 4);
            seen.extend(flows.iter().map(|flow| flow["UUID"].as_str().unwrap().to_owned()));
            let Some(next) = page["NextCursor"].as_str() else {
                assert_eq!(answer.header("x-next-cursor"), "");
                break;
            };
            assert_eq!(answer.header("x-next-cursor"), next);
            path = format!("/api/v1/flows?limit=4&order={order}&cursor={next}");
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn each_parameter_narrows() {
    let router = sample_router();
    let capture = sflow_id();
    let name = SFLOW_NAME.replace(' ', "%20");
    for (parameters, expected) in [
        ("app=ICMPv4", vec!["2"]),
        ("app=", vec!["1", "2", "3", "4", "5", "6"]),
        ("filter=Has('Application','ARP')", vec!["3"]),
        (
            "filter=Has('Metric.ABPackets',GT(4)).Has('Application','TCP')",
            vec!["5", "6"],
        ),
        ("host=10.0.0.2&app=ICMPv4", vec!["2"]),
        ("host=10.0.0.0/24", vec!["1", "2", "4", "5", "6"]),
        ("host=10.9.0.0/16", vec![]),
        ("port=80", vec!["1", "4", "5", "6"]),
        ("port=81", vec![]),
        (&format!("capture={capture}"), vec!["2"]),
        (&format!("capture={name}"), vec!["2"]),
        ("capture=sflow", vec!["2"]),
        ("capture=9b1c7e58-3d0a-4f37-8a55-0d4a54a3b7f1", vec![]),
        ("tracking_id=a004", vec!["4"]),
        ("from=1700000000005", vec!["5", "6"]),
        ("to=2023-11-14T22:13:20.002Z", vec!["1", "2"]),
        ("from=-1s", vec![]),
        ("from=1700000000002&to=1700000000003&app=ARP", vec!["3"]),
    ] {
        assert_eq!(uuids(&router, parameters).await, expected, "{parameters}");
    }
}

#[tokio::test]
async fn a_capture_that_nobody_knows_is_not_found() {
    let router = sample_router();
    for path in ["/api/v1/flows", "/api/v1/packets"] {
        let answer = get(&router, &format!("{path}?capture=nosuchcapture")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let expected = (
            "not-found".to_owned(),
            "Capture 'nosuchcapture' not found".to_owned(),
        );
        assert_eq!(answer.problem(), expected, "{path}");
        let hint = answer.json()["hint"].to_string();
        assert!(hint.contains("flowtap capture list"), "{hint}");
    }
}

#[tokio::test]
async fn a_community_id_is_found_even_with_its_plus_unescaped() {
    let router = sample_router();
    let flow = &get(&router, "/api/v1/flows?app=ICMPv4").await.json()["Flows"][0];
    let id = flow["CommunityID"].as_str().unwrap();
    assert!(id.starts_with("1:"));
    assert_eq!(uuids(&router, &format!("community_id={id}")).await, ["2"]);
    assert_eq!(
        uuids(&router, &format!("community_id={}", id.replace('+', "%2B"))).await,
        ["2"]
    );
}

#[tokio::test]
async fn csv_and_json_lines_by_parameter_and_by_accept() {
    let router = sample_router();
    for answer in [
        get(&router, "/api/v1/flows?format=csv&limit=2").await,
        get_as(&router, "/api/v1/flows?limit=2", "text/csv").await,
    ] {
        assert_eq!(answer.content_type(), "text/csv; charset=utf-8");
        let lines: Vec<&str> = answer.text().split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("UUID,Start,Last,Application,"));
        assert!(
            lines[1].starts_with("1,1700000000001,1700000000001,TCP,Ethernet/IPv4/TCP,02:00:00:00:00:01,")
        );
        assert_ne!(answer.header("x-next-cursor"), "");
    }
    for answer in [
        get(&router, "/api/v1/flows?format=jsonl").await,
        get_as(&router, "/api/v1/flows", "application/x-ndjson, */*;q=0.1").await,
    ] {
        assert_eq!(answer.content_type(), "application/x-ndjson");
        let lines = answer
            .text()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(
            lines.map(|flow| flow["UUID"].clone()).collect::<Vec<_>>(),
            ["1", "2", "3", "4", "5", "6"]
        );
    }
    let answer = get_as(&router, "/api/v1/flows?format=json", "text/csv").await;
    assert_eq!(answer.content_type(), "application/json");
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    let router = sample_router();
    let answer = get(&router, "/api/v1/flows?app=none").await;
    assert_eq!(answer.text(), r#"{"Flows":[],"NextCursor":null}"#);
    let answer = get(&router, "/api/v1/flows?app=none&format=jsonl").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let router = sample_router();
    for (parameters, code, part) in [
        ("ap=TCP", "bad-parameter", "there is no parameter `ap`"),
        (
            "precision=ns",
            "bad-parameter",
            "there is no parameter `precision`",
        ),
        ("limit=0", "bad-parameter", "`0` cannot be used as `limit`"),
        ("limit=100001", "bad-parameter", "`100001`"),
        ("limit=-1", "bad-parameter", "`-1`"),
        ("order=up", "bad-parameter", "`up`"),
        ("host=web1", "bad-parameter", "`web1` cannot be used as `host`"),
        ("port=http", "bad-parameter", "`http`"),
        ("tracking_id=xyz", "bad-parameter", "`xyz`"),
        ("community_id=2:abc", "bad-parameter", "`2:abc`"),
        (
            "from=yesterday",
            "bad-parameter",
            "`yesterday` cannot be used as `from`",
        ),
        ("from=now&to=-5m", "bad-parameter", "`from` is later than `to`"),
        ("format=xml", "bad-parameter", "`xml`"),
        ("app=a&app=b", "bad-parameter", "duplicate"),
        ("cursor=abc", "bad-cursor", "`abc` is no cursor of this list"),
        ("filter=Has(", "bad-filter", "column"),
        ("filter=Dedup()", "bad-filter", "column 1"),
    ] {
        let answer = get(&router, &format!("/api/v1/flows?{parameters}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{parameters}");
        let (actual, detail) = answer.problem();
        assert_eq!(actual, code, "{parameters}");
        assert!(detail.contains(part), "{parameters}: {detail}");
    }
}

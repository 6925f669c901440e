//! `GET /api/v1/packets`.

use axum::http::StatusCode;
use flowtap_api::{Limits, router};
use flowtap_flow::packet::LinkType;
use serde_json::{Value, json};

use crate::common::{get, get_as, read_pcap, sample, sample_router, services};

const PCAP: &str = "application/vnd.tcpdump.pcap";

#[tokio::test]
async fn json_in_time_order_with_exact_times_and_true_lengths() {
    let answer = get(&sample_router(), "/api/v1/packets").await;
    assert_eq!(answer.content_type(), "application/json");
    let page = answer.json();
    let packets = page["Packets"].as_array().unwrap();
    let order: Vec<(&Value, &Value)> = packets.iter().map(|p| (&p["FlowUUID"], &p["Index"])).collect();
    let expected = [("1", 1), ("2", 1), ("1", 2), ("2", 2), ("1", 3)];
    assert_eq!(
        order,
        expected
            .map(|(flow, index)| (json!(flow), json!(index)))
            .each_ref()
            .map(|(f, i)| (f, i))
    );
    assert_eq!(packets[0]["Timestamp"], 1_700_000_000_001_i64);
    assert_eq!(packets[0]["TimestampNano"], 1_700_000_000_001_000_123_i64);
    assert_eq!(packets[0]["Length"], 1500);
    assert_eq!(packets[0]["LinkType"], 1);
    assert_eq!(packets[0]["Data"].as_str().unwrap().len(), 80);
    assert_eq!(page["NextCursor"], Value::Null);
}

#[tokio::test]
async fn pcap_by_accept_and_by_parameter() {
    let router = sample_router();
    let micros = get_as(&router, "/api/v1/packets", PCAP).await;
    assert_eq!(micros.content_type(), PCAP);
    assert_eq!(
        micros.header("content-disposition"),
        "attachment; filename=\"flowtap.pcap\""
    );
    assert_eq!(read_pcap(&micros.body)[0].0.nanos(), 1_700_000_000_001_000_000);
    for parameters in [
        "format=pcap&precision=ns",
        "format=pcapng",
        "format=pcapng&precision=us",
    ] {
        let answer = get(&router, &format!("/api/v1/packets?{parameters}")).await;
        let packets = read_pcap(&answer.body);
        assert_eq!(packets.len(), 5, "{parameters}");
        assert_eq!(packets[0].0.nanos(), 1_700_000_000_001_000_123, "{parameters}");
        assert!(
            packets.iter().all(|p| p.1 == 1500 && p.2.len() == 60),
            "{parameters}"
        );
    }
}

#[tokio::test]
async fn filters_and_times_choose_packets() {
    let router = sample_router();
    let answer = get(&router, "/api/v1/packets?app=ICMPv4&format=pcap").await;
    assert!(read_pcap(&answer.body).iter().all(|p| p.2[0] == 2));
    // Flow 1 goes on until later, but this packet alone lies in the time asked for.
    let answer = get(&router, "/api/v1/packets?to=1700000000.0015&format=pcap").await;
    assert_eq!(read_pcap(&answer.body).len(), 1);
}

#[tokio::test]
async fn nothing_found_is_a_valid_empty_file() {
    let router = sample_router();
    for format in ["pcap", "pcapng"] {
        let answer = get(&router, &format!("/api/v1/packets?app=none&format={format}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body.len() >= 24, "{format}");
        assert!(read_pcap(&answer.body).is_empty(), "{format}");
    }
    let answer = get(&router, "/api/v1/packets?app=none").await;
    assert_eq!(answer.text(), r#"{"Packets":[],"NextCursor":null}"#);
}

#[tokio::test]
async fn pages_of_files_and_of_json_join_to_the_whole() {
    let router = sample_router();
    for (format, order, expected) in [
        ("pcap", "asc", [1, 2, 1, 2, 1]),
        // The newest page first, each page in time order: a capture file that runs backwards is of
        // no use.
        ("pcap", "desc", [2, 1, 2, 1, 1]),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let parameters = format!("format={format}&order={order}&limit=2&cursor={cursor}");
            let answer = get(&router, &format!("/api/v1/packets?{parameters}")).await;
            assert_eq!(answer.status, StatusCode::OK);
            seen.extend(read_pcap(&answer.body).iter().map(|p| p.2[0]));
            answer.header("x-next-cursor").clone_into(&mut cursor);
            if cursor.is_empty() {
                break;
            }
        }
        assert_eq!(seen, expected, "{format} {order}");
    }
}

#[tokio::test]
async fn a_page_ends_where_its_memory_does_or_what_one_may_ask_for() {
    let tight: [fn(&mut Limits); 2] = [|limits| limits.page_bytes = 300, |limits| limits.page_items = 2];
    for tighten in tight {
        let mut services = services(sample());
        tighten(&mut services.limits);
        let router = router(services);
        let page = get(&router, "/api/v1/packets?limit=4").await.json();
        assert_eq!(page["Packets"].as_array().unwrap().len(), 2);
        assert!(page["NextCursor"].is_string());
    }
}

#[tokio::test]
async fn several_link_types_need_pcapng() {
    let mut reader = sample();
    reader.packets[1].1.link_type = LinkType::LINUX_SLL;
    let router = router(services(reader));
    let answer = get(&router, "/api/v1/packets?format=pcap").await;
    assert_eq!(
        (answer.status, answer.problem().0.as_str()),
        (StatusCode::NOT_ACCEPTABLE, "not-acceptable")
    );
    assert!(answer.json()["hint"].as_str().unwrap().contains("pcapng"));
    let answer = get(&router, "/api/v1/packets?format=pcapng").await;
    assert_eq!(read_pcap(&answer.body).len(), 5);
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let router = sample_router();
    for parameters in ["format=csv", "precision=ms", "limit=x", "nope=1", "cursor=fa.1.2"] {
        let answer = get(&router, &format!("/api/v1/packets?{parameters}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{parameters}");
        answer.problem();
    }
}

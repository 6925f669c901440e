//! `POST /api/pcap`.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use flowtap_api::router;
use flowtap_flow::packet::{LinkType, RawPacket};
use flowtap_flow::pcap::{Resolution, to_pcap, to_pcapng};
use flowtap_flow::timestamp::Timestamp;
use futures_util::stream;
use serde_json::json;

use crate::common::{Answer, CountingImport, sample, sample_router, send, services};

fn packets(count: u32) -> Vec<RawPacket> {
    let packet = |index| RawPacket {
        timestamp: Timestamp::from_secs(i64::from(index)),
        index,
        len: 60,
        link_type: LinkType::ETHERNET,
        data: vec![0; 60].into(),
    };
    (1..=count).map(packet).collect()
}

fn pcap(count: u32) -> Vec<u8> {
    to_pcap(&packets(count), Resolution::Micros).unwrap()
}

async fn post(body: Body) -> Answer {
    send(&sample_router(), Request::post("/api/pcap").body(body).unwrap()).await
}

#[tokio::test]
async fn a_file_as_the_body() {
    for file in [pcap(3), to_pcapng(&packets(3)).unwrap()] {
        let bytes = file.len();
        let answer = post(Body::from(file)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let expected = json!({
            "Files": 1, "Packets": 3, "Unsupported": 0, "Bytes": bytes, "CaptureID": "upload-capture"
        });
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn packets_of_an_unknown_link_type_are_told() {
    let mut packets = packets(3);
    for packet in &mut packets[..2] {
        packet.link_type = LinkType(147);
    }
    let answer = post(Body::from(to_pcapng(&packets).unwrap())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let report = answer.json();
    assert_eq!(
        (&report["Packets"], &report["Unsupported"]),
        (&json!(3), &json!(2))
    );
}

#[tokio::test]
async fn a_long_body_in_small_pieces() {
    let file = pcap(20_000);
    assert!(file.len() > 1 << 20, "longer than a JSON body may be");
    let pieces: Vec<Bytes> = file.chunks(999).map(Bytes::copy_from_slice).collect();
    let answer = post(Body::from_stream(stream::iter(
        pieces.into_iter().map(Ok::<_, std::io::Error>),
    )))
    .await;
    assert_eq!(answer.json()["Packets"], 20_000);
}

#[tokio::test]
async fn files_of_a_form() {
    let import = Arc::new(CountingImport::default());
    let mut services = services(sample());
    services.uploads = import.clone();
    let mut body = Vec::new();
    for (name, content) in [
        ("name=\"token\"", b"x".to_vec()),
        ("name=\"f\"; filename=\"a.pcap\"", pcap(2)),
        ("name=\"g\"; filename=\"b.pcap\"", pcap(1)),
    ] {
        body.extend(format!("--XX\r\nContent-Disposition: form-data; {name}\r\n\r\n").into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--XX--\r\n");
    let request = Request::post("/api/pcap").header(header::CONTENT_TYPE, "multipart/form-data; boundary=XX");
    let answer = send(&router(services), request.body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    assert_eq!(
        (&answer.json()["Files"], &answer.json()["Packets"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(
        *import.begun.lock().unwrap(),
        ["upload of a.pcap", "upload of b.pcap"]
    );
}

#[tokio::test]
async fn what_is_no_capture_file_is_told_why() {
    let cut = &pcap(2)[..120];
    for body in [b"GET / HTTP/1.1 this is no pcap at all".to_vec(), cut.to_vec()] {
        let answer = post(Body::from(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
        assert!(!answer.text().is_empty());
    }
    let request = Request::post("/api/pcap").header(header::CONTENT_TYPE, "multipart/form-data; boundary=XX");
    let answer = send(&sample_router(), request.body(Body::from("--XX--\r\n")).unwrap()).await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::BAD_REQUEST, "the form holds no file")
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_says_where() {
    let pieces = [
        Ok(Bytes::from(pcap(1))),
        Err(std::io::Error::other("peer went away")),
    ];
    let answer = post(Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer
            .text()
            .starts_with("the upload broke off after 100 bytes: "),
        "{}",
        answer.text()
    );
}

//! The typed client against a real server on loopback.

use flowtap_api::client::{Client, ClientError, FlowFormat, FlowsRequest, PacketFormat, SortOrder};
use tokio::net::TcpListener;

use crate::common::{read_pcap, sample, services, sflow_id};
use crate::server::Server;

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn typed_answers() {
    let server = Server::start(services(sample())).await;
    let client = server.client();
    assert_eq!(client.info().await.unwrap().service, "analyzer");
    assert_eq!(client.version().await.unwrap().version, "1.2.3");
    assert!(client.readiness().await.unwrap().ready);
    let status = client.status().await.unwrap();
    assert_eq!(status.flowtap.captures[0].ledger.received, 10);
    assert_eq!(status.flowtap.sflow.unwrap().agents.len(), 2);
    let captures = client.captures().await.unwrap();
    assert_eq!(captures[&sflow_id()], client.capture(&sflow_id()).await.unwrap());
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn queries_in_each_form() {
    let server = Server::start(services(sample())).await;
    let client = server.client();
    let json = client
        .query("G.Flows().Count()", "application/json")
        .await
        .unwrap();
    assert_eq!(json.media_type(), "application/json");
    assert_eq!(json.bytes().await.unwrap(), "6");
    let mut pcap = client
        .query("G.Flows().RawPackets()", "application/vnd.tcpdump.pcap")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = pcap.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(read_pcap(&bytes).len(), 5);
    server.stop().await;
}

#[tokio::test]
async fn lists_page_by_page() {
    let server = Server::start({
        let mut services = services(sample());
        // Two flows fill a page.
        services.limits.page_bytes = 2 << 10;
        services
    })
    .await;
    let client = server.client();
    for (limit, expected) in [(None, 6), (Some(3), 3), (Some(0), 0)] {
        let mut pages = client.flows(FlowsRequest {
            limit,
            ..FlowsRequest::default()
        });
        let mut seen = Vec::new();
        while let Some(flows) = pages.next().await.unwrap() {
            assert!(flows.len() <= 2);
            seen.extend(flows.into_iter().map(|flow| flow.uuid));
        }
        assert_eq!(seen, ["1", "2", "3", "4", "5", "6"][..expected], "{limit:?}");
    }
    let newest = FlowsRequest {
        order: SortOrder::NewestFirst,
        app: Some("TCP".into()),
        ..FlowsRequest::default()
    };
    assert_eq!(client.flows(newest).next().await.unwrap().unwrap()[0].uuid, "6");
    let icmp = FlowsRequest {
        app: Some("ICMPv4".into()),
        ..FlowsRequest::default()
    };
    let packets = client.packets(icmp.clone()).next().await.unwrap().unwrap();
    assert_eq!(
        packets
            .iter()
            .map(|p| (p.flow_uuid.as_str(), p.index))
            .collect::<Vec<_>>(),
        [("2", 1), ("2", 2)]
    );
    for format in [PacketFormat::Pcap, PacketFormat::PcapNanos, PacketFormat::PcapNg] {
        let file = client.packets_as(&icmp, format).await.unwrap();
        assert_eq!(file.next_cursor(), None);
        assert_eq!(read_pcap(&file.bytes().await.unwrap()).len(), 2);
    }
    let csv = client
        .flows_as(&icmp, FlowFormat::Csv)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(csv.starts_with(b"UUID,"));
    server.stop().await;
}

#[tokio::test]
async fn uploads_of_a_file() {
    let server = Server::start(services(sample())).await;
    let client = server.client();
    let mut pcap = client
        .packets_as(&FlowsRequest::default(), PacketFormat::Pcap)
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcap");
    let mut bytes = Vec::new();
    while let Some(chunk) = pcap.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    std::fs::write(&path, &bytes).unwrap();
    let report = client.upload_file(&path).await.unwrap();
    assert_eq!((report.packets, report.bytes), (5, bytes.len() as u64));
    let error = client
        .upload(&b"this is no capture file, but long enough to tell"[..])
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::BadRequest { .. }), "{error:?}");
    let error = client
        .upload_file(&directory.path().join("none"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::File { .. }), "{error:?}");
    server.stop().await;
}

#[tokio::test]
async fn kinds_of_errors() {
    let server = Server::start(services(sample())).await;
    let client = server.client();
    let error = client.capture("../x y").await.unwrap_err();
    assert!(matches!(&error, ClientError::NotFound { message } if message == "Capture '../x y' not found"));
    let error = client.query("G.Nope()", "application/json").await.unwrap_err();
    assert!(
        matches!(&error, ClientError::BadRequest { message } if message.starts_with("column 3")),
        "{error}"
    );
    let bad = FlowsRequest {
        host: Some("web1".into()),
        ..FlowsRequest::default()
    };
    let error = client.flows(bad).next().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("`web1` cannot be used as `host` (`host` takes an IPv4"),
        "{text}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_first_analyzer_that_can_be_reached_answers() {
    let server = Server::start(services(sample())).await;
    let gone = nowhere().await;
    let client = Client::new([gone.clone(), server.address.to_string()]).unwrap();
    client.info().await.unwrap();
    assert_eq!(
        client.endpoint().to_string(),
        format!("http://{}", server.address)
    );
    server.stop().await;
    let error = Client::new([gone.clone()]).unwrap().info().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&gone), "{error}");
    assert!(matches!(
        Client::new::<&str>([]),
        Err(ClientError::Endpoint { .. })
    ));
}

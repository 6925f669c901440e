//! A WebSocket client, as programs of others are, and what all three endpoints have in common.

use std::net::SocketAddr;
use std::time::Duration;

use flowtap_topology::NodeSpec;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Message, http};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::common::{eventually, sample, services};
use crate::server::Server;

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Ws {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) response: http::Response<Option<Vec<u8>>>,
}

impl Ws {
    /// Connects as `host` with these headers beside the usual ones.
    pub(crate) async fn connect(
        address: SocketAddr,
        path: &str,
        host: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, String)> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        let usual = [
            ("X-Host-ID", host),
            ("X-Client-Type", "test"),
            ("X-Client-Protocol", "json"),
        ];
        for (name, value) in usual.iter().chain(headers) {
            let name: HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .insert(name.clone(), HeaderValue::from_str(value).unwrap());
            if value.is_empty() {
                request.headers_mut().remove(name);
            }
        }
        match timeout(PATIENCE, connect_async(request)).await.unwrap() {
            Ok((stream, response)) => Ok(Self { stream, response }),
            Err(Error::Http(response)) => {
                let (head, body) = response.into_parts();
                let body = String::from_utf8(body.unwrap_or_default()).unwrap();
                Err((head.status.as_u16(), body))
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn send(&mut self, kind: &str, uuid: &str, obj: Value) {
        let message = json!({"Namespace": "Graph", "Type": kind, "UUID": uuid, "Status": 200, "Obj": obj});
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    /// The next message; `None` when the server has closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let frame = timeout(PATIENCE, self.stream.next()).await;
            match frame.expect("a message comes in time") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    /// The type and the object of the next message.
    pub(crate) async fn told(&mut self) -> (String, Value) {
        let mut message = self.next().await.expect("the connection is up");
        assert_eq!(message["Namespace"], "Graph");
        assert_ne!(message["UUID"], "");
        (
            message["Type"].as_str().unwrap().to_owned(),
            message["Obj"].take(),
        )
    }

    /// Sends a message that is refused: status and reason.
    pub(crate) async fn refused(&mut self, kind: &str, obj: Value) -> (u64, String) {
        self.send(kind, "refused-1", obj).await;
        let message = self.next().await.unwrap();
        assert_eq!(
            (&message["Type"], &message["UUID"]),
            (&json!(format!("{kind}Reply")), &json!("refused-1"))
        );
        (
            message["Status"].as_u64().unwrap(),
            message["Obj"].as_str().unwrap().to_owned(),
        )
    }

    /// Asks for the graph.
    pub(crate) async fn sync(&mut self, request: Value) -> Value {
        self.send("SyncRequest", "sync-1", request).await;
        let message = self.next().await.unwrap();
        assert_eq!(
            (&message["Type"], &message["UUID"]),
            (&json!("SyncReply"), &json!("sync-1"))
        );
        message
    }
}

#[tokio::test]
async fn handshakes_that_are_refused() {
    let server = Server::start(services(sample())).await;
    let connect = async |path: &str, headers: &[(&str, &str)]| {
        let refused = Ws::connect(server.address, path, "a", headers).await;
        refused.map(drop).expect_err("this handshake is refused")
    };
    for (header, value, expected) in [
        (
            "X-Client-Type",
            "",
            "X-Client-Type is required, as a header or a query parameter",
        ),
        (
            "X-Client-Protocol",
            "protobuf",
            "X-Client-Protocol 'protobuf' is not spoken here, use json",
        ),
        (
            "X-Update-Policy",
            "half",
            "invalid update policy 'half', use full or partial",
        ),
        (
            "X-Persistence-Policy",
            "maybe",
            "invalid persistence policy 'maybe', use Persistent or DeleteOnDisconnect",
        ),
    ] {
        for path in ["/ws/subscriber", "/ws/publisher", "/ws/pubsub"] {
            assert_eq!(
                connect(path, &[(header, value)]).await,
                (400, expected.to_owned())
            );
        }
    }
    let (status, text) = connect("/ws/subscriber", &[("X-Gremlin-Filter", "G.Vee()")]).await;
    assert!(status == 400 && text.starts_with("column 3: "), "{text}");
    let (status, text) = connect("/ws/subscriber", &[("X-Gremlin-Filter", "G.V()")]).await;
    assert_eq!(
        (status, text.as_str()),
        (
            400,
            "Gremlin query 'G.V()' did not return a graph; end it in .SubGraph()"
        )
    );
    // Names that would make a stranger's nodes flowtap's own.
    for kind in ["agent", "api"] {
        let own = [("X-Client-Type", kind), ("X-Host-ID", "compute-1")];
        assert_eq!(connect("/ws/publisher", &own).await.0, 409);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_websocket_is_told_to_upgrade() {
    let server = Server::start(services(sample())).await;
    let url = format!("http://{}/ws/subscriber", server.address);
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert!(response.text().await.unwrap().starts_with("this is a WebSocket"));
    server.stop().await;
}

#[tokio::test]
async fn a_name_is_one_clients_until_it_goes() {
    let server = Server::start(services(sample())).await;
    let ws = Ws::connect(server.address, "/ws/publisher", "a", &[])
        .await
        .unwrap();
    assert_eq!(ws.response.headers()["x-host-id"], "compute-1");
    assert_eq!(ws.response.headers()["x-service-type"], "analyzer");
    for path in ["/ws/publisher", "/ws/pubsub"] {
        let (status, text) = Ws::connect(server.address, path, "a", &[])
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(
            (status, text.as_str()),
            (
                409,
                "a client with the X-Host-ID 'a' is connected already, choose another"
            )
        );
    }
    let _subscriber = Ws::connect(server.address, "/ws/subscriber", "a", &[])
        .await
        .unwrap();
    let _other = Ws::connect(server.address, "/ws/publisher?x-host-id=b", "", &[])
        .await
        .unwrap();
    let status = server.client().status().await.unwrap();
    assert_eq!(status.publishers.keys().collect::<Vec<_>>(), ["a", "b"]);
    let subscriber = &status.subscribers["a"];
    assert_eq!(
        (subscriber.service_type.as_str(), subscriber.addr.as_str()),
        ("test", "127.0.0.1")
    );
    assert!(subscriber.is_connected && subscriber.connect_time.ends_with('Z'));
    drop(ws);
    loop {
        match Ws::connect(server.address, "/ws/publisher", "a", &[]).await {
            Ok(_) => break,
            Err((status, _)) => assert_eq!(status, 409),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn nonsense_is_answered_and_harms_nobody() {
    let server = Server::start(services(sample())).await;
    let mut ws = Ws::connect(server.address, "/ws/pubsub", "a", &[]).await.unwrap();
    for text in ["not json", "7", "{\"Type\": 7}"] {
        ws.send_text(text).await;
        let message = ws.next().await.unwrap();
        assert_eq!(
            (&message["Type"], &message["Status"]),
            (&json!("ErrorReply"), &json!(400))
        );
    }
    ws.send_text(r#"{"Namespace": "Flow", "Type": "TableQuery", "UUID": "u"}"#)
        .await;
    let message = ws.next().await.unwrap();
    assert_eq!(message["Obj"], "namespace 'Flow' is not spoken here, use Graph");
    let (status, reason) = ws.refused("NodeFlies", json!({})).await;
    assert_eq!(
        (status, reason.as_str()),
        (400, "there is no message of type 'NodeFlies'")
    );
    let (_, reason) = ws.refused("NodeAdded", json!([1])).await;
    assert!(
        reason.starts_with("the Obj of NodeAdded is malformed: "),
        "{reason}"
    );
    // As bytes it is understood as well.
    let request = json!({"Namespace": "Graph", "Type": "SyncRequest", "UUID": "b", "Obj": null});
    ws.stream
        .send(Message::binary(request.to_string().into_bytes()))
        .await
        .unwrap();
    assert_eq!(ws.told().await.0, "SyncReply");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let server = Server::start(services(sample())).await;
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "a", &[])
        .await
        .unwrap();
    let (stopped, goodbye) = tokio::join!(server.stop(), async {
        loop {
            match timeout(PATIENCE, ws.stream.next()).await.unwrap() {
                Some(Ok(Message::Close(frame))) => break frame.unwrap(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let () = stopped;
    assert_eq!(
        (u16::from(goodbye.code), goodbye.reason.as_str()),
        (1001, "flowtap stops")
    );
}

#[tokio::test]
async fn who_does_not_answer_is_dropped() {
    let server = Server::start(services(sample())).await;
    // Nobody polls this one: it answers no ping.
    let silent = Ws::connect(server.address, "/ws/subscriber", "silent", &[])
        .await
        .unwrap();
    let mut alive = Ws::connect(server.address, "/ws/subscriber", "alive", &[])
        .await
        .unwrap();
    let client = server.client();
    let dropped = async {
        while client.status().await.unwrap().subscribers.contains_key("silent") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reading = async { while alive.next().await.is_some() {} };
    tokio::select! {
        dropped = timeout(PATIENCE, dropped) => dropped.expect("the silent one is dropped"),
        () = reading => panic!("the one that answers stays"),
    }
    let status = client.status().await.unwrap();
    assert_eq!(status.subscribers.keys().collect::<Vec<_>>(), ["alive"]);
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn who_falls_behind_is_sent_the_graph_anew() {
    let server = Server::start(services(sample())).await;
    let graph = std::sync::Arc::clone(&server.graph);
    let id = graph
        .upsert_node(NodeSpec::new(graph.host(), "device", "eth0"))
        .unwrap();
    let mut ws = Ws::connect(server.address, "/ws/subscriber", "slow", &[])
        .await
        .unwrap();
    // More than the graph keeps for those who do not read, in one go.
    let last = 40_000;
    tokio::task::spawn_blocking({
        let (graph, id) = (std::sync::Arc::clone(&graph), id.clone());
        move || {
            graph.edit(|edit| {
                for value in 0..=last {
                    edit.set_metadata(&id, "MTU", value).unwrap();
                }
            });
        }
    })
    .await
    .unwrap();
    let synced = loop {
        let (kind, obj) = ws.told().await;
        if kind == "Sync" {
            break obj;
        }
        assert_eq!(kind, "NodeUpdated");
    };
    let nodes = synced["Nodes"].as_array().unwrap();
    let node = nodes.iter().find(|node| node["ID"] == json!(id)).unwrap();
    assert_eq!(node["Metadata"]["MTU"], last);
    graph.set_metadata(&id, "MTU", 7).unwrap();
    let (kind, obj) = ws.told().await;
    assert_eq!(
        (kind.as_str(), &obj["Metadata"]["MTU"]),
        ("NodeUpdated", &json!(7))
    );
    eventually("the count", || Some(())).await;
    server.stop().await;
}

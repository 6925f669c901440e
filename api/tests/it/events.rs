//! `GET /api/v1/events`.

use std::time::Duration;

use axum::http::StatusCode;
use flowtap_topology::{Graph, LAYER2, Metadata, NodeId, NodeSpec};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::common::{get, sample, sample_router, services};
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(20);

/// One event as a browser reads it.
#[derive(Debug, PartialEq)]
struct Told {
    kind: String,
    id: String,
    data: Value,
}

/// Reads a stream as a browser does.
struct Reader {
    response: reqwest::Response,
    text: String,
    /// What a browser would send as `Last-Event-ID`.
    last_id: String,
}

impl Reader {
    async fn open(server: &Server, query: &str, last_id: &str) -> Self {
        let url = format!("http://{}/api/v1/events{query}", server.address);
        let mut request = reqwest::Client::new().get(url);
        if !last_id.is_empty() {
            request = request.header("Last-Event-ID", last_id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
            last_id: last_id.to_owned(),
        }
    }

    /// The lines up to the next empty one; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("an event comes in time").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event that a browser would hand on.
    async fn next(&mut self) -> Option<Told> {
        loop {
            let (mut kind, mut id, mut data) = (String::new(), None, None);
            for line in self.block().await?.lines() {
                match line.split_once(": ") {
                    Some(("event", value)) => value.clone_into(&mut kind),
                    Some(("id", value)) => id = Some(value.to_owned()),
                    Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                    Some(("retry", value)) => assert_eq!(value, "2000"),
                    _ => assert!(line.starts_with(':'), "{line}"),
                }
            }
            if let Some(id) = &id {
                self.last_id.clone_from(id);
            }
            if let Some(data) = data {
                let id = id.unwrap_or_default();
                return Some(Told { kind, id, data });
            }
        }
    }

    async fn told(&mut self) -> Told {
        self.next().await.expect("the stream goes on")
    }

    /// Waits until the stream has begun.
    async fn begun(&mut self) {
        let block = self.block().await.unwrap();
        let id = block.lines().find_map(|line| line.strip_prefix("id: "));
        id.expect("a stream begins with a place to go on from")
            .clone_into(&mut self.last_id);
    }

    /// The kind and the name of the node of each of the next `count` events.
    async fn names(&mut self, count: usize) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for _ in 0..count {
            let told = self.told().await;
            let name = told.data["Node"]["Metadata"]["Name"].as_str().unwrap_or("edge");
            names.push((told.kind, name.to_owned()));
        }
        names
    }
}

fn port(graph: &Graph, name: &str) -> NodeId {
    graph
        .upsert_node(NodeSpec::new(graph.host(), "device", name))
        .unwrap()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs
        .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
        .to_vec()
}

#[tokio::test]
async fn changes_as_they_happen() {
    let server = Server::start(services(sample())).await;
    let mut reader = Reader::open(&server, "", "").await;
    reader.begun().await;
    let eth0 = port(&server.graph, "eth0");
    let added = reader.told().await;
    assert_eq!(added.kind, "NodeAdded");
    assert_eq!(
        (&added.data["Node"]["ID"], &added.data["Sequence"]),
        (&json!(eth0), &json!(2))
    );
    assert!(added.id.ends_with("-2"), "{}", added.id);
    assert!(added.data["At"].is_i64());
    let owned = reader.told().await;
    assert_eq!(
        (owned.kind.as_str(), &owned.data["Edge"]["Child"]),
        ("EdgeAdded", &json!(eth0))
    );
    server.graph.set_metadata(&eth0, "MTU", 9000).unwrap();
    let updated = reader.told().await;
    assert_eq!(
        (updated.kind.as_str(), &updated.data["Node"]["Metadata"]["MTU"]),
        ("NodeUpdated", &json!(9000))
    );
    server.graph.edit(|edit| edit.remove_node(&eth0));
    assert_eq!(reader.told().await.kind, "EdgeDeleted");
    let deleted = reader.told().await;
    assert!(deleted.kind == "NodeDeleted" && deleted.data["Node"]["DeletedAt"].is_i64());
    server.stop().await;
    assert_eq!(reader.next().await, None, "a stop ends the stream");
}

#[tokio::test]
async fn who_comes_back_misses_nothing() {
    let server = Server::start(services(sample())).await;
    let mut reader = Reader::open(&server, "", "").await;
    reader.begun().await;
    // Before anything happened, it has a place to go on from.
    let place = reader.last_id.clone();
    drop(reader);
    port(&server.graph, "eth0");
    let mut reader = Reader::open(&server, "", &place).await;
    assert_eq!(
        reader.names(2).await,
        pairs([("NodeAdded", "eth0"), ("EdgeAdded", "edge")])
    );
    let place = reader.last_id.clone();
    drop(reader);
    port(&server.graph, "eth1");
    let mut reader = Reader::open(&server, "", &place).await;
    port(&server.graph, "eth2");
    let expected = [
        ("NodeAdded", "eth1"),
        ("EdgeAdded", "edge"),
        ("NodeAdded", "eth2"),
        ("EdgeAdded", "edge"),
    ];
    assert_eq!(reader.names(4).await, pairs(expected));
    server.stop().await;
}

#[tokio::test]
async fn who_comes_back_too_late_is_sent_the_graph() {
    let server = Server::start(services(sample())).await;
    port(&server.graph, "eth0");
    let mut reader = Reader::open(&server, "?snapshot=true", "").await;
    assert_eq!(reader.told().await.data, json!({"Reason": ""}));
    let first = reader.told().await;
    drop(reader);
    let eth0 = NodeId::from(first.data["Nodes"][0]["ID"].as_str().unwrap());
    server.graph.edit(|edit| {
        for value in 0..5_000 {
            edit.set_metadata(&eth0, "MTU", value).unwrap();
        }
    });
    for (forgotten, query) in [
        (first.id.as_str(), ""),
        ("17-1", ""),
        ("nonsense", ""),
        (first.id.as_str(), "?gremlin=G.V()"),
    ] {
        let mut reader = Reader::open(&server, query, forgotten).await;
        let reset = reader.told().await;
        assert_eq!(reset.kind, "reset");
        assert_eq!(
            reset.data["Reason"],
            "the last event seen is too long ago, or was before flowtap was started"
        );
        let snapshot = reader.told().await;
        assert_eq!(
            (snapshot.kind.as_str(), &snapshot.data["More"]),
            ("snapshot", &json!(false))
        );
        let nodes = snapshot.data["Nodes"].as_array().unwrap();
        assert_eq!(
            (nodes.len(), snapshot.data["Edges"].as_array().unwrap().len()),
            (2, 1)
        );
        assert!(nodes.iter().any(|node| node["Metadata"]["MTU"] == 4_999));
        assert!(
            snapshot.id.ends_with(&format!("-{}", snapshot.data["Sequence"])),
            "{snapshot:?}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_graph_comes_in_pieces_and_then_changes() {
    let server = Server::start(services(sample())).await;
    for number in 0..300 {
        port(&server.graph, &format!("eth{number}"));
    }
    let mut reader = Reader::open(&server, "?snapshot=1", "").await;
    assert_eq!(reader.told().await.kind, "reset");
    let (mut nodes, mut edges) = (0, 0);
    loop {
        let piece = reader.told().await;
        assert_eq!(piece.kind, "snapshot");
        nodes += piece.data["Nodes"].as_array().unwrap().len();
        edges += piece.data["Edges"].as_array().unwrap().len();
        let more = piece.data["More"] == true;
        assert_eq!(
            piece.id.is_empty(),
            more,
            "a part of a graph is no place to go on from"
        );
        if !more {
            break;
        }
    }
    assert_eq!((nodes, edges), (301, 300));
    port(&server.graph, "last");
    assert_eq!(reader.names(1).await, pairs([("NodeAdded", "last")]));
    server.stop().await;
}

#[tokio::test]
async fn an_expression_narrows_it() {
    let server = Server::start(services(sample())).await;
    let graph = &server.graph;
    let (eth0, eth1) = (port(graph, "eth0"), port(graph, "eth1"));
    let query = "?snapshot=true&gremlin=G.V().Has('State',%20'UP')";
    let mut reader = Reader::open(&server, query, "").await;
    assert_eq!(reader.told().await.kind, "reset");
    let snapshot = reader.told().await;
    assert_eq!(
        (&snapshot.data["Nodes"], &snapshot.data["Edges"]),
        (&json!([]), &json!([]))
    );
    graph.set_metadata(&eth0, "MTU", 1).unwrap();
    graph.set_metadata(&eth0, "State", "UP").unwrap();
    assert_eq!(reader.names(1).await, pairs([("NodeAdded", "eth0")]));
    graph.edit(|edit| {
        edit.set_metadata(&eth1, "State", "UP").unwrap();
        edit.link(&eth0, &eth1, LAYER2, Metadata::new()).unwrap();
    });
    assert_eq!(
        reader.names(2).await,
        pairs([("NodeAdded", "eth1"), ("EdgeAdded", "edge")])
    );
    let place = reader.last_id.clone();
    drop(reader);

    // Away, it misses that one leaves, and one changes.
    graph.edit(|edit| {
        edit.set_metadata(&eth1, "State", "DOWN").unwrap();
        edit.set_metadata(&eth0, "MTU", 2).unwrap();
    });
    let mut reader = Reader::open(&server, query, &place).await;
    let expected = [
        ("EdgeDeleted", "edge"),
        ("NodeDeleted", "eth1"),
        ("NodeUpdated", "eth0"),
    ];
    assert_eq!(reader.names(3).await, pairs(expected));
    server.stop().await;
}

#[tokio::test]
async fn wrong_parameters_are_told() {
    let router = sample_router();
    for (query, code) in [
        ("snapshot=perhaps", "bad-parameter"),
        ("gremlim=G.V()", "bad-parameter"),
        ("gremlin=G.Flows()", "bad-query"),
        ("gremlin=G.V(", "bad-query"),
    ] {
        let answer = get(&router, &format!("/api/v1/events?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.problem().0, code, "{query}");
    }
}

#[tokio::test]
async fn there_is_an_end_to_how_many_may_read() {
    let server = Server::start(services(sample())).await;
    let mut readers = Vec::new();
    for _ in 0..128 {
        let mut reader = Reader::open(&server, "", "").await;
        reader.begun().await;
        readers.push(reader);
    }
    let url = format!("http://{}/api/v1/events", server.address);
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 503);
    readers.pop();
    loop {
        let status = reqwest::get(&url).await.unwrap().status();
        if status == 200 {
            break;
        }
        assert_eq!(status, 503);
    }
    server.stop().await;
}

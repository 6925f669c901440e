//! `/ws/publisher` and `/ws/pubsub`.

use axum::http::StatusCode;
use flowtap_topology::{NodeId, NodeSpec};
use serde_json::{Value, json};

use crate::common::{eventually, sample, services};
use crate::server::Server;
use crate::websocket::Ws;

fn node(id: &str, more: Value) -> Value {
    let mut metadata = json!({"Name": id, "Type": "box"});
    let more = more.as_object().unwrap().clone();
    metadata.as_object_mut().unwrap().extend(more);
    json!({"ID": id, "Host": "elsewhere", "Metadata": metadata})
}

fn edge(id: &str, parent: &str, child: &str) -> Value {
    json!({"ID": id, "Parent": parent, "Child": child, "Metadata": {"RelationType": "layer2"}})
}

/// Connects, and waits until a message was carried out when asked to.
struct Publisher(Ws);

impl Publisher {
    async fn connect(server: &Server, host: &str, policy: &str) -> Self {
        let headers = [("X-Persistence-Policy", policy)];
        let ws = Ws::connect(server.address, "/ws/publisher", host, &headers).await;
        Self(ws.unwrap())
    }

    async fn publish(&mut self, kind: &str, obj: Value) {
        self.0.send(kind, "p", obj).await;
    }

    /// All that was sent has been carried out: messages are taken in order.
    async fn settled(&mut self) {
        let reply = self.0.sync(json!({})).await;
        assert_eq!(reply["Status"], 200, "{reply}");
    }
}

fn names(server: &Server) -> Vec<String> {
    let nodes = server.graph.nodes();
    let mut names: Vec<_> = nodes.iter().map(|node| node.name().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn keys_of_many_parts_are_refused() {
    let server = Server::start(services(sample())).await;
    let mut publisher = Publisher::connect(&server, "p1", "Persistent").await;
    publisher.publish("NodeAdded", node("a", json!({}))).await;
    for parts in [33, 1_000, 30_000] {
        let ops = json!([{"Type": 1, "Key": vec!["a"; parts].join("."), "Value": 5}]);
        let entries = json!({"ID": "a", "UpdatedAt": 1, "Revision": 2, "Ops": ops});
        let (status, reason) = publisher.0.refused("NodePartiallyUpdated", entries).await;
        assert!(
            status == 400 && reason.contains("more than 32 levels"),
            "{reason}"
        );
    }
    let a = server.graph.node(&"a".into()).unwrap();
    assert_eq!((a.revision, a.metadata.get("a")), (1, None));
    server.stop().await;
}

#[tokio::test]
async fn nodes_and_edges_of_another_program() {
    let server = Server::start(services(sample())).await;
    let mut publisher = Publisher::connect(&server, "p1", "Persistent").await;
    publisher
        .publish("NodeAdded", node("a", json!({"Rack": 7})))
        .await;
    publisher.publish("NodeAdded", node("b", json!({}))).await;
    publisher.publish("EdgeAdded", edge("e", "a", "b")).await;
    publisher.settled().await;
    let a = server.graph.node(&"a".into()).unwrap();
    assert_eq!(
        (&*a.origin, &*a.host, &a.metadata["Rack"]),
        ("test.p1", "elsewhere", &json!(7))
    );
    assert_eq!(
        server.graph.snapshot().edge(&"e".into()).unwrap().relation(),
        "layer2"
    );

    // As it is now: what is not said any more is gone.
    publisher
        .publish("NodeUpdated", node("a", json!({"Room": 1})))
        .await;
    let ops = json!([{"Type": 1, "Key": "ExtID.owner", "Value": "me"}, {"Type": 2, "Key": "Room"}]);
    publisher
        .publish(
            "NodePartiallyUpdated",
            json!({"ID": "a", "UpdatedAt": 1, "Revision": 3, "Ops": ops}),
        )
        .await;
    let ops = json!([{"Type": 1, "Key": "Speed", "Value": 10}]);
    publisher
        .publish("EdgePartiallyUpdated", json!({"ID": "e", "Ops": ops}))
        .await;
    publisher.settled().await;
    let a = server.graph.node(&"a".into()).unwrap();
    let expected = json!({"Name": "a", "Type": "box", "ExtID": {"owner": "me"}});
    assert_eq!(Value::Object(a.metadata.clone()), expected);
    assert_eq!(
        server.graph.snapshot().edge(&"e".into()).unwrap().metadata["Speed"],
        10
    );

    publisher.publish("EdgeDeleted", edge("e", "a", "b")).await;
    publisher.publish("NodeDeleted", json!({"ID": "b"})).await;
    publisher.settled().await;
    assert_eq!(names(&server), ["a", "compute-1"]);
    assert!(server.graph.edges().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_it_made_stays_or_goes_with_it() {
    let server = Server::start(services(sample())).await;
    let mut stays = Publisher::connect(&server, "stays", "Persistent").await;
    let mut goes = Publisher::connect(&server, "goes", "DeleteOnDisconnect").await;
    stays.publish("NodeAdded", node("a", json!({}))).await;
    stays.settled().await;
    goes.publish("NodeAdded", node("b", json!({}))).await;
    goes.publish("EdgeAdded", edge("e", "a", "b")).await;
    goes.publish("NodeAdded", node("c", json!({}))).await;
    goes.settled().await;
    assert_eq!(names(&server), ["a", "b", "c", "compute-1"]);
    drop((stays, goes));
    eventually("the end of what goes", || {
        (names(&server) == ["a", "compute-1"]).then_some(())
    })
    .await;
    assert!(server.graph.edges().is_empty());

    // Who comes back finds its own, and can take it away.
    let mut again = Publisher::connect(&server, "stays", "Persistent").await;
    again.publish("NodeDeleted", node("a", json!({}))).await;
    again.settled().await;
    assert_eq!(names(&server), ["compute-1"]);
    server.stop().await;
}

#[tokio::test]
async fn a_sync_is_all_there_is_of_it() {
    let server = Server::start(services(sample())).await;
    let mut other = Publisher::connect(&server, "other", "Persistent").await;
    other.publish("NodeAdded", node("theirs", json!({}))).await;
    other.settled().await;
    let mut publisher = Publisher::connect(&server, "p1", "Persistent").await;
    publisher.publish("NodeAdded", node("old", json!({}))).await;
    publisher
        .publish("NodeAdded", node("kept", json!({"Rack": 1})))
        .await;
    publisher.settled().await;
    let kept = server.graph.node(&"kept".into()).unwrap();
    let nodes = json!([node("kept", json!({"Rack": 2})), node("new", json!({}))]);
    publisher
        .publish(
            "Sync",
            json!({"Nodes": nodes, "Edges": [edge("e", "kept", "new")]}),
        )
        .await;
    publisher.settled().await;
    assert_eq!(names(&server), ["compute-1", "kept", "new", "theirs"]);
    assert_eq!(server.graph.edges().len(), 1);
    let now = server.graph.node(&"kept".into()).unwrap();
    assert_eq!(
        (now.created_at, now.revision),
        (kept.created_at, kept.revision + 1),
        "it is the same node"
    );

    // One that cannot be does not keep the others away.
    let all =
        json!({"Nodes": [node("fine", json!({})), {"ID": "bad"}], "Edges": [edge("x", "fine", "none")]});
    let (status, reason) = publisher.0.refused("Sync", all).await;
    assert_eq!(status, 400);
    assert!(
        reason.starts_with("2 of 3 elements were refused, the first because: a node needs"),
        "{reason}"
    );
    assert_eq!(names(&server), ["compute-1", "fine", "theirs"]);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_answered() {
    let server = Server::start(services(sample())).await;
    let mut publisher = Publisher::connect(&server, "p1", "Persistent").await;
    for (kind, obj, status, expected) in [
        (
            "NodeUpdated",
            node("none", json!({})),
            404,
            "Node 'none' not found",
        ),
        ("NodeDeleted", json!({"ID": "none"}), 404, "Node 'none' not found"),
        ("EdgeDeleted", json!({"ID": "none"}), 404, "Edge 'none' not found"),
        (
            "NodePartiallyUpdated",
            json!({"ID": "none"}),
            404,
            "Node 'none' not found",
        ),
        (
            "NodeAdded",
            json!({"ID": "a", "Metadata": {"Name": "a"}}),
            400,
            "a node needs Name and Type in Metadata, as texts that are not empty",
        ),
        (
            "EdgeAdded",
            edge("e", "none", "none"),
            400,
            "Parent node not found: no node has the id 'none'",
        ),
    ] {
        let refused = publisher.0.refused(kind, obj).await;
        assert_eq!(refused, (status, expected.to_owned()), "{kind}");
    }
    server.stop().await;
}

#[tokio::test]
async fn of_what_is_watched_more_may_be_said_but_nothing_taken() {
    let server = Server::start(services(sample())).await;
    let graph = &server.graph;
    let spec = NodeSpec::new(graph.host(), "device", "eth0").with("MTU", 1500);
    let eth0: NodeId = graph.upsert_node(spec).unwrap();
    let mut publisher = Publisher::connect(&server, "p1", "DeleteOnDisconnect").await;
    let said = json!({"ID": eth0, "Metadata": {"Name": "mine", "Type": "mine", "Rack": 7}});
    publisher.publish("NodeUpdated", said).await;
    publisher.settled().await;
    let node = graph.node(&eth0).unwrap();
    assert_eq!((node.name(), node.node_type()), (Some("eth0"), Some("device")));
    assert_eq!(
        (&node.metadata["MTU"], &node.metadata["Rack"]),
        (&json!(1500), &json!(7))
    );
    let (status, reason) = publisher.0.refused("NodeDeleted", json!({"ID": eth0})).await;
    assert_eq!(status, 400);
    assert!(reason.contains("is what flowtap sees"), "{reason}");
    let owned = json!({"ID": graph.edges()[0].id, "Metadata": {"RelationType": "mine"}});
    let (status, reason) = publisher.0.refused("EdgeUpdated", owned).await;
    assert!(
        status == 400 && reason.contains("is what flowtap sees"),
        "{reason}"
    );
    drop(publisher);
    let client = server.client();
    while !client.status().await.unwrap().publishers.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(graph.node(&eth0).is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_pubsub_client_hears_what_others_and_it_say() {
    let server = Server::start(services(sample())).await;
    let mut pubsub = Ws::connect(server.address, "/ws/pubsub", "ps", &[])
        .await
        .unwrap();
    pubsub.send("NodeAdded", "u", node("a", json!({}))).await;
    let (kind, obj) = pubsub.told().await;
    assert_eq!((kind.as_str(), &obj["Origin"]), ("NodeAdded", &json!("test.ps")));
    let mut publisher = Publisher::connect(&server, "p1", "Persistent").await;
    publisher.publish("NodeAdded", node("b", json!({}))).await;
    assert_eq!(pubsub.told().await.1["ID"], "b");
    server.stop().await;
}

#[tokio::test]
async fn a_published_change_of_a_declared_node_lasts() {
    let services = services(sample());
    let declared = services.declared.clone();
    let server = Server::start(services).await;
    let url = format!("http://{}/api/node", server.address);
    let created = reqwest::Client::new()
        .post(&url)
        .json(&node("a", json!({})))
        .send()
        .await;
    assert_eq!(created.unwrap().status(), StatusCode::CREATED);
    let mut publisher = Publisher::connect(&server, "p1", "Persistent").await;
    publisher
        .publish("NodeUpdated", node("a", json!({"Rack": 7})))
        .await;
    publisher.settled().await;
    assert_eq!(server.graph.node(&"a".into()).unwrap().metadata["Rack"], 7);
    // It is the user's still.
    assert_eq!(&*server.graph.node(&"a".into()).unwrap().origin, "api.compute-1");
    publisher.publish("NodeDeleted", json!({"ID": "a"})).await;
    publisher.settled().await;
    assert!(server.graph.node(&"a".into()).is_none());
    drop(declared);
    server.stop().await;
}

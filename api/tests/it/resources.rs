//! `/api/node`, `/api/edge`, `/api/noderule`, `/api/edgerule`, `/api/config`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use flowtap_api::router;
use flowtap_topology::{Graph, NodeSpec};
use serde_json::{Value, json};

use crate::common::{Answer, get, sample, send, services};

/// A router, and the graph behind it, which has the host and an interface `eth0` that is watched.
fn setup() -> (Router, Arc<Graph>, String) {
    let services = services(sample());
    let graph = Arc::clone(services.topology.graph());
    let eth0 = graph
        .upsert_node(NodeSpec::new(graph.host(), "device", "eth0").with("MTU", 1500))
        .unwrap();
    (router(services), graph, eth0.to_string())
}

async fn ask(router: &Router, method: Method, path: &str, body: &Value) -> Answer {
    ask_with(router, method, path, &[], body.to_string()).await
}

async fn ask_with(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request.headers_mut().unwrap().remove(*name);
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::from(body)).unwrap()).await
}

fn refusal(answer: &Answer) -> (u16, &str) {
    assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
    (answer.status.as_u16(), answer.text())
}

async fn create(router: &Router, path: &str, body: Value) -> Value {
    let answer = ask(router, Method::POST, path, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.content_type(), "application/json");
    answer.json()
}

#[tokio::test]
async fn a_nodes_life() {
    let (router, graph, eth0) = setup();
    let metadata = json!({"Name": "rack-7", "Type": "rack", "Room": {"Floor": 2}});
    let wanted =
        json!({"ID": "my-node", "Host": "dc-1", "Metadata": metadata, "CreatedAt": 5, "Revision": 1});
    let node = create(&router, "/api/node", wanted.clone()).await;
    assert_eq!((&node["ID"], &node["Host"]), (&json!("my-node"), &json!("dc-1")));
    assert_eq!(
        (&node["Metadata"], &node["Origin"]),
        (&metadata, &json!("api.compute-1"))
    );
    assert_eq!(get(&router, "/api/node/my-node").await.json(), node);

    let answer = ask(&router, Method::POST, "/api/node", &wanted).await;
    let (status, text) = refusal(&answer);
    assert_eq!(status, 409);
    assert!(text.starts_with("duplicated resource: Node 'my-node'"), "{text}");

    let patch = json!([
        {"op": "test", "path": "/Metadata/Name", "value": "rack-7"},
        {"op": "add", "path": "/Metadata/Power", "value": "A"},
        {"op": "replace", "path": "/Metadata/Room/Floor", "value": 3},
        {"op": "replace", "path": "/Metadata/Name", "value": "other"},
        {"op": "replace", "path": "/Host", "value": "elsewhere"},
    ]);
    let answer = ask(&router, Method::PATCH, "/api/node/my-node", &patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let patched = answer.json();
    let expected = json!({"Name": "rack-7", "Type": "rack", "Room": {"Floor": 3}, "Power": "A"});
    assert_eq!(
        (&patched["Metadata"], &patched["Host"]),
        (&expected, &json!("dc-1"))
    );
    assert_eq!(patched["Revision"], 2);
    let nothing = json!([{"op": "replace", "path": "/Metadata/Power", "value": "A"}]);
    let answer = ask(&router, Method::PATCH, "/api/node/my-node", &nothing).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_MODIFIED, 0));

    let all = get(&router, "/api/node").await.json();
    let mut ids: Vec<&String> = all.as_object().unwrap().keys().collect();
    ids.sort();
    let mut expected = [graph.host().to_string(), "my-node".to_owned(), eth0];
    expected.sort();
    assert_eq!(ids, expected.iter().collect::<Vec<_>>());
    assert_eq!(all["my-node"], patched);

    let answer = ask(&router, Method::DELETE, "/api/node/my-node", &json!(null)).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
    assert!(graph.node(&"my-node".into()).is_none());
    for (method, body) in [
        (Method::DELETE, json!(null)),
        (Method::PATCH, json!([])),
        (Method::GET, json!(null)),
    ] {
        let answer = ask(&router, method, "/api/node/my-node", &body).await;
        assert_eq!(refusal(&answer), (404, "Node 'my-node' not found"));
    }
}

#[tokio::test]
async fn a_node_without_id_gets_a_random_one_and_this_host() {
    let (router, ..) = setup();
    let node = create(
        &router,
        "/api/node",
        json!({"Metadata": {"Name": "a", "Type": "x"}}),
    )
    .await;
    assert_eq!(node["ID"].as_str().unwrap().len(), 36);
    assert_eq!(node["Host"], "compute-1");
}

#[tokio::test]
async fn bodies_may_be_yaml() {
    let (router, ..) = setup();
    let yaml = "ID: y\nMetadata:\n  Name: a\n  Type: x\n  MTU: 9000\n  Up: true\n  Tags: [b, c]\n";
    let headers = [("content-type", "application/yaml")];
    let answer = ask_with(&router, Method::POST, "/api/node", &headers, yaml.to_owned()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let expected = json!({"Name": "a", "Type": "x", "MTU": 9000, "Up": true, "Tags": ["b", "c"]});
    assert_eq!(answer.json()["Metadata"], expected);
    let patch = "- op: remove\n  path: /Metadata/Up\n";
    let answer = ask_with(&router, Method::PATCH, "/api/node/y", &headers, patch.to_owned()).await;
    assert_eq!(answer.json()["Metadata"].get("Up"), None);
    for wrong in ["Metadata: [", "just text", "&a [*a, *a]"] {
        let answer = ask_with(&router, Method::POST, "/api/node", &headers, wrong.to_owned()).await;
        let (status, text) = refusal(&answer);
        assert!(
            status == 400 && text.starts_with("the body is not the YAML of such a resource: "),
            "{text}"
        );
    }
}

#[tokio::test]
async fn nodes_that_lack_something_are_refused() {
    let (router, graph, _) = setup();
    let needs =
        |what: &str, needed: &str| format!("{what} needs {needed} in Metadata, as texts that are not empty");
    for (metadata, expected) in [
        (json!(null), needs("a node", "Name and Type")),
        (json!({"Name": "a"}), needs("a node", "Name and Type")),
        (json!({"Name": "a", "Type": ""}), needs("a node", "Name and Type")),
        (json!({"Name": 7, "Type": "x"}), needs("a node", "Name and Type")),
        (
            json!({"Name": "a", "Type": "netns"}),
            needs("a node of type netns", "Name and Type and Path"),
        ),
        (
            json!({"Name": "a", "Type": "ovsport"}),
            needs("a node of type ovsport", "Name and Type and UUID"),
        ),
    ] {
        let answer = ask(
            &router,
            Method::POST,
            "/api/node",
            &json!({"ID": "n", "Metadata": metadata}),
        )
        .await;
        assert_eq!(refusal(&answer), (400, expected.as_str()));
    }
    for body in ["", "7", "{\"Metadata\": 7}", "{"] {
        let answer = ask_with(&router, Method::POST, "/api/node", &[], body.to_owned()).await;
        let (status, text) = refusal(&answer);
        assert!(
            status == 400 && text.starts_with("the body is not the JSON of such a resource: "),
            "{text}"
        );
    }
    for ttl in ["soon", "-5s", "5"] {
        let body = json!({"Metadata": {"Name": "a", "Type": "x"}}).to_string();
        let answer = ask_with(
            &router,
            Method::POST,
            "/api/node",
            &[("x-resource-ttl", ttl)],
            body,
        )
        .await;
        let expected = format!("invalid ttl: `{ttl}` is no duration such as 90s, 5m or 1h30m");
        assert_eq!(refusal(&answer), (400, expected.as_str()));
    }
    assert_eq!(graph.nodes().len(), 2, "nothing was made");
}

#[tokio::test]
async fn wrong_patches_change_nothing() {
    let (router, _, eth0) = setup();
    let path = format!("/api/node/{eth0}");
    for (patch, expected) in [
        (json!({"op": "add"}), "incorrect JSON patch: "),
        (
            json!([{"op": "fly", "path": "/Metadata"}]),
            "incorrect JSON patch: ",
        ),
        (
            json!([{"op": "remove", "path": "/Metadata/none"}]),
            "applying JSON patch to resource: ",
        ),
        (
            json!([{"op": "test", "path": "/Metadata/MTU", "value": 1}]),
            "applying JSON patch to resource: ",
        ),
        (
            json!([{"op": "replace", "path": "/Metadata", "value": 7}]),
            "creating a new resource from the patched JSON body: ",
        ),
    ] {
        let answer = ask(&router, Method::PATCH, &path, &patch).await;
        let (status, text) = refusal(&answer);
        assert!(status == 400 && text.starts_with(expected), "{patch}: {text}");
    }
    assert_eq!(get(&router, &path).await.json()["Revision"], 1);
}

#[tokio::test]
async fn nobody_says_too_much() {
    let (router, graph, eth0) = setup();
    let long = "x".repeat(70_000);
    let node = json!({"ID": "n", "Metadata": {"Name": "a", "Type": "x", "Long": long}});
    let answer = ask(&router, Method::POST, "/api/node", &node).await;
    let (status, text) = refusal(&answer);
    assert_eq!(status, 400);
    assert!(text.starts_with("the metadata takes some 700"), "{text}");
    // Each copy doubles it: all of them would fill any memory.
    let copies: Vec<Value> = (0..60)
        .map(|number| json!({"op": "copy", "from": "/Metadata", "path": format!("/Metadata/{number}")}))
        .collect();
    for patch in [
        json!(copies),
        json!([{"op": "add", "path": "/Metadata/Long", "value": long}]),
    ] {
        let answer = ask(&router, Method::PATCH, &format!("/api/node/{eth0}"), &patch).await;
        let (status, text) = refusal(&answer);
        assert!(
            status == 400 && text.starts_with("the metadata takes some "),
            "{text}"
        );
    }
    let rule = json!({"Action": "update", "Query": "G.V()", "Metadata": {"Long": long}});
    let answer = ask(&router, Method::POST, "/api/noderule", &rule).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(graph.node(&eth0.as_str().into()).unwrap().revision, 1);
}

#[tokio::test]
async fn nothing_is_nested_too_deep() {
    const TOO_DEEP: &str = "the metadata has more than 32 levels of objects and lists";
    let nested = |levels: usize| (1..levels).fold(json!([]), |inner, _| json!([inner]));
    let (router, graph, eth0) = setup();
    let node = |levels| json!({"ID": "n", "Metadata": {"Name": "a", "Type": "x", "d": nested(levels)}});
    let answer = ask(&router, Method::POST, "/api/node", &node(32)).await;
    let (status, text) = refusal(&answer);
    assert!(status == 400 && text.starts_with(TOO_DEEP), "{text}");
    let answer = ask(&router, Method::POST, "/api/node", &node(31)).await;
    assert_eq!(answer.status, StatusCode::CREATED);

    // Each operation doubles the depth: without a bound for each, a few more are too deep for any stack.
    let deepest = |levels: usize| format!("/Metadata/d{}/-", "/0".repeat(levels - 1));
    let doubling = |first: usize| {
        let copies = (0..8)
            .map(|number| json!({"op": "copy", "from": "/Metadata/d", "path": deepest(first << number)}));
        let mut patch = vec![json!({"op": "add", "path": "/Metadata/d", "value": nested(first)})];
        patch.extend(copies);
        json!(patch)
    };
    for patch in [
        doubling(1),
        doubling(16),
        json!([{"op": "add", "path": "/Metadata/e", "value": nested(32)}]),
        json!([{"op": "replace", "path": "/Metadata/Name", "value": nested(100)}]),
        json!([{"op": "add", "path": "/Metadata/e", "value": nested(20)},
               {"op": "add", "path": "/Metadata/f", "value": nested(20)},
               {"op": "move", "from": "/Metadata/e", "path": format!("/Metadata/f{}/-", "/0".repeat(19))}]),
    ] {
        for id in ["n", &eth0] {
            let answer = ask(&router, Method::PATCH, &format!("/api/node/{id}"), &patch).await;
            let (status, text) = refusal(&answer);
            assert!(status == 400 && text.starts_with(TOO_DEEP), "{text}");
        }
    }
    let long_key = vec!["a"; 33].join(".");
    for metadata in [json!({ "d": nested(32) }), json!({ long_key: 1 })] {
        let rule = json!({"Action": "update", "Query": "G.V()", "Metadata": metadata});
        let answer = ask(&router, Method::POST, "/api/noderule", &rule).await;
        let (status, text) = refusal(&answer);
        assert!(status == 400 && text.starts_with(TOO_DEEP), "{text}");
    }
    for id in ["n", &eth0] {
        assert_eq!(graph.node(&id.into()).unwrap().revision, 1);
    }
}

#[tokio::test]
async fn what_is_watched_takes_more_but_does_not_go() {
    let (router, graph, eth0) = setup();
    let path = format!("/api/node/{eth0}");
    let patch = json!([{"op": "add", "path": "/Metadata/Rack", "value": "B7"}]);
    let answer = ask(&router, Method::PATCH, &path, &patch).await;
    assert_eq!(answer.json()["Metadata"]["Rack"], "B7");
    let answer = ask(&router, Method::DELETE, &path, &json!(null)).await;
    let expected = format!("node '{eth0}' is what flowtap sees or a rule makes, it goes when that goes");
    assert_eq!(refusal(&answer), (400, expected.as_str()));
    let edge = graph.edges()[0].id.to_string();
    let answer = ask(
        &router,
        Method::DELETE,
        &format!("/api/edge/{edge}"),
        &json!(null),
    )
    .await;
    let expected = format!("edge '{edge}' is what flowtap sees or a rule makes, it goes when that goes");
    assert_eq!(refusal(&answer), (400, expected.as_str()));
    assert_eq!((graph.nodes().len(), graph.edges().len()), (2, 1));
}

#[tokio::test]
async fn an_edges_life() {
    let (router, graph, eth0) = setup();
    create(
        &router,
        "/api/node",
        json!({"ID": "n", "Metadata": {"Name": "a", "Type": "x"}}),
    )
    .await;
    let wanted = json!({"ID": "e", "Parent": "n", "Child": eth0, "Metadata": {"RelationType": "layer2"}});
    let edge = create(&router, "/api/edge", wanted.clone()).await;
    assert_eq!(
        (&edge["ID"], &edge["Parent"], &edge["Child"]),
        (&json!("e"), &json!("n"), &json!(eth0))
    );
    assert_eq!(get(&router, "/api/edge/e").await.json(), edge);
    let all = get(&router, "/api/edge").await.json();
    assert_eq!((all.as_object().unwrap().len(), &all["e"]), (2, &edge));
    let answer = ask(&router, Method::POST, "/api/edge", &wanted).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);

    let patch = json!([{"op": "add", "path": "/Metadata/Speed", "value": 100}]);
    let answer = ask(&router, Method::PATCH, "/api/edge/e", &patch).await;
    assert_eq!(
        answer.json()["Metadata"],
        json!({"RelationType": "layer2", "Speed": 100})
    );
    let answer = ask(&router, Method::PATCH, "/api/edge/e", &patch).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    let patch = json!([{"op": "remove", "path": "/Metadata/RelationType"}]);
    let answer = ask(&router, Method::PATCH, "/api/edge/e", &patch).await;
    assert_eq!(
        refusal(&answer),
        (
            400,
            "an edge needs RelationType in Metadata, as texts that are not empty"
        )
    );

    let answer = ask(&router, Method::DELETE, "/api/edge/e", &json!(null)).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, ""));
    for method in [Method::DELETE, Method::GET] {
        let answer = ask(&router, method, "/api/edge/e", &json!(null)).await;
        assert_eq!(refusal(&answer), (404, "Edge 'e' not found"));
    }
    assert_eq!(graph.edges().len(), 1);
}

#[tokio::test]
async fn edges_that_cannot_be_are_refused() {
    let (router, graph, eth0) = setup();
    let host = graph.host().to_string();
    create(
        &router,
        "/api/node",
        json!({"ID": "n", "Metadata": {"Name": "a", "Type": "x"}}),
    )
    .await;
    for (parent, child, relation, expected) in [
        (
            "none",
            eth0.as_str(),
            "layer2",
            "Parent node not found: no node has the id 'none'".to_owned(),
        ),
        (
            eth0.as_str(),
            "none",
            "layer2",
            "Child node not found: no node has the id 'none'".to_owned(),
        ),
        (
            "n",
            eth0.as_str(),
            "ownership",
            format!("node '{eth0}' has an owner already, '{host}'; a node has one owner"),
        ),
        (
            "n",
            eth0.as_str(),
            "",
            "an edge needs RelationType in Metadata, as texts that are not empty".to_owned(),
        ),
    ] {
        let edge = json!({"Parent": parent, "Child": child, "Metadata": {"RelationType": relation}});
        let answer = ask(&router, Method::POST, "/api/edge", &edge).await;
        assert_eq!(refusal(&answer), (400, expected.as_str()));
    }
    // Deleting a node takes its edges.
    let edge = json!({"Parent": "n", "Child": eth0, "Metadata": {"RelationType": "layer2"}});
    let id = create(&router, "/api/edge", edge).await["ID"]
        .as_str()
        .unwrap()
        .to_owned();
    ask(&router, Method::DELETE, "/api/node/n", &json!(null)).await;
    let answer = get(&router, &format!("/api/edge/{id}")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rules_hold_as_long_as_they_are_there() {
    let (router, graph, eth0) = setup();
    let rule = json!({"Action": "update", "Query": "G.V().Has('Type', 'device')", "Metadata": {"Owner": "me"},
        "UUID": "not mine to choose", "Name": "n"});
    let rule = create(&router, "/api/noderule", rule).await;
    let uuid = rule["UUID"].as_str().unwrap();
    assert_eq!(
        (uuid.len(), &rule["Name"], rule.get("Problem")),
        (36, &json!("n"), None)
    );
    let owner = || {
        graph
            .node(&eth0.as_str().into())
            .unwrap()
            .metadata
            .get("Owner")
            .cloned()
    };
    assert_eq!(owner(), Some(json!("me")));
    let edges = json!({"Src": "G.V().Has('Type', 'host')", "Dst": "G.V().Has('Owner', 'me')",
        "Metadata": {"RelationType": "uses"}});
    let edge_rule = create(&router, "/api/edgerule", edges).await;
    let edge_uuid = edge_rule["UUID"].as_str().unwrap();
    assert!(graph.edges().iter().any(|edge| edge.relation() == "uses"));

    for (path, title, uuid, rule) in [
        ("noderule", "Noderule", uuid, &rule),
        ("edgerule", "Edgerule", edge_uuid, &edge_rule),
    ] {
        assert_eq!(
            get(&router, &format!("/api/{path}")).await.json(),
            json!({uuid: rule})
        );
        let one = format!("/api/{path}/{uuid}");
        assert_eq!(&get(&router, &one).await.json(), rule);
        let answer = ask(&router, Method::PATCH, &one, &json!([])).await;
        assert_eq!(
            refusal(&answer),
            (400, format!("{path} resource not updatable").as_str())
        );
        for method in [Method::PATCH, Method::GET, Method::DELETE] {
            let answer = ask(&router, method, &format!("/api/{path}/x"), &json!([])).await;
            assert_eq!(refusal(&answer), (404, format!("{title} 'x' not found").as_str()));
        }
        let answer = ask(&router, Method::DELETE, &one, &json!(null)).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, ""));
        assert_eq!(get(&router, &format!("/api/{path}")).await.json(), json!({}));
    }
    assert_eq!(owner(), None);
    assert!(!graph.edges().iter().any(|edge| edge.relation() == "uses"));
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused() {
    let (router, ..) = setup();
    for (path, rule, expected) in [
        (
            "noderule",
            json!({"Action": "create", "Metadata": {"Name": "a"}}),
            "a rule that creates a node needs Name and Type in Metadata",
        ),
        (
            "noderule",
            json!({"Action": "update", "Metadata": {"a": 1}, "Query": ""}),
            "the rule needs Query, a query that names nodes",
        ),
        (
            "edgerule",
            json!({"Src": "G.V()", "Dst": "G.V()", "Metadata": null}),
            "an edge rule needs RelationType in Metadata",
        ),
        (
            "edgerule",
            json!({"Src": "G.V()", "Dst": "", "Metadata": {"RelationType": "x"}}),
            "the rule needs Dst, a query that names nodes",
        ),
    ] {
        let answer = ask(&router, Method::POST, &format!("/api/{path}"), &rule).await;
        assert_eq!(refusal(&answer), (400, expected), "{rule}");
    }
    let rule = json!({"Action": "update", "Metadata": {"a": 1}, "Query": "G.Flows()"});
    let answer = ask(&router, Method::POST, "/api/noderule", &rule).await;
    let (status, text) = refusal(&answer);
    assert!(
        status == 400 && text.starts_with("failed to find the nodes of `G.Flows()`: column 3: "),
        "{text}"
    );
}

#[tokio::test]
async fn one_value_of_the_configuration() {
    let (router, ..) = setup();
    for (key, value) in [
        ("http.listen", json!("127.0.0.1:8082")),
        ("http", json!({"listen": "127.0.0.1:8082"})),
        ("ui.topology.favorites", json!(null)),
        ("http.listen.deeper", json!(null)),
    ] {
        let answer = get(&router, &format!("/api/config/{key}")).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, value), "{key}");
    }
}

//! What rules do, with a language of one word: `name:eth0`, `type:device`, `without:Key`, `with:Key`.

use serde_json::{Value, json};

use super::*;
use crate::{Change, Metadata, NodeSpec, OWNERSHIP};

mod overlaps;

fn select(query: &str, snapshot: &Snapshot) -> Result<Vec<NodeId>, String> {
    let (kind, word) = query.split_once(':').ok_or("expected a colon")?;
    let matches = |metadata: &Metadata| match kind {
        "name" => metadata.get("Name").is_some_and(|name| name == word),
        "type" => metadata.get("Type").is_some_and(|name| name == word),
        "with" => crate::path::get(metadata, word).is_some(),
        "without" => crate::path::get(metadata, word).is_none(),
        _ => false,
    };
    let nodes = snapshot.nodes().filter(|node| matches(&node.metadata));
    Ok(nodes.map(|node| node.id.clone()).collect())
}

struct Ruled {
    graph: Arc<Graph>,
    rules: Arc<Rules>,
}

impl Ruled {
    fn new() -> Self {
        let graph = Arc::new(Graph::new("h"));
        let rules = Arc::new(Rules::new(Arc::clone(&graph), select));
        Self { graph, rules }
    }

    fn device(&self, name: &str) -> NodeId {
        let spec = NodeSpec::new(self.graph.host(), "device", name);
        self.graph.upsert_node(spec).unwrap()
    }

    fn update(&self, uuid: &str, query: &str, metadata: Value) {
        let rule = json!({"UUID": uuid, "Action": "Update", "Query": query, "Metadata": metadata});
        let rule = serde_json::from_value(rule).unwrap();
        self.rules.put_node_rule(rule).unwrap();
    }

    fn create(&self, uuid: &str, metadata: Value) -> NodeId {
        let rule = json!({"UUID": uuid, "Action": "create", "Metadata": metadata});
        let rule: NodeRule = serde_json::from_value(rule).unwrap();
        let id = rule.created_id().unwrap();
        self.rules.put_node_rule(rule).unwrap();
        id
    }

    fn link(&self, uuid: &str, src: &str, dst: &str, relation: &str) {
        let rule = json!({"UUID": uuid, "Src": src, "Dst": dst, "Metadata": {"RelationType": relation, "Colour": "red"}});
        let rule = serde_json::from_value(rule).unwrap();
        self.rules.put_edge_rule(rule).unwrap();
    }

    fn entry(&self, id: &NodeId, path: &str) -> Option<Value> {
        crate::path::get(&self.graph.node(id)?.metadata, path).cloned()
    }

    fn edges(&self, relation: &str) -> usize {
        let edges = self.graph.edges().into_iter();
        edges.filter(|edge| edge.relation() == relation).count()
    }

    /// Applies the rules, and says how many events that made.
    fn settle(&self) -> u64 {
        let before = self.graph.snapshot().sequence();
        self.rules.apply();
        self.graph.snapshot().sequence() - before
    }
}

#[test]
fn an_update_holds_for_all_and_is_taken_back() {
    let ruled = Ruled::new();
    let eth0 = ruled.device("eth0");
    ruled.graph.set_metadata(&eth0, "Zone", "old").unwrap();
    ruled.update("u", "type:device", json!({"Zone": "dmz", "User.Owner": "net"}));
    let later = ruled.device("eth1");
    assert_eq!(ruled.settle(), 1);
    for id in [&eth0, &later] {
        assert_eq!(ruled.entry(id, "Zone"), Some(json!("dmz")));
        assert_eq!(ruled.entry(id, "User.Owner"), Some(json!("net")));
    }
    assert_eq!(ruled.settle(), 0, "at rest");
    assert!(ruled.rules.remove_node_rule("u"));
    assert!(!ruled.rules.remove_node_rule("u"));
    assert_eq!(ruled.entry(&eth0, "Zone"), Some(json!("old")));
    assert_eq!(ruled.entry(&later, "Zone"), None);
    assert_eq!(ruled.entry(&later, "User"), None);
}

#[test]
fn a_node_that_matches_no_more_is_as_it_was() {
    let ruled = Ruled::new();
    let eth0 = ruled.device("eth0");
    ruled.update("u", "name:eth0", json!({"Zone": "dmz"}));
    ruled.graph.set_metadata(&eth0, "Name", "lan0").unwrap();
    assert_eq!(ruled.settle(), 1);
    assert_eq!(ruled.entry(&eth0, "Zone"), None);
}

#[test]
fn a_rule_that_excludes_what_it_adds_comes_to_rest() {
    let ruled = Ruled::new();
    let eth0 = ruled.device("eth0");
    ruled.update("u", "without:Zone", json!({"Zone": "dmz"}));
    assert_eq!(ruled.entry(&eth0, "Zone"), Some(json!("dmz")));
    for _ in 0..3 {
        assert_eq!(ruled.settle(), 0);
        ruled.graph.set_metadata(&eth0, "MTU", 1500).unwrap();
        ruled.graph.set_metadata(&eth0, "MTU", 9000).unwrap();
    }
}

#[test]
fn of_two_rules_the_later_wins_and_the_earlier_remains() {
    let ruled = Ruled::new();
    let eth0 = ruled.device("eth0");
    ruled.update("a", "name:eth0", json!({"Zone": 1}));
    ruled.update("b", "type:device", json!({"Zone": 2}));
    assert_eq!(ruled.entry(&eth0, "Zone"), Some(json!(2)));
    assert_eq!(ruled.settle(), 0);
    ruled.rules.remove_node_rule("b");
    assert_eq!(ruled.entry(&eth0, "Zone"), Some(json!(1)));
    ruled.update("a", "name:eth0", json!({"Other": 1}));
    assert_eq!(
        ruled.entry(&eth0, "Zone"),
        None,
        "a rule that is replaced takes back, too"
    );
}

#[test]
fn what_a_watcher_writes_over_comes_back_in_the_end() {
    let ruled = Ruled::new();
    let eth0 = ruled.device("eth0");
    ruled.update("u", "name:eth0", json!({"MTU": 1}));
    ruled.graph.set_metadata(&eth0, "MTU", 1500).unwrap();
    assert_eq!(ruled.settle(), 1);
    assert_eq!(ruled.entry(&eth0, "MTU"), Some(json!(1)), "the rule holds");
    ruled.rules.remove_node_rule("u");
    assert_eq!(ruled.entry(&eth0, "MTU"), Some(json!(1500)));
}

#[test]
fn a_created_node_is_there_as_long_as_a_rule_wants_it() {
    let ruled = Ruled::new();
    let tor = ruled.create("a", json!({"Name": "TOR1", "Type": "fabric"}));
    assert_eq!(ruled.create("b", json!({"Name": "TOR1", "Type": "fabric"})), tor);
    assert_eq!(ruled.entry(&tor, "TID"), Some(json!(tor.as_str())));
    assert_eq!(ruled.entry(&tor, "Probe"), Some(json!("fabric")));
    ruled.update("u", "name:TOR1", json!({"Rack": 7}));
    assert_eq!(ruled.entry(&tor, "Rack"), Some(json!(7)));
    assert_eq!(ruled.settle(), 0);
    ruled.rules.remove_node_rule("a");
    assert!(ruled.graph.node(&tor).is_some());
    ruled.graph.edit(|edit| edit.remove_node(&tor));
    ruled.rules.apply();
    assert_eq!(ruled.entry(&tor, "Rack"), Some(json!(7)), "it is made again");
    ruled.rules.remove_node_rule("b");
    assert!(ruled.graph.node(&tor).is_none());
    assert_eq!(ruled.graph.nodes().len(), 1);
}

#[test]
fn edges_link_every_match_now_and_later() {
    let ruled = Ruled::new();
    ruled.create("t", json!({"Name": "TOR1", "Type": "switch"}));
    let eth0 = ruled.device("eth0");
    ruled.device("eth1");
    ruled.update("u", "name:eth0", json!({"Uplink": true}));
    ruled.link("e", "type:switch", "type:device", "layer2");
    ruled.link("f", "type:switch", "with:Uplink", "uplink");
    assert_eq!((ruled.edges("layer2"), ruled.edges("uplink")), (2, 1));
    ruled.device("eth2");
    ruled.rules.apply();
    assert_eq!(ruled.edges("layer2"), 3);
    assert_eq!(ruled.settle(), 0);
    ruled.graph.edit(|edit| edit.remove_node(&eth0));
    ruled.rules.apply();
    assert_eq!((ruled.edges("layer2"), ruled.edges("uplink")), (2, 0));
    let colour = ruled
        .graph
        .edges()
        .into_iter()
        .find(|edge| edge.relation() == "layer2");
    assert_eq!(colour.unwrap().metadata["Colour"], "red");
    assert!(ruled.rules.remove_edge_rule("e"));
    assert!(!ruled.rules.remove_edge_rule("e"));
    assert_eq!(ruled.edges("layer2"), 0);
}

#[test]
fn a_watchers_edge_is_not_a_rules_to_take() {
    let ruled = Ruled::new();
    let eth0 = ruled.device("eth0");
    let host = ruled.graph.host().clone();
    ruled.graph.link(&host, &eth0, "layer2", Metadata::new()).unwrap();
    ruled.link("e", "type:host", "type:device", "layer2");
    ruled.rules.remove_edge_rule("e");
    assert_eq!(ruled.edges("layer2"), 1);

    ruled.create("t", json!({"Name": "TOR1", "Type": "switch"}));
    ruled.link("o", "type:switch", "type:device", OWNERSHIP);
    let problem = ruled.rules.problem("o").unwrap();
    assert_eq!(
        problem,
        RuleError::Owned {
            child: eth0.clone(),
            owner: host.clone()
        }
    );
    assert_eq!(ruled.graph.snapshot().owner(&eth0).unwrap().id, host);
    ruled.link("p", "type:host", "type:switch", OWNERSHIP);
    assert_eq!(ruled.rules.problem("p"), None);
    assert_eq!(ruled.edges(OWNERSHIP), 2);
}

#[test]
fn a_wrong_rule_is_refused_with_a_reason() {
    let ruled = Ruled::new();
    let node = |rule: Value| {
        let rule = serde_json::from_value(rule).unwrap();
        ruled.rules.put_node_rule(rule).unwrap_err().to_string()
    };
    let edge = |rule: Value| {
        let rule = serde_json::from_value(rule).unwrap();
        ruled.rules.put_edge_rule(rule).unwrap_err().to_string()
    };
    assert_eq!(
        node(json!({"Action": "create", "Metadata": {"Name": "x"}})),
        "a rule that creates a node needs Name and Type in Metadata"
    );
    assert_eq!(
        node(json!({"Action": "update", "Query": "nonsense", "Metadata": {"a": 1}})),
        "failed to find the nodes of `nonsense`: expected a colon"
    );
    assert_eq!(
        node(json!({"Action": "update", "Metadata": {"a": 1}})),
        "the rule needs Query, a query that names nodes"
    );
    assert_eq!(
        edge(json!({"Src": "name:a", "Dst": "name:b"})),
        "an edge rule needs RelationType in Metadata"
    );
    assert_eq!(
        edge(json!({"Src": "name:a", "Dst": "b", "Metadata": {"RelationType": "layer2"}})),
        "failed to find the nodes of `b`: expected a colon"
    );
    let action: Result<NodeRule, _> = serde_json::from_value(json!({"Action": "destroy"}));
    assert!(
        action
            .unwrap_err()
            .to_string()
            .contains("Action must be create or update")
    );
    assert_eq!(ruled.settle(), 0, "nothing of them stays");
}

#[test]
fn a_rule_that_would_link_too_much_links_nothing() {
    let ruled = Ruled::new();
    for number in 0..101 {
        ruled.device(&format!("eth{number}"));
    }
    ruled.link("e", "type:device", "type:device", "layer2");
    assert_eq!(
        ruled.rules.problem("e"),
        Some(RuleError::TooManyEdges { src: 101, dst: 101 })
    );
    assert_eq!(ruled.edges("layer2"), 0);
    let last = ruled.graph.snapshot();
    let last = last.nodes().find(|node| node.name() == Some("eth100")).unwrap();
    ruled.graph.edit(|edit| edit.remove_node(&last.id));
    ruled.rules.apply();
    assert_eq!(ruled.rules.problem("e"), None);
    assert_eq!(ruled.edges("layer2"), 100 * 99, "none with itself");
}

#[tokio::test]
async fn rules_follow_the_graph_and_come_to_rest() {
    let ruled = Ruled::new();
    ruled.update("u", "type:device", json!({"Zone": "dmz"}));
    let rules = Arc::clone(&ruled.rules);
    let following = tokio::spawn(async move { rules.follow().await });
    let (_, mut events) = ruled.graph.subscribe();
    let eth0 = ruled.device("eth0");
    loop {
        let event = events.next().await.unwrap();
        if matches!(&event.change, Change::NodeUpdated { node, .. } if node.metadata.contains_key("Zone")) {
            break;
        }
    }
    assert_eq!(ruled.entry(&eth0, "Zone"), Some(json!("dmz")));
    following.abort();
    assert!(following.await.unwrap_err().is_cancelled());
}

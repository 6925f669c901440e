//! What an expression would capture, and why not, in words.

use flowtap_topology::{Metadata, NodeSpec};
use serde_json::json;

use crate::support::{Lab, until};

/// A host with a namespace, a bridge, and some interfaces as Open vSwitch has them.
fn lab() -> Lab {
    let lab = Lab::new();
    let host = lab.graph.host().clone();
    let eth0 = lab.interface("eth0", 2);
    let tap = lab.interface("tap1", 3);
    lab.set(
        &tap,
        "ExtID",
        json!({"iface-id": "p1", "attached-mac": "fa:16:3e:00:00:01"}),
    );
    let down = lab.interface("tap2", 4);
    lab.set(&down, "LinkFlags", json!([]));
    let blue = lab.namespace("blue");
    lab.interface_of(&blue, "eth0", 2);
    let bridge = NodeSpec::new(&host, "ovsbridge", "br-int").with("UUID", "b");
    let bridge = lab.graph.upsert_node(bridge).unwrap();
    lab.graph.link(&bridge, &eth0, "layer2", Metadata::new()).unwrap();
    lab
}

#[test]
fn why_nothing_is_named() {
    let lab = lab();
    let golden = [
        (
            "G.V().HasKey('ExtID.vm-id')",
            "the expression matches none of 7 nodes: no node has ExtID.vm-id; nearest is veth tap1: \
             it has no ExtID.vm-id, its ExtID has attached-mac, iface-id",
        ),
        (
            "G.V().Has('Name', 'eth9')",
            "the expression matches none of 7 nodes: Has('Name', 'eth9') leaves none of 7 nodes; nearest is \
             veth eth0: Name is 'eth0', not 'eth9'",
        ),
        (
            "G.V().Has('Name', 'eth0', 'Type', 'tun')",
            "the expression matches none of 7 nodes: Has('Name', 'eth0', 'Type', 'tun') leaves none of 7 nodes \
             ('Name', 'eth0' holds for 2, 'Type', 'tun' holds for 0); nearest is veth eth0: Type is 'veth', \
             not 'tun'",
        ),
        (
            "G.V().Has('Name', 'eth0').Has('IfIndex', GT(7))",
            "the expression matches none of 7 nodes: Has('IfIndex', GT(7)) leaves none of 2 nodes; nearest is \
             veth eth0: IfIndex is '2', which is not GT(7)",
        ),
        (
            "G.V().Has('Type', 'veth').HasNot('IfIndex')",
            "the expression matches none of 7 nodes: HasNot('IfIndex') leaves none of 4 nodes; nearest is \
             veth eth0: it has IfIndex",
        ),
        (
            "G.V().Has('TID', '07ec5ad5-0000-0000-0000-000000000000')",
            "the expression matches none of 7 nodes: Has('TID', '07ec5ad5-0000-0000-0000-000000000000') leaves \
             none of 7 nodes",
        ),
        (
            "G.V().Has('Name', 'eth0').Out()",
            "the expression matches none of 7 nodes: Out() leaves none of 2 nodes",
        ),
        (
            "G.V().Has('Name', 'tap1').ShortestPathTo(Metadata('Name', 'tap2'), Metadata('RelationType', 'layer2'))",
            "the expression matches none of 7 nodes: ShortestPathTo(Metadata('Name', 'tap2'), \
             Metadata('RelationType', 'layer2')) leaves none of 1 nodes; nearest is",
        ),
    ];
    for (gremlin, expected) in golden {
        let explanation = lab.captures.explain(gremlin, "").unwrap();
        assert_eq!((explanation.matched, explanation.total), (0, 7), "{gremlin}");
        if expected.ends_with("nearest is") {
            continue;
        }
        let summary = &explanation.summary;
        // There are two of that name.
        let summary = summary.replace(" in blue:", ":");
        assert_eq!(summary, expected, "{gremlin}");
        // A capture says the same.
        let id = lab.create(gremlin);
        until(gremlin, || lab.get(&id).reason == explanation.summary);
    }
}

#[test]
fn what_is_named_and_what_would_become_of_it() {
    let lab = lab();
    let explanation = lab
        .captures
        .explain("g.v().has('Name', Regex('tap.*|br-int|blue'))", "")
        .unwrap();
    let mut document = serde_json::to_value(&explanation).unwrap();
    for node in document["Nodes"].as_array_mut().unwrap() {
        let node = node.as_object_mut().unwrap();
        assert!(node.remove("NodeID").is_some() && node.remove("NodeTID").is_some());
    }
    document.as_object_mut().unwrap().remove("NearMisses");
    assert_eq!(
        document,
        json!({
            "GremlinQuery": "G.V().Has('Name', Regex('tap.*|br-int|blue'))",
            "Summary": "the expression matches 4 of 7 nodes; 2 would be captured at once",
            "Total": 7,
            "Matched": 4,
            "Ready": 2,
            "Nodes": [
                {"Name": "blue", "NodeType": "netns", "Ready": false,
                 "Reason": "nothing can be captured on nodes of type netns"},
                {"Name": "br-int", "NodeType": "ovsbridge", "Ready": false, "Type": "ovssflow",
                 "TypeReason": "automatic for a node of type ovsbridge: the switch samples what passes through the bridge, whichever the port",
                 "Reason": "this version of flowtap lacks capture type ovssflow"},
                {"Name": "tap1", "NodeType": "veth", "Ready": true, "Type": "afpacket",
                 "TypeReason": "automatic for a node of type veth: it sees each packet from the first, and waits for no interface to be up"},
                {"Name": "tap2", "NodeType": "veth", "Ready": true, "Type": "afpacket",
                 "TypeReason": "automatic for a node of type veth: it sees each packet from the first, and waits for no interface to be up"},
            ],
            "Steps": [
                {"Step": "V()", "Column": 3, "Of": "nodes", "Count": 7},
                {"Step": "Has('Name', Regex('tap.*|br-int|blue'))", "Column": 7, "Of": "nodes", "Count": 4},
            ],
        })
    );
    let pcap = lab
        .captures
        .explain("G.V().Has('Name', Regex('tap.*|br-int'))", "pcap")
        .unwrap();
    let reasons: Vec<_> = pcap.nodes.iter().map(|node| node.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "Capture type pcap not allowed on this node type: ovsbridge",
            "",
            "the interface is down"
        ]
    );
    *lab.log.unsupported.lock().unwrap() = Some("it needs CAP_NET_RAW".into());
    let lacking = lab.captures.explain("G.V().Has('Name', 'tap1')", "").unwrap();
    assert_eq!(
        lacking.nodes[0].reason,
        "capture type afpacket can't run: it needs CAP_NET_RAW"
    );
}

#[test]
fn near_misses_come_nearest_first() {
    let lab = lab();
    let explanation = lab
        .captures
        .explain("G.V().Has('Name', 'eth0', 'Type', 'veth').Has('IfIndex', 3)", "")
        .unwrap();
    let misses: Vec<_> = explanation
        .near_misses
        .iter()
        .map(|miss| (miss.node.name.as_str(), miss.why.as_str()))
        .collect();
    assert_eq!(
        misses,
        [
            ("eth0", "IfIndex is '2', not '3'"),
            ("eth0", "IfIndex is '2', not '3'"),
            ("tap1", "Name is 'tap1', not 'eth0'"),
            ("tap2", "Name is 'tap2', not 'eth0'; IfIndex is '4', not '3'"),
        ]
    );
    let namespaces: Vec<_> = explanation.near_misses[..2]
        .iter()
        .map(|miss| miss.node.namespace.as_str())
        .collect();
    assert!(namespaces.contains(&"blue") && namespaces.contains(&""));
}

#[test]
fn near_misses_are_those_of_the_step_that_leaves_nothing() {
    let lab = lab();
    let misses = |gremlin: &str| {
        let explanation = lab.captures.explain(gremlin, "").unwrap();
        let misses = explanation.near_misses.into_iter();
        let mut misses: Vec<_> = misses.map(|miss| (miss.node.name, miss.why)).collect();
        misses.sort();
        (explanation.matched, misses)
    };
    let expected = |misses: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = |(name, why): &(&str, &str)| ((*name).to_owned(), (*why).to_owned());
        misses.iter().map(owned).collect()
    };
    let of_blue = expected(&[("eth0", "Name is 'eth0', not 'eth1'")]);
    let query = "G.V().Has('Name', 'blue').Out('Name', 'eth1')";
    assert_eq!(misses(query), (0, of_blue.clone()));
    let query = "G.V().Has('Name', 'blue').Out().Has('Name', 'eth1')";
    assert_eq!(misses(query), (0, of_blue.clone()));
    let query = "G.V().Has('Name', 'blue').OutE('RelationType', 'ownership').OutV('Name', 'eth1')";
    assert_eq!(misses(query), (0, of_blue));
    // Nothing is there to be asked.
    for query in [
        "G.V().Has('Name', 'tap1').Out('Name', 'eth1')",
        "G.V().Has('Name', 'tap1').OutE('RelationType', 'x').OutV('Name', 'eth1')",
    ] {
        assert_eq!(misses(query), (0, Vec::new()), "{query}");
    }
    let query = "G.V().Has('Name', 'bleu').Out('Name', 'eth0')";
    let blue = expected(&[("blue", "Name is 'blue', not 'bleu'")]);
    assert_eq!(misses(query), (0, blue));
    // Who is named is no miss, whatever it is that it does not meet.
    let query = "G.V().Has('Name', 'br-int').Both('Name', Regex('eth.*'))";
    let (matched, missed) = misses(query);
    assert_eq!(
        (matched, missed.iter().any(|(name, _)| name == "eth0")),
        (1, false)
    );
}

#[test]
fn what_cannot_be_declared_is_not_explained() {
    let lab = lab();
    for (gremlin, kind, begins) in [
        ("G.V(", "", "Not a valid Gremlin expression: column "),
        ("G.Flows()", "", "Not a valid Gremlin expression: column 3"),
        ("G.V()", "frob", "Not a valid capture type: frob"),
    ] {
        let error = lab.captures.explain(gremlin, kind).unwrap_err().to_string();
        assert!(error.starts_with(begins), "{error}");
    }
}

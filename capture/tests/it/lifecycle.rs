//! Nodes come, go and change under a capture.

use std::time::Duration;

use flowtap_capture::{EventKind, FirstPackets, NewCapture, NodeState, State};
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::{Metadata, NodeSpec, OWNERSHIP};
use serde_json::{Value, json};

use crate::support::{Lab, until, veth, words};

#[test]
fn a_capture_waits_for_its_node_and_says_what_it_does_there() {
    let lab = Lab::new();
    let new = NewCapture {
        name: "boot".into(),
        bpf_filter: "icmp".into(),
        header_size: 96,
        ..NewCapture::new("G.V().HasKey('ExtID.vm-id')")
    };
    let id = lab.declare(new).unwrap().uuid;
    until("the reason", || lab.get(&id).reason.contains("no node has"));
    let capture = lab.get(&id);
    assert_eq!(
        capture.reason,
        "the expression matches none of 1 node: no node has ExtID.vm-id"
    );
    assert_eq!((capture.state, capture.count), (State::Waiting, 0));

    let tap = lab.interface("tap1", 7);
    lab.set(&tap, "ExtID", json!({"vm-id": "0815"}));
    let capture = lab.until_state(&id, "active");
    until("the first packet", || {
        words(&lab.get(&id)).contains(&EventKind::FirstPacket)
    });
    assert_eq!((capture.count, capture.reason.as_str()), (1, ""));
    let [node] = capture.nodes.as_slice() else {
        panic!("{:?}", capture.nodes)
    };
    assert_eq!(
        (node.name.as_str(), node.node_id.as_str()),
        ("tap1", tap.as_str())
    );
    assert_eq!(
        (node.r#type.as_str(), node.type_reason.as_str()),
        (
            "afpacket",
            "automatic for a node of type veth: it sees each packet from the first, and waits for no interface to be up"
        )
    );
    assert_eq!((node.state, node.reason.as_str()), (NodeState::Active, ""));
    assert!(node.start_delay_ms.is_some());

    let [opened] = <[_; 1]>::try_from(lab.log.opened()).unwrap();
    assert_eq!((opened.interface.index, opened.interface.is_up), (7, true));
    assert_eq!((opened.filter.as_deref(), opened.snaplen), (Some("icmp"), 96));

    until("the list at the node", || !lab.written(&tap).is_null());
    let expected = json!([{
        "ID": id, "Name": "boot", "State": "active", "BPFFilter": "icmp", "Type": "afpacket",
    }]);
    assert_eq!(lab.written(&tap), expected);

    let capture = lab.get(&id);
    assert_eq!(
        words(&capture),
        [
            EventKind::Created,
            EventKind::Matched,
            EventKind::Starting,
            EventKind::Capturing,
            EventKind::FirstPacket
        ]
    );
    let ledger = &capture.ledger;
    assert_eq!((ledger.received, ledger.kept), (1, 1));
    assert_eq!(capture.nodes[0].ledger, *ledger);
    assert_eq!(lab.captures.start_delays().count(), 1);

    // Counters come to the node by themselves, and are no piece of its history.
    let revision = lab.graph.node(&tap).unwrap().revision;
    until("the counters", || {
        let node = lab.graph.node(&tap).unwrap();
        node.metadata["Captures"][0]["PacketsReceived"] == json!(1)
    });
    assert_eq!(lab.graph.node(&tap).unwrap().revision, revision);

    lab.captures.delete(&id).unwrap();
    lab.until_open(&[]);
    until("the end at the node", || lab.written(&tap) == Value::Null);
    assert!(lab.captures.get(&id).is_none());
    until("the end of the log", || {
        let events = lab.captures.events(&id).unwrap();
        let words: Vec<_> = events.iter().map(|event| event.event).skip(5).collect();
        words == [EventKind::Deleted, EventKind::Stopped, EventKind::Unmatched]
    });
}

#[test]
fn a_node_that_is_made_anew_is_another_one() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Name', 'eth0')");
    let node = lab.interface("eth0", 7);
    lab.until_state(&id, "active");
    // Both at once, and with the same index: nothing but the events tells.
    let again = lab.graph.edit(|edit| {
        edit.remove_node(&node);
        let host = lab.graph.host().clone();
        edit.upsert_node(veth(&host, "eth0", 7)).unwrap()
    });
    assert_eq!(again, node);
    until("another source", || lab.log.opened().len() == 2);
    until("the list at the new node", || !lab.written(&node).is_null());
    lab.until_open(&["eth0"]);
    // And one after another.
    lab.remove(&node);
    lab.until_open(&[]);
    let capture = lab.until_state(&id, "waiting");
    assert!(capture.nodes.is_empty());
    lab.interface("eth0", 8);
    let capture = lab.until_state(&id, "active");
    assert_eq!(lab.log.places(), [(String::new(), 8)]);
    // What was counted at nodes that are gone stays counted.
    until("three packets", || lab.get(&id).ledger.kept == 3);
    assert_eq!(capture.count, 1);
}

#[test]
fn another_index_is_another_interface() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Name', 'eth0')");
    let node = lab.interface("eth0", 7);
    lab.until_state(&id, "active");
    lab.set(&node, "IfIndex", 9);
    until("the other interface", || lab.log.places() == [(String::new(), 9)]);
}

#[test]
fn a_renamed_node_is_read_on_under_its_new_name() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Type', 'veth')");
    let node = lab.interface("eth0", 7);
    let before = lab.until_state(&id, "active").nodes[0].node_tid.clone();
    until("its first look", || lab.log.tids.lock().unwrap().len() == 1);
    lab.set(&node, "Name", "lan0");
    until("the new name", || lab.get(&id).nodes[0].name == "lan0");
    let after = &lab.get(&id).nodes[0];
    assert_ne!(after.node_tid, before);
    assert_eq!(
        after.node_tid,
        lab.graph.node(&node).unwrap().tid().unwrap().as_str()
    );
    assert_eq!(lab.log.opened().len(), 1);
    lab.log.receive("eth0");
    until("a packet under the new TID", || {
        lab.log.tids.lock().unwrap().len() == 2
    });
    assert_eq!(*lab.log.tids.lock().unwrap(), [before, after.node_tid.clone()]);
    // Where the name was what it was picked by, it is picked no more.
    let by_name = lab.create("G.V().Has('Name', 'lan0')");
    lab.until_state(&by_name, "active");
    lab.set(&node, "Name", "eth0");
    lab.until_state(&by_name, "waiting");
    lab.until_open(&["eth0"]);
}

#[test]
fn an_interface_that_moves_is_followed_into_its_namespace() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Name', 'eth0')");
    let node = lab.interface("eth0", 7);
    lab.until_state(&id, "active");
    let blue = lab.namespace("blue");
    // The other namespace may tell of it first.
    lab.interface_of(&blue, "eth0", 2);
    let capture = lab.until_state(&id, "active");
    until("both", || lab.log.places().len() == 2);
    assert!(capture.nodes.len() <= 2);
    lab.remove(&node);
    until("the new place alone", || {
        lab.log.places() == [("/run/netns/blue".to_owned(), 2)]
    });
    until("one node", || lab.get(&id).nodes.len() == 1);
    assert_eq!(lab.get(&id).nodes[0].namespace, "blue");
}

#[test]
fn pcap_waits_until_the_interface_is_up() {
    let lab = Lab::new();
    let id = lab.create_type("G.V().Has('Name', 'eth0')", "pcap");
    let host = lab.graph.host().clone();
    let spec = NodeSpec::new(&host, "veth", "eth0")
        .with("IfIndex", 7)
        .with("State", "DOWN");
    let node = lab.graph.upsert_node(spec).unwrap();
    until("the node", || lab.get(&id).nodes.len() == 1);
    let capture = lab.get(&id);
    assert_eq!(
        (capture.state, capture.reason.as_str()),
        (State::Waiting, "eth0: the interface is down")
    );
    lab.set(&node, "State", "UP");
    lab.until_state(&id, "active");
    // Down again: the source decides whether it can go on.
    lab.set(&node, "State", "DOWN");
    lab.log.end("eth0");
    let capture = lab.until_state(&id, "waiting");
    assert_eq!(capture.reason, "eth0: the interface is down");
    lab.set(&node, "State", "UP");
    lab.until_state(&id, "active");
    assert_eq!(lab.log.opened().len(), 2);
}

#[test]
fn what_fails_is_told_and_tried_again() {
    let lab = Lab::new();
    lab.log
        .broken
        .lock()
        .unwrap()
        .insert("eth0".into(), "no rights".into());
    let id = lab.create("G.V().Has('Type', 'veth')");
    let node = lab.interface("eth0", 7);
    let capture = lab.until_state(&id, "error");
    assert_eq!(capture.reason, "eth0: not a valid BPF expression: no rights");
    until("the error at the node", || {
        lab.written(&node)[0]["Error"] == "not a valid BPF expression: no rights"
    });
    assert_eq!(lab.written(&node)[0]["State"], "error");
    assert_eq!(capture.count, 0);

    lab.interface("eth1", 8);
    let capture = lab.until_state(&id, "partial");
    assert_eq!(
        capture.reason,
        "active on 1 of 2 nodes; eth0: not a valid BPF expression: no rights"
    );
    assert_eq!(capture.count, 1);
    // By itself, and what was an error in the log is told once, not at each try.
    until("more tries", || lab.log.opened().len() >= 4);
    let errors = words(&lab.get(&id))
        .into_iter()
        .filter(|word| *word == EventKind::Error);
    assert!(errors.count() < lab.log.opened().len());
    lab.log.broken.lock().unwrap().clear();
    // The node's next change is reason enough.
    lab.set(&node, "MTU", 1400);
    lab.until_state(&id, "active");
    until("no error at the node", || {
        lab.written(&node)[0]["State"] == "active"
    });
}

#[test]
fn a_source_that_ends_by_itself_is_opened_again() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Name', 'eth0')");
    lab.interface("eth0", 7);
    lab.until_state(&id, "active");
    lab.log.end("eth0");
    until("another source", || lab.log.opened().len() == 2);
    lab.until_state(&id, "active");
    let capture = lab.get(&id);
    let stopped = capture
        .events
        .iter()
        .find(|event| event.event == EventKind::Stopped);
    assert_eq!(stopped.unwrap().detail, "its source has ended");
}

#[test]
fn a_collector_that_panics_is_an_error_of_its_node() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Type', 'veth')");
    lab.interface("boom", 6);
    let capture = lab.until_state(&id, "error");
    assert_eq!(capture.reason, "boom: it panicked, which is a fault of flowtap");
    lab.interface("eth0", 7);
    lab.until_state(&id, "partial");
}

#[test]
fn two_captures_share_a_node_where_their_type_can() {
    let lab = Lab::new();
    let node = lab.interface("eth0", 7);
    let all = lab.create("G.V().Has('Name', 'eth0')");
    let some = lab
        .declare(NewCapture {
            bpf_filter: "icmp".into(),
            ..NewCapture::new("G.V().Has('Name', 'eth0')")
        })
        .unwrap()
        .uuid;
    lab.until_state(&all, "active");
    lab.until_state(&some, "active");
    lab.until_open(&["eth0", "eth0"]);
    until("both at the node", || {
        lab.written(&node).as_array().map(Vec::len) == Some(2)
    });
    assert_eq!((lab.get(&all).count, lab.get(&some).count), (1, 1));

    let first = lab.create_type("G.V().Has('Name', 'eth0')", "pcapsocket");
    let capture = lab.until_state(&first, "active");
    let address = capture.pcap_socket.clone();
    assert!(address.starts_with("127.0.0.1:81"), "{address}");
    until("its address at the node", || {
        lab.written(&node)
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["PCAPSocket"] == *address)
    });
    let second = lab.create_type("G.V().Has('IfIndex', 7)", "pcapsocket");
    until("the other one in the way", || {
        lab.get(&second).reason.contains("runs once")
    });
    let capture = lab.get(&second);
    assert_eq!(
        capture.reason,
        format!("eth0: pcapsocket runs once on a node, and capture {first} has it there")
    );
    assert_eq!(capture.state, State::Waiting);
    lab.captures.delete(&first).unwrap();
    lab.until_state(&second, "active");
}

#[test]
fn each_node_of_a_path_is_captured_while_the_path_is_there() {
    let lab = Lab::new();
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, index)| lab.interface(name, index));
    lab.graph.link(&a, &b, "layer2", Metadata::new()).unwrap();
    let gremlin =
        "G.V().Has('Name', 'a').ShortestPathTo(Metadata('Name', 'c'), Metadata('RelationType', 'layer2'))";
    let id = lab.create(gremlin);
    let capture = lab.until_state(&id, "waiting");
    until("the reason", || lab.get(&id).reason.contains("ShortestPathTo"));
    assert_eq!(capture.count, 0);
    let edge = lab.graph.link(&b, &c, "layer2", Metadata::new()).unwrap();
    lab.until_open(&["a", "b", "c"]);
    lab.until_state(&id, "active");
    assert!(lab.graph.edit(|edit| edit.unlink(&edge)));
    lab.until_open(&[]);
    lab.until_state(&id, "waiting");
    lab.graph.link(&b, &c, "layer2", Metadata::new()).unwrap();
    lab.until_open(&["a", "b", "c"]);
    lab.remove(&b);
    lab.until_open(&[]);
}

#[test]
fn a_type_that_does_not_go_with_a_node_is_told_and_harms_no_other() {
    let lab = Lab::new();
    let host = lab.graph.host().clone();
    let bridge = NodeSpec::new(&host, "ovsbridge", "br0").with("UUID", "b");
    lab.graph.upsert_node(bridge).unwrap();
    let id = lab.create_type("G.V().Has('Name', 'br0')", "pcap");
    let capture = lab.until_state(&id, "error");
    assert_eq!(
        capture.reason,
        "br0: Capture type pcap not allowed on this node type: ovsbridge"
    );
    let interface = NodeSpec::new(&host, "internal", "br0")
        .with("IfIndex", 3)
        .with("State", "UP");
    lab.graph.upsert_node(interface).unwrap();
    let capture = lab.until_state(&id, "active");
    assert_eq!((capture.count, capture.reason.as_str()), (1, ""));
    assert_eq!(capture.nodes.len(), 2);
    // By node, the bridge would have a type that nobody offers here.
    let automatic = lab.create("G.V().Has('Name', 'br0')");
    let capture = lab.until_state(&automatic, "partial");
    assert_eq!(
        capture.reason,
        "active on 1 of 2 nodes; br0: this version of flowtap lacks capture type ovssflow"
    );
    let hosts = lab.create("G.V().Has('Type', 'host')");
    until("the reason", || !lab.get(&hosts).reason.contains("looked for"));
    let capture = lab.get(&hosts);
    assert_eq!(
        (capture.state, capture.reason.as_str()),
        (
            State::Waiting,
            "the expression matches 1 node, where nothing can be captured"
        )
    );
}

#[test]
fn nodes_of_other_hosts_and_of_nobody_wait() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Type', 'veth')");
    let node = lab.graph.edit(|edit| {
        let mut metadata = Metadata::new();
        metadata.insert("Name".into(), "far0".into());
        metadata.insert("Type".into(), "veth".into());
        metadata.insert("IfIndex".into(), 7.into());
        let far = flowtap_topology::NewNode {
            metadata: metadata.clone(),
            host: Some("there".into()),
            ..Default::default()
        };
        edit.put_node(far).unwrap();
        metadata.insert("Name".into(), "loose0".into());
        let loose = flowtap_topology::NewNode {
            metadata,
            ..Default::default()
        };
        edit.put_node(loose).unwrap()
    });
    until("both nodes", || lab.get(&id).nodes.len() == 2);
    let reasons: Vec<_> = lab.get(&id).nodes.into_iter().map(|node| node.reason).collect();
    assert_eq!(
        reasons,
        [
            "it is on host there, and this flowtap captures on here",
            "it has no TID yet, for nothing owns it"
        ]
    );
    let host = lab.graph.host().clone();
    lab.graph.link(&host, &node, OWNERSHIP, Metadata::new()).unwrap();
    lab.until_open(&["loose0"]);
}

#[test]
fn what_others_do_to_the_list_at_a_node_is_put_right() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Name', 'eth0')");
    let node = lab.interface("eth0", 7);
    lab.until_state(&id, "active");
    until("the list", || !lab.written(&node).is_null());
    let list = lab.written(&node);
    lab.graph.edit(|edit| edit.remove_key(&node, "Captures")).unwrap();
    until("the list again", || lab.written(&node) == list);
    lab.set(&node, "Captures", json!([{"ID": "foreign"}]));
    until("the list again", || lab.written(&node) == list);
    assert_eq!(lab.log.opened().len(), 1);
}

#[test]
fn packets_from_before_are_said_to_be_possible() {
    let lab = Lab::new();
    let node = lab.interface("eth0", 7);
    let appeared = lab.graph.node(&node).unwrap().created_at;
    until("a later time", || Timestamp::now().millis() > appeared);
    let id = lab.create("G.V().Has('Name', 'eth0')");
    let capture = lab.until_state(&id, "active");
    assert_eq!(capture.nodes[0].first_packets, Some(FirstPackets::Unknown));
    let capturing = lab
        .get(&id)
        .events
        .into_iter()
        .find(|event| event.event == EventKind::Capturing);
    let detail = capturing.unwrap().detail;
    assert!(
        detail.ends_with(" ms after the capture began; packets before that are possible, and are missing"),
        "{detail}"
    );
}

#[test]
fn whoever_is_late_at_the_stop_is_named() {
    let mut lab = Lab::new();
    lab.log.deaf.lock().unwrap().push("eth1".into());
    let new = NewCapture {
        name: "all".into(),
        ..NewCapture::new("G.V().Has('Type', 'veth')")
    };
    let id = lab.declare(new).unwrap().uuid;
    let node = lab.interface("eth0", 7);
    lab.interface("eth1", 8);
    until("both", || lab.get(&id).count == 2);
    let late = lab.stop(Duration::from_millis(200));
    assert_eq!(late, ["all on eth1"]);
    assert_eq!(lab.log.open(), ["eth1"]);
    assert_eq!(lab.written(&node), Value::Null);
    let capture = lab.get(&id);
    assert_eq!(
        (capture.state, capture.reason.as_str()),
        (State::Error, "eth1: its source did not end in time")
    );
}

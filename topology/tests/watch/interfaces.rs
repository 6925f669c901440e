//! One namespace and its interfaces.

use std::collections::BTreeMap;
use std::process::Command;

use flowtap_topology::{Change, Event};
use serde_json::{Value, json};

use crate::support::{Lab, Watched, eventually, interface, run};

/// Everything that is done to a namespace, one after the other.
const OPERATIONS: [&str; 41] = [
    "link set lo up",
    "link add v0 type veth peer name v1",
    "link set v0 up",
    "link set v1 up",
    "addr add 10.1.0.1/24 dev v0",
    "addr add 10.1.0.2/24 dev v0",
    "addr add 2001:db8::1/64 dev v0 nodad",
    "addr add 10.1.9.1 peer 10.1.9.2 dev v1",
    // The second address goes with the first.
    "addr del 10.1.0.1/24 dev v0",
    "addr add 10.1.0.3/24 dev v0",
    "link set v0 mtu 1400",
    "link set v0 address 02:00:00:00:00:01",
    "route add default via 10.1.0.254",
    "route add 192.0.2.0/24 via 10.1.0.253 metric 7 table 100",
    "route replace 192.0.2.0/24 via 10.1.0.252 metric 7 table 100",
    "route add 198.51.100.0/24 nexthop via 10.1.0.251 nexthop via 10.1.9.2",
    "route add 2001:db8:1::/48 via 2001:db8::2",
    "route add blackhole 203.0.113.0/24",
    "neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev v0 nud permanent",
    "neigh add 2001:db8::9 lladdr 02:00:00:00:00:09 dev v0",
    "neigh del 10.1.0.9 dev v0",
    "link add br0 type bridge",
    "link set v1 master br0",
    "link set br0 up",
    "link add mv0 link v0 type macvlan mode bridge",
    "link set mv0 up",
    "link add vx0 type vxlan id 42 remote 10.1.0.254 dev v0 dstport 4789",
    "link set vx0 master br0",
    "link set vx0 up",
    "link add ifb9 type ifb",
    "tuntap add tap0 mode tap",
    "link set tap0 up",
    "link set v0 down",
    "link set v0 name renamed0",
    "link set renamed0 up",
    "link set v1 nomaster",
    "link set tap0 master br0",
    "link del br0",
    "link del mv0",
    "tuntap del tap0 mode tap",
    "link del renamed0",
];

#[test]
fn the_graph_follows_each_operation() {
    let lab = Lab::new();
    lab.add("blue");
    let watched = lab.watch();
    lab.agrees(&watched, &["blue"], "nothing");
    for operation in OPERATIONS {
        lab.ip("blue", operation);
        lab.agrees(&watched, &["blue"], operation);
    }
    watched.stop();
}

#[test]
fn what_was_there_before_is_seen_as_well() {
    let lab = Lab::new();
    lab.add("blue");
    for operation in &OPERATIONS[..32] {
        lab.ip("blue", operation);
    }
    let watched = lab.watch();
    lab.agrees(&watched, &["blue"], "all that was done before");
    watched.is_wired(
        &["blue"],
        &[
            "bridge blue/br0 blue/v1",
            "bridge blue/br0 blue/vx0",
            "macvlan blue/v0 blue/mv0",
            "veth blue/v0 blue/v1",
            "vxlan blue/v0 blue/vx0",
        ],
    );
    lab.ip("blue", "link set v1 nomaster");
    lab.ip("blue", "link del vx0");
    watched.is_wired(&["blue"], &["macvlan blue/v0 blue/mv0", "veth blue/v0 blue/v1"]);
    watched.stop();
}

#[test]
fn features_and_speed_are_those_of_ethtool() {
    let lab = Lab::new();
    lab.add("blue");
    lab.ip("blue", "link add v0 type veth peer name v1");
    let watched = lab.watch();
    for setting in ["on", "off", "on"] {
        run(lab.inside("blue", "ethtool").args(["-K", "v0", "tx", setting]));
        let printed = run(lab.inside("blue", "ethtool").args(["-k", "v0"]));
        // Indented lines are the kernel's features, the others sums of them that ethtool makes.
        let line = |line: &str| {
            let (name, state) = line.split_once(": ")?;
            Some((name.trim().to_owned(), state.starts_with("on")))
        };
        let printed: BTreeMap<_, _> = printed.lines().filter_map(line).collect();
        eventually("the features", || {
            let snapshot = watched.graph.snapshot();
            let node = interface(&snapshot, "blue", "v0").ok_or("no interface")?;
            let features = node.metadata.get("Features").and_then(Value::as_object);
            let features = features.ok_or_else(|| format!("{:#?}", watched.watchers.health()))?;
            let known: Vec<_> = features
                .iter()
                .filter(|(name, _)| printed.contains_key(*name))
                .collect();
            if known.len() < 30 {
                return Err(format!("too few are known: {features:?}"));
            }
            match known.iter().find(|(name, on)| **on != printed[*name]) {
                Some(wrong) => Err(format!("{wrong:?}")),
                None => Ok(()),
            }
        });
        let snapshot = watched.graph.snapshot();
        let node = interface(&snapshot, "blue", "v0").unwrap();
        assert_eq!(node.metadata["Speed"], 10_000);
        assert_eq!(node.metadata["Driver"], "veth");
    }
    watched.stop();
}

#[test]
fn counters_are_no_history() {
    let lab = Lab::new();
    lab.add("blue");
    lab.ip("blue", "link set lo up");
    let mut options = lab.options();
    options.metrics_interval = std::time::Duration::from_millis(200);
    let watched = Watched::start(options);
    lab.agrees(&watched, &["blue"], "nothing");
    let lo = || {
        interface(&watched.graph.snapshot(), "blue", "lo")
            .unwrap()
            .clone()
    };
    let ping = |until: u64| {
        run(lab
            .inside("blue", "ping")
            .args(["-c", "15", "-i", "0.01", "-q", "127.0.0.1"]));
        eventually("the counters", || {
            let node = lo();
            let packets = node
                .metadata
                .get("Metric")
                .map(|metric| metric["RxPackets"].clone());
            if packets == Some(json!(until)) {
                Ok(())
            } else {
                Err(format!("{:?}", node.metadata))
            }
        });
    };
    let intervals = watched.graph.intervals();
    let revision = lo().revision;
    ping(30);
    assert_eq!(lo().revision, revision + 1, "it begins to count");
    ping(60);
    assert_eq!(lo().revision, revision + 1);
    let counted = intervals.take(1_000).into_iter();
    let of_lo = counted.filter(|interval| interval.node == lo().id);
    let packets = of_lo.filter_map(|interval| interval.counters.get("RxPackets")?.as_u64());
    assert_eq!(packets.sum::<u64>(), 60, "interval by interval");
    ping(90);
    let node = lo();
    let metric = &node.metadata["Metric"];
    assert_eq!(metric["TxPackets"], 90);
    assert!(metric.get("RxErrors").is_none(), "zeros are left out");
    let sum = &node.metadata["LastUpdateMetric"];
    assert!(sum["Start"].as_i64().unwrap() < sum["Last"].as_i64().unwrap());
    watched.stop();
}

#[test]
fn an_interface_is_told_whole_and_at_once() {
    let lab = Lab::new();
    lab.add("blue");
    let watched = lab.watch();
    let (_, mut events) = watched.graph.subscribe();
    lab.ip(
        "blue",
        "link add v0 address 02:00:00:00:00:01 type veth peer name v1",
    );
    let first = first_about(&mut events, "v0");
    let Change::NodeAdded(node) = &first.change else {
        panic!("{first:?}");
    };
    for (key, value) in [
        ("Type", json!("veth")),
        ("MAC", json!("02:00:00:00:00:01")),
        ("State", json!("DOWN")),
    ] {
        assert_eq!(node.metadata[key], value);
    }
    let snapshot = watched.graph.snapshot();
    let owner = snapshot.in_edges(&node.id).first().unwrap();
    let owner = snapshot.node(&owner.parent).unwrap();
    assert_eq!(owner.metadata["Path"], lab.path("blue").to_str().unwrap());
    assert!(node.metadata["IfIndex"].as_u64().unwrap() > 0);
    watched.stop();
}

/// The first event about an interface.
fn first_about(events: &mut flowtap_topology::Subscription, name: &str) -> std::sync::Arc<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let found = async {
        loop {
            let event = events.next().await.unwrap();
            if let Change::NodeAdded(node) | Change::NodeUpdated { node, .. } = &event.change
                && node.name() == Some(name)
            {
                return event;
            }
        }
    };
    let patience = std::time::Duration::from_secs(60);
    runtime
        .block_on(async { tokio::time::timeout(patience, found).await })
        .unwrap_or_else(|_| panic!("no event about {name}"))
}

#[test]
fn what_others_say_of_a_node_stays() {
    let lab = Lab::new();
    lab.add("blue");
    lab.ip("blue", "link add v0 type veth peer name v1");
    let watched = lab.watch();
    lab.agrees(&watched, &["blue"], "nothing");
    let id = interface(&watched.graph.snapshot(), "blue", "v0")
        .unwrap()
        .id
        .clone();
    watched
        .graph
        .set_metadata(&id, "ExtID", json!({"vm-id": "x"}))
        .unwrap();
    watched.graph.set_metadata(&id, "Type", "internal").unwrap();
    lab.ip("blue", "link set v0 mtu 1300");
    lab.ip("blue", "link set v0 name w0");
    eventually("the change", || {
        let node = watched.graph.node(&id).ok_or("no node")?;
        let said = (&node.metadata["MTU"], &node.metadata["Name"]);
        if said == (&json!(1300), &json!("w0")) {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    });
    let node = watched.graph.node(&id).unwrap();
    assert_eq!(node.metadata["ExtID"], json!({"vm-id": "x"}));
    assert_eq!(node.metadata["Type"], "internal");
    watched.stop();
}

#[test]
fn a_node_that_somebody_deletes_comes_back() {
    let lab = Lab::new();
    lab.add("blue");
    for operation in &OPERATIONS[..24] {
        lab.ip("blue", operation);
    }
    let watched = lab.watch();
    lab.agrees(&watched, &["blue"], "nothing");
    let id = interface(&watched.graph.snapshot(), "blue", "v0")
        .unwrap()
        .id
        .clone();
    assert!(watched.graph.edit(|edit| edit.remove_node(&id)));
    lab.ip("blue", "link set v0 mtu 1300");
    lab.agrees(&watched, &["blue"], "its node was deleted");
    watched.is_wired(&["blue"], &["bridge blue/br0 blue/v1", "veth blue/v0 blue/v1"]);
    watched.stop();
}

#[test]
fn a_burst_of_neighbours_is_few_revisions() {
    let lab = Lab::new();
    lab.add("blue");
    lab.ip("blue", "link add v0 type veth peer name v1");
    lab.ip("blue", "link set v0 up");
    lab.ip("blue", "link set v1 up");
    let watched = lab.watch();
    lab.agrees(&watched, &["blue"], "nothing");
    let revision = || {
        interface(&watched.graph.snapshot(), "blue", "v0")
            .unwrap()
            .revision
    };
    let before = revision();
    let line = |n: u32| {
        format!(
            "neigh add 10.1.{}.{} lladdr 02:00:00:00:00:01 dev v0\n",
            n / 200,
            n % 200 + 1
        )
    };
    lab.batch("blue", &(0..1_000).map(line).collect::<String>());
    lab.agrees(&watched, &["blue"], "a burst");
    let revisions = revision() - before;
    assert!(revisions < 100, "{revisions} revisions for 1,000 neighbours");
    watched.stop();
}

#[test]
fn lists_are_bounded_and_say_so() {
    let lab = Lab::new();
    lab.add("blue");
    lab.ip("blue", "link add v0 type veth peer name v1");
    lab.ip("blue", "link set v0 up");
    let line = |n: u32| {
        format!(
            "neigh add 10.{}.{}.1 lladdr 02:00:00:00:00:01 dev v0 nud permanent\n",
            n / 200,
            n % 200
        )
    };
    let limit = u32::try_from(flowtap_topology::watch::LIST_LIMIT).unwrap();
    lab.batch("blue", &(0..limit + 10).map(line).collect::<String>());
    let watched = lab.watch();
    let snapshot = watched.graph.snapshot();
    let node = interface(&snapshot, "blue", "v0").unwrap();
    let neighbours = node.metadata["Neighbors"].as_array().unwrap();
    assert_eq!(neighbours.len(), flowtap_topology::watch::LIST_LIMIT);
    assert!(watched.health("netlink blue").unwrap().left_out >= 10);
    watched.stop();
}

#[test]
fn the_host_says_what_it_is() {
    let watched = Lab::new().watch();
    let host = watched.graph.node(watched.graph.host()).unwrap();
    let release = run(Command::new("uname").arg("-r"));
    assert_eq!(host.metadata["KernelVersion"], release.trim());
    assert_eq!(host.metadata["Type"], "host");
    assert_eq!(
        host.name(),
        Some("lab"),
        "the graph's name for it is not the machine's"
    );
    watched.stop();
}

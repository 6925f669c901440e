//! Lost messages, missing rights, full graphs.

use std::sync::Arc;

use flowtap_topology::watch::{WatcherState, Watchers};
use flowtap_topology::{Change, Graph};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use serde_json::Value;

use crate::support::{Lab, Watched, eventually, interface, namespace};

#[test]
fn an_overrun_is_made_good() {
    let lab = Lab::new();
    lab.add("blue");
    let mut options = lab.options();
    options.receive_buffer = 1;
    let watched = Watched::start(options);
    let line = |n: u32| {
        format!("link add a{n} type veth peer name b{n}\nlink set a{n} up\naddr add 10.2.{n}.1/24 dev a{n}\n")
    };
    let pairs: String = (0..50).map(line).collect();
    let unline = |n: u32| format!("link del b{n}\n");
    let unpairs: String = (0..50).map(unline).collect();
    eventually("an overrun", || {
        lab.batch("blue", &pairs);
        lab.batch("blue", &unpairs);
        match watched.health("netlink blue") {
            Some(health) if health.resyncs > 0 => Ok(()),
            health => Err(format!("{health:?}")),
        }
    });
    lab.batch("blue", &pairs);
    lab.agrees(&watched, &["blue"], "an overrun");
    let health = watched.health("netlink blue").unwrap();
    assert_eq!(health.state, WatcherState::Running);
    watched.stop();
}

#[test]
fn without_rights_the_namespace_is_there_and_says_why_it_is_empty() {
    let lab = Lab::new();
    lab.add("blue");
    let graph = Arc::new(Graph::new("lab"));
    // Threads have the rights of the thread that made them.
    let watchers = std::thread::spawn({
        let (graph, options) = (Arc::clone(&graph), lab.options());
        move || {
            let none = CapabilitySets {
                effective: CapabilitySet::empty(),
                permitted: CapabilitySet::empty(),
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, none).unwrap();
            Watchers::start(graph, options).unwrap()
        }
    })
    .join()
    .unwrap();
    let watched = Watched { graph, watchers };
    eventually("the refusal", || {
        let health = watched.health("netlink blue").ok_or("no watcher")?;
        let error = health.last_error.clone().unwrap_or_default();
        if health.state == WatcherState::Denied && error.contains("CAP_SYS_ADMIN") {
            Ok(())
        } else {
            Err(format!("{health:?}"))
        }
    });
    eventually("the host's own interfaces", || {
        let snapshot = watched.graph.snapshot();
        let own = snapshot.nodes().any(|node| node.name() == Some("lo"));
        own.then_some(())
            .ok_or_else(|| format!("{:#?}", watched.watchers.health()))
    });
    let snapshot = watched.graph.snapshot();
    assert!(namespace(&snapshot, "blue").is_some());
    assert!(interface(&snapshot, "blue", "lo").is_none());
    watched.is_ready();
    watched.stop();
}

#[test]
fn a_full_graph_says_so_and_fills_up_later() {
    let lab = Lab::new();
    lab.add("blue");
    let own = Lab::new();
    let before = own.watch();
    let nodes = before.graph.snapshot().len();
    before.stop();
    // Room for the namespace, its loopback and one of a pair.
    let graph = Arc::new(Graph::with_max_nodes("lab", nodes + 3));
    let mut options = lab.options();
    options.metrics_interval = std::time::Duration::from_millis(200);
    let watchers = Watchers::start(Arc::clone(&graph), options).unwrap();
    let watched = Watched { graph, watchers };
    lab.agrees(&watched, &["blue"], "nothing");
    lab.ip("blue", "link add v0 type veth peer name v1");
    eventually("the complaint", || {
        let health = watched.health("netlink blue").ok_or("no watcher")?;
        let missing = health.missing.clone().unwrap_or_default();
        if missing.contains("full") && missing.contains("topology.max_nodes") {
            Ok(())
        } else {
            Err(format!("{health:?}"))
        }
    });
    lab.ip("blue", "link del v0");
    lab.agrees(&watched, &["blue"], "there is room");
    eventually("the end of the complaint", || {
        match watched.health("netlink blue").and_then(|health| health.missing) {
            None => Ok(()),
            Some(missing) => Err(missing),
        }
    });
    watched.stop();
}

#[test]
fn a_list_that_is_interrupted_takes_nothing_away() {
    let lab = Lab::new();
    lab.add("blue");
    let pairs: String = (0..60)
        .map(|n| format!("link add s{n} type veth peer name t{n}\n"))
        .collect();
    lab.batch("blue", &pairs);
    let mut options = lab.options();
    // Everything is listed all the time, while interfaces come and go.
    options.metrics_interval = std::time::Duration::from_millis(1);
    let watched = Watched::start(options);
    let (_, mut events) = watched.graph.subscribe();
    let churn: String = (0..100)
        .map(|n| format!("link add c{n} type veth peer name d{n}\nlink del c{n}\n"))
        .collect();
    for _ in 0..5 {
        lab.batch("blue", &churn);
        while let Some(event) = events.try_next().unwrap() {
            if let Change::NodeDeleted(node) = &event.change {
                let name = node.name().unwrap();
                assert!(name.starts_with(['c', 'd']), "{name} went, and it is there");
            }
        }
    }
    lab.agrees(&watched, &["blue"], "interrupted lists");
    watched.stop();
}

#[test]
fn namespaces_beyond_the_limit_are_left_out_until_there_is_room() {
    let lab = Lab::new();
    let mut options = lab.options();
    options.max_namespaces = 2;
    options.process_interval = std::time::Duration::from_millis(200);
    let watched = Watched::start(options);
    lab.add("blue");
    lab.agrees(&watched, &["blue"], "the first");
    lab.add("red");
    eventually("the complaint", || {
        let health = watched.health("namespaces").ok_or("no watcher")?;
        let missing = health.missing.clone().unwrap_or_default();
        if health.left_out == 1 && missing.contains("red") {
            Ok(())
        } else {
            Err(format!("{health:?}"))
        }
    });
    lab.delete("blue");
    lab.agrees(&watched, &["red"], "there is room");
    eventually("the end of the complaint", || {
        let left_out = watched.health("namespaces").map(|health| health.left_out);
        if left_out == Some(0) {
            Ok(())
        } else {
            Err(format!("{left_out:?}"))
        }
    });
    watched.stop();
}

#[test]
fn a_file_that_is_no_namespace_is_named_and_harms_nothing() {
    let lab = Lab::new();
    let watched = lab.watch();
    std::fs::write(lab.path("junk"), "junk").unwrap();
    lab.add("blue");
    lab.agrees(&watched, &["blue"], "junk beside it");
    eventually("the complaint", || {
        let error = watched.health("namespaces").and_then(|health| health.last_error);
        match error {
            Some(error) if error.contains("junk") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let snapshot = watched.graph.snapshot();
    assert!(namespace(&snapshot, "junk").is_none());
    let kinds: Vec<_> = interface(&snapshot, "blue", "lo")
        .into_iter()
        .map(|node| &node.metadata["Type"])
        .collect();
    assert_eq!(kinds, [&Value::from("device")]);
    watched.stop();
}

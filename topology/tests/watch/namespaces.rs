//! Namespaces that come, go and exchange interfaces.

use std::fs;
use std::process::{Child, Command, Stdio};

use flowtap_topology::Tid;
use serde_json::json;

use crate::support::{Lab, Watched, eventually, interface, interfaces, namespace, run};

fn is_gone(watched: &Watched, name: &str) {
    eventually(&format!("{name} to go"), || {
        let snapshot = watched.graph.snapshot();
        let left: Vec<_> = namespace(&snapshot, name)
            .into_iter()
            .chain(interfaces(&snapshot, name))
            .collect();
        if left.is_empty() && watched.health(&format!("netlink {name}")).is_none() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

#[test]
fn a_namespace_comes_and_goes() {
    let lab = Lab::new();
    let watched = lab.watch();
    for round in 0..5 {
        lab.add("blue");
        lab.ip("blue", "link add v0 type veth peer name v1");
        lab.agrees(&watched, &["blue"], &format!("round {round}"));
        let snapshot = watched.graph.snapshot();
        let node = namespace(&snapshot, "blue").unwrap();
        let path = lab.path("blue").to_str().unwrap().to_owned();
        assert_eq!(node.metadata["Path"], json!(path));
        let status = run(Command::new("stat").arg("-Lc").arg("%i %d").arg(&path));
        let said = format!("{} {}", node.metadata["Inode"], node.metadata["Device"]);
        assert_eq!(said, status.trim());
        let host = Tid::host("lab");
        assert_eq!(node.tid(), Some(Tid::owned(&host, &path, "netns")));
        lab.delete("blue");
        is_gone(&watched, "blue");
    }
    watched.stop();
}

#[test]
fn another_namespace_of_the_same_name_is_another_one() {
    let lab = Lab::new();
    lab.add("blue");
    lab.ip("blue", "link add old0 type veth peer name old1");
    let watched = lab.watch();
    for _ in 0..20 {
        lab.delete("blue");
        lab.add("blue");
    }
    lab.ip("blue", "link add new0 type veth peer name new1");
    lab.agrees(&watched, &["blue"], "twenty others");
    watched.stop();
}

#[test]
fn a_deleted_namespace_really_dies() {
    let lab = Lab::new();
    lab.add("blue");
    lab.add("red");
    lab.ip("blue", "link add v0 type veth peer name v1 netns @red");
    let watched = lab.watch();
    watched.is_wired(&["blue", "red"], &["veth blue/v0 red/v1"]);
    // Nobody is in it but the watcher's sockets: were they still open, the pair would stay.
    lab.delete("red");
    is_gone(&watched, "red");
    eventually("the peer to go with the namespace", || {
        let snapshot = watched.graph.snapshot();
        interface(&snapshot, "blue", "v0").map_or(Ok(()), |node| Err(format!("{node:?}")))
    });
    lab.agrees(&watched, &["blue"], "the other was deleted");
    watched.stop();
}

#[test]
fn a_directory_may_come_later() {
    let lab = Lab::new();
    let later = lab.directory().join("deep/netns");
    let mut options = lab.options();
    options.directories = vec![later.clone()];
    let watched = Watched::start(options);
    fs::create_dir_all(&later).unwrap();
    lab.add("deep/netns/blue");
    eventually("the namespace", || {
        let snapshot = watched.graph.snapshot();
        interface(&snapshot, "blue", "lo")
            .map(|_| ())
            .ok_or_else(|| format!("{:#?}", watched.watchers.health()))
    });
    lab.delete("deep/netns/blue");
    is_gone(&watched, "blue");
    watched.stop();
}

#[test]
fn names_of_ip_netns_are_watched_by_default() {
    let lab = Lab::new();
    let name = format!("ftw{}", std::process::id());
    let watched = Watched::start(Default::default());
    run(Command::new("ip").args(["netns", "add", &name]));
    let seen = std::panic::catch_unwind(|| {
        eventually("the namespace", || {
            let snapshot = watched.graph.snapshot();
            interface(&snapshot, &name, "lo")
                .map(|_| ())
                .ok_or_else(|| "no lo".to_owned())
        });
    });
    run(Command::new("ip").args(["netns", "del", &name]));
    seen.unwrap();
    is_gone(&watched, &name);
    watched.stop();
    drop(lab);
}

#[test]
fn peers_in_two_namespaces_are_joined_in_either_order() {
    let lab = Lab::new();
    lab.add("blue");
    lab.add("red");
    lab.ip("blue", "link add low type veth peer name high netns @red");
    let pair = ["blue", "red"];
    let wire = "veth blue/low red/high";
    let watched = lab.watch();
    watched.is_wired(&pair, &[wire]);
    lab.agrees(&watched, &pair, "both were there");
    eventually("the names of the other's namespaces", || {
        let snapshot = watched.graph.snapshot();
        let name = |namespace, name| {
            interface(&snapshot, namespace, name)?
                .metadata
                .get("LinkNetNsName")
                .cloned()
        };
        let names = (name("blue", "low"), name("red", "high"));
        let expected = (Some(json!("red")), Some(json!("blue")));
        if names == expected {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    });
    for name in pair {
        // The namespace is known under its second name only, from then on.
        let aside = format!("{name}2");
        fs::write(lab.path(&aside), "").unwrap();
        run(Command::new("mount")
            .arg("--bind")
            .arg(lab.path(name))
            .arg(lab.path(&aside)));
        lab.delete(name);
        let names: Vec<_> = pair
            .map(|other| {
                if other == name {
                    aside.clone()
                } else {
                    other.to_owned()
                }
            })
            .into();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        lab.agrees(&watched, &names, &format!("{name} has another name"));
        watched.is_wired(
            &names,
            &[&wire.replace(&format!("{name}/"), &format!("{aside}/"))],
        );
        fs::write(lab.path(name), "").unwrap();
        run(Command::new("mount")
            .arg("--bind")
            .arg(lab.path(&aside))
            .arg(lab.path(name)));
        lab.delete(&aside);
        watched.is_wired(&pair, &[wire]);
    }
    watched.stop();
}

#[test]
fn an_interface_moves_to_another_namespace_and_back() {
    let lab = Lab::new();
    for name in ["blue", "red", "green"] {
        lab.add(name);
    }
    lab.ip("blue", "link add v0 type veth peer name v1");
    let watched = lab.watch();
    let all = ["blue", "red", "green"];
    let moves = [
        ("blue", "v1", "red"),
        ("red", "v1", "green"),
        ("blue", "v0", "red"),
        ("green", "v1", "blue"),
        ("red", "v0", "blue"),
    ];
    for (from, link, to) in moves {
        lab.ip(from, &format!("link set {link} netns @{to}"));
        let after = format!("{link} moved from {from} to {to}");
        lab.agrees(&watched, &all, &after);
        eventually(&format!("one wire after {after}"), || {
            let wires = crate::reality::wires(&watched.graph.snapshot(), &all);
            let one = wires
                .iter()
                .all(|wire| wire.starts_with("veth ") && wire.contains("/v0") && wire.contains("/v1"));
            if one && wires.len() == 1 {
                Ok(())
            } else {
                Err(format!("{wires:?}"))
            }
        });
    }
    // A macvlan that leaves its ground behind.
    lab.ip("blue", "link add mv0 link v0 type macvlan");
    lab.ip("blue", "link set mv0 netns @green");
    lab.agrees(&watched, &all, "the macvlan moved");
    eventually("the macvlan's wire", || {
        let wires = crate::reality::wires(&watched.graph.snapshot(), &all);
        if wires.contains("macvlan blue/v0 green/mv0") {
            Ok(())
        } else {
            Err(format!("{wires:?}"))
        }
    });
    watched.stop();
}

/// A process in a namespace of its own that ends with the test.
struct Shut(Child);

impl Shut {
    fn up() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let shut = Self(child);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        eventually("the process to be shut in", || {
            let other =
                fs::read_link(format!("/proc/{}/ns/net", shut.0.id())).map_err(|error| error.to_string())?;
            if other == own {
                Err("not yet".into())
            } else {
                Ok(())
            }
        });
        shut
    }

    fn ip(&self, arguments: &str) {
        let net = format!("--net=/proc/{}/ns/net", self.0.id());
        run(Command::new("nsenter")
            .arg(net)
            .arg("ip")
            .args(arguments.split(' ')));
    }

    fn name(&self) -> String {
        format!("sleep-{}", self.0.id())
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn a_namespace_without_a_name_is_found_through_its_process() {
    let lab = Lab::new();
    let mut options = lab.options();
    options.processes = true;
    let watched = Watched::start(options);
    let mut shut = Shut::up();
    let empty = Shut::up();
    shut.ip("link add v0 type veth peer name v1");
    eventually("the namespace", || {
        let snapshot = watched.graph.snapshot();
        interface(&snapshot, &shut.name(), "v0")
            .map(|_| ())
            .ok_or_else(|| format!("{:#?}", watched.watchers.health()))
    });
    let snapshot = watched.graph.snapshot();
    assert!(namespace(&snapshot, &empty.name()).is_none(), "it holds nothing");
    let node = namespace(&snapshot, &shut.name()).unwrap();
    assert_eq!(
        node.metadata["Path"],
        json!(format!("/proc/{}/ns/net", shut.0.id()))
    );
    shut.end();
    is_gone(&watched, &shut.name());
    watched.stop();
}

#[test]
fn a_namespace_that_gets_a_name_is_watched_once() {
    let lab = Lab::new();
    let mut options = lab.options();
    options.processes = true;
    let watched = Watched::start(options);
    let shut = Shut::up();
    shut.ip("link add v0 type veth peer name v1");
    eventually("the namespace", || {
        let snapshot = watched.graph.snapshot();
        interface(&snapshot, &shut.name(), "v0")
            .map(|_| ())
            .ok_or_else(|| "not yet".to_owned())
    });
    fs::write(lab.path("named"), "").unwrap();
    let process = format!("/proc/{}/ns/net", shut.0.id());
    run(Command::new("mount")
        .args(["--bind", &process])
        .arg(lab.path("named")));
    lab.agrees(&watched, &["named"], "it has a name");
    is_gone(&watched, &shut.name());
    watched.stop();
}

//! Captures that come and go while interfaces do.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::lab::Lab;
use crate::support::{Server, eventually};

/// A small generator (SplitMix64): the same run each time, and no crate for it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }
}

/// How many packet sockets are open in a namespace.
fn packet_sockets(lab: &Lab) -> usize {
    let table = lab.inside(&lab.switch(), &["cat", "/proc/net/packet"]);
    table.lines().count() - 1
}

fn captures(server: &Server) -> Vec<Value> {
    let captures: Value = serde_json::from_str(&server.text(&["capture", "list"])).expect("JSON");
    let captures = captures.as_object().expect("captures by id").values();
    captures
        .filter(|capture| capture["GremlinQuery"] != "")
        .cloned()
        .collect()
}

#[test]
fn nothing_is_left_of_captures_that_came_and_went() {
    let lab = Lab::up("x");
    let data = tempfile::tempdir().expect("a directory");
    let server = lab.server_alone(data.path());
    let threads = || std::fs::read_dir(format!("/proc/{}/task", server.pid())).map_or(0, Iterator::count);
    // Files are the store's, which has more of them once there are flows.
    let sockets = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("a process of ours");
        let open = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        open.filter(|file| !file.starts_with("/")).count()
    };
    eventually("the switch", || {
        (server.count("G.V().Has('Type', 'veth').HasKey('VM.ID').Count()") == 2).then_some(())
    });
    // The first capture opens a socket that stays: it keeps the kernel stamping packets.
    let first = [
        "capture",
        "create",
        "--gremlin",
        "G.V().Has('Name', 'tapvm1')",
        "--wait",
    ];
    let first: Value = serde_json::from_str(&server.text(&first)).expect("JSON");
    server.text(&["capture", "delete", first["UUID"].as_str().expect("an id")]);
    eventually("its end", || {
        (server.count("G.V().HasKey('Captures').Count()") == 0).then_some(())
    });
    let before = (packet_sockets(&lab), threads(), sockets());

    let mut dice = Dice(7);
    let (mut declared, mut links) = (Vec::new(), BTreeSet::new());
    for _ in 0..120 {
        match dice.below(5) {
            0 | 1 => {
                let query = format!("G.V().Has('Name', Regex('c{}.*'))", dice.below(8));
                let kind = ["afpacket", "pcap"][usize::from(dice.below(2) == 0)];
                let filter = ["icmp", "tcp", "udp port 67"][usize::try_from(dice.below(3)).expect("small")];
                let arguments = [
                    "capture",
                    "create",
                    "--gremlin",
                    &query,
                    "--type",
                    kind,
                    "--bpf",
                    filter,
                ];
                let output = server.ask(&arguments);
                if output.status.success() {
                    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                    declared.push(made["UUID"].as_str().expect("an id").to_owned());
                } else {
                    let error = String::from_utf8_lossy(&output.stderr);
                    assert!(error.contains("duplicated resource"), "{error}");
                }
            }
            2 if !declared.is_empty() => {
                let at = usize::try_from(dice.below(declared.len() as u64)).expect("small");
                server.text(&["capture", "delete", &declared.swap_remove(at)]);
            }
            _ => {
                let name = format!("c{}i{}", dice.below(8), dice.below(3));
                if links.remove(&name) {
                    lab.ip(&lab.switch(), &["link", "del", &name]);
                } else {
                    let peer = format!("p{name}");
                    let pair = ["link", "add", &name, "up", "type", "veth", "peer", "name", &peer];
                    lab.ip(&lab.switch(), &pair);
                    lab.ip(&lab.switch(), &["link", "set", &peer, "up"]);
                    links.insert(name);
                }
            }
        }
    }

    // Each capture is where its query says, and nowhere else.
    eventually("what was declared", || {
        let settled = captures(&server).iter().all(|capture| {
            let wanted = server.count(&format!(
                "{}.Count()",
                capture["GremlinQuery"].as_str().unwrap_or_default()
            ));
            capture["Count"] == wanted
        });
        (settled && captures(&server).len() == declared.len()).then_some(())
    });
    for id in &declared {
        server.text(&["capture", "delete", id]);
    }
    for name in &links {
        lab.ip(&lab.switch(), &["link", "del", name]);
    }
    eventually("as many sockets and threads as before", || {
        let now = (packet_sockets(&lab), threads(), sockets());
        (now.0 <= before.0 && now.1 <= before.1 && now.2 <= before.2).then_some(())
    });
    assert_eq!(server.count("G.V().HasKey('Captures').Count()"), 0);
}

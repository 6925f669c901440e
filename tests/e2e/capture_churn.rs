//! Captures that come and go while interfaces and namespaces do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::Lab;
use crate::support::{PATIENCE, Server, eventually};

/// How many captures there are at once, at the most.
const CAPTURES: usize = 50;
/// How long they come and go, unless `CHURN_SECONDS` says otherwise.
const DURATION: Duration = Duration::from_secs(120);
/// How long nothing changes: other tests share the machine.
const PACE: Duration = Duration::from_millis(100);

fn duration() -> Duration {
    let seconds = std::env::var("CHURN_SECONDS");
    seconds.map_or(DURATION, |text| {
        Duration::from_secs(text.parse().expect("CHURN_SECONDS is a number"))
    })
}

/// A small generator (SplitMix64): the same run each time, and no crate for it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % limit as u64).expect("below a usize")
    }
}

/// What a flowtap holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// Packet sockets in the namespace of the switch.
    packet_sockets: usize,
    threads: usize,
    /// Descriptors that are no files: those are the store's, which has more of them once there are flows.
    sockets: usize,
}

impl Held {
    fn by(server: &Server, lab: &Lab) -> Self {
        let table = lab.inside(&lab.switch(), &["cat", "/proc/net/packet"]);
        let process = format!("/proc/{}", server.pid());
        let open = std::fs::read_dir(format!("{process}/fd")).expect("a process of ours");
        let open = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        Self {
            packet_sockets: table.lines().count() - 1,
            threads: std::fs::read_dir(format!("{process}/task")).map_or(0, Iterator::count),
            sockets: open.filter(|file| !file.starts_with("/")).count(),
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        self.packet_sockets <= other.packet_sockets
            && self.threads <= other.threads
            && self.sockets <= other.sockets
    }
}

/// All that comes and goes.
struct Churn<'l> {
    lab: &'l Lab,
    server: &'l Server,
    dice: Dice,
    captures: Vec<String>,
    most: usize,
    is_growing: bool,
    links: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl Churn<'_> {
    /// Makes one thing come or go.
    fn step(&mut self) {
        match self.dice.below(6) {
            0 => self.toggle_link(),
            1 => self.toggle_namespace(),
            _ => {
                let grows = self.dice.below(4) > 0;
                if (grows == self.is_growing || self.captures.is_empty()) && self.captures.len() < CAPTURES {
                    self.create();
                } else {
                    self.delete();
                }
                self.is_growing = match self.captures.len() {
                    0 => true,
                    CAPTURES.. => false,
                    _ => self.is_growing,
                };
                self.most = self.most.max(self.captures.len());
            }
        }
    }

    fn create(&mut self) {
        let query = format!("G.V().Has('Name', Regex('c{}.*'))", self.dice.below(8));
        let kind = [None, Some("afpacket"), Some("pcap")][self.dice.below(3)];
        let filter = format!("udp port {}", 1 + self.dice.below(100));
        let mut arguments = vec!["capture", "create", "--gremlin", &query, "--bpf", &filter];
        arguments.extend(kind.into_iter().flat_map(|kind| ["--type", kind]));
        let output = self.server.ask(&arguments);
        if output.status.success() {
            let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            self.captures
                .push(made["UUID"].as_str().expect("an id").to_owned());
        } else {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.contains("duplicated resource"), "{error}");
        }
    }

    fn delete(&mut self) {
        let at = self.dice.below(self.captures.len());
        self.server
            .text(&["capture", "delete", &self.captures.swap_remove(at)]);
    }

    fn toggle_link(&mut self) {
        let name = format!("c{}i{}", self.dice.below(8), self.dice.below(3));
        let switch = self.lab.switch();
        if self.links.remove(&name) {
            self.lab.ip(&switch, &["link", "del", &name]);
        } else {
            let peer = format!("p{name}");
            let pair = ["link", "add", &name, "up", "type", "veth", "peer", "name", &peer];
            self.lab.ip(&switch, &pair);
            self.lab.ip(&switch, &["link", "set", &peer, "up"]);
            self.links.insert(name);
        }
    }

    /// A namespace that has gone can come again only once nobody uses it: so each has a new name.
    fn toggle_namespace(&mut self) {
        if self.namespaces.len() > self.dice.below(5) {
            let name = self.namespaces.pop_first().expect("one at least");
            self.lab.script("netns.sh", &["del", &name]);
        } else {
            let name = format!("c{}n{}", self.dice.below(8), self.dice.below(1_000_000));
            self.lab.script("netns.sh", &["add", &name]);
            self.namespaces.insert(name);
        }
    }

    /// Waits until each capture is where its query says, and nowhere else.
    fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wrong = self.wrong();
            if wrong.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "not as declared: {wrong:?}");
            std::thread::sleep(PACE);
        }
    }

    /// Captures that are not as they should be, and at how many nodes each should be.
    fn wrong(&self) -> Vec<(Value, u64)> {
        let captures: Value = serde_json::from_str(&self.server.text(&["capture", "list"])).expect("JSON");
        let captures = captures.as_object().expect("captures by id").values();
        let declared: Vec<&Value> = captures.filter(|capture| capture["GremlinQuery"] != "").collect();
        assert_eq!(declared.len(), self.captures.len());
        let wanted = declared.iter().map(|capture| {
            let query = capture["GremlinQuery"].as_str().unwrap_or_default();
            let wanted = self.server.count(&format!("{query}.Count()"));
            ((*capture).clone(), wanted)
        });
        let is_wrong = |(capture, wanted): &(Value, u64)| {
            let state = if *wanted > 0 { "active" } else { "waiting" };
            capture["Count"] != *wanted || capture["State"] != state
        };
        wanted.filter(is_wrong).collect()
    }

    /// Makes everything go, in any order.
    fn end(&mut self) {
        while !self.captures.is_empty() {
            self.delete();
        }
        for name in std::mem::take(&mut self.links) {
            self.lab.ip(&self.lab.switch(), &["link", "del", &name]);
        }
        for name in std::mem::take(&mut self.namespaces) {
            self.lab.script("netns.sh", &["del", &name]);
        }
    }
}

#[test]
fn nothing_is_left_of_captures_that_came_and_went() {
    let lab = Lab::up("x");
    let data = tempfile::tempdir().expect("a directory");
    let namespaces = lab.script("netns.sh", &["dir"]);
    let server = lab.server_that_sees(&[namespaces], data.path());
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
    let before = Held::by(&server, &lab);

    let mut churn = Churn {
        lab: &lab,
        server: &server,
        dice: Dice(7),
        captures: Vec::new(),
        most: 0,
        is_growing: true,
        links: BTreeSet::new(),
        namespaces: BTreeSet::new(),
    };
    let deadline = Instant::now() + duration();
    while Instant::now() < deadline || churn.most < CAPTURES {
        churn.step();
        std::thread::sleep(PACE);
    }
    churn.settle();
    churn.end();
    eventually("as many sockets and threads as before", || {
        Held::by(&server, &lab).is_within(&before).then_some(())
    });
    eventually("the end of all namespaces", || {
        let links = lab.ip(&lab.switch(), &["-o", "link", "show", "type", "veth"]);
        (!links.contains(": c")).then_some(())
    });
    eventually("nodes without captures", || {
        (server.count("G.V().HasKey('Captures').Count()") == 0).then_some(())
    });
    assert_eq!(server.count("G.V().Has('Name', Regex('c[0-9].*')).Count()"), 0);
}

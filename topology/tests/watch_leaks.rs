//! What comes and goes leaves nothing behind: no file descriptor, no thread, no node. Alone in its
//! process, for it counts what the process has. It needs root.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

#[path = "watch/support.rs"]
#[expect(dead_code, reason = "shared with the other tests of the watchers")]
mod support;

use std::fs;

use support::{Lab, eventually, interfaces};

/// Rounds of the loop, and pairs of interfaces made in each.
const ROUNDS: usize = 10;
const PAIRS: usize = 20;

#[derive(Debug, PartialEq)]
struct Held {
    files: usize,
    threads: usize,
    nodes: usize,
    edges: usize,
    watchers: usize,
}

#[test]
fn two_hundred_pairs_and_ten_namespaces_leave_nothing() {
    let lab = Lab::new();
    lab.add("blue");
    let watched = lab.watch();
    let held = || {
        let snapshot = watched.graph.snapshot();
        Held {
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
            nodes: snapshot.len(),
            edges: snapshot.edge_count(),
            watchers: watched.watchers.health().len(),
        }
    };
    let before = held();
    for round in 0..ROUNDS {
        let name = format!("red{round}");
        lab.add(&name);
        let pair = |n: usize| format!("link add a{n} type veth peer name b{n}\nlink set a{n} up\n");
        lab.batch("blue", &(0..PAIRS).map(pair).collect::<String>());
        for n in 0..PAIRS / 4 {
            lab.ip("blue", &format!("link set b{n} netns @{name}"));
        }
        eventually("some of them", || {
            let seen = interfaces(&watched.graph.snapshot(), &name).len();
            if seen > 1 { Ok(()) } else { Err(format!("{seen}")) }
        });
        lab.batch(
            "blue",
            &(0..PAIRS).map(|n| format!("link del a{n}\n")).collect::<String>(),
        );
        lab.delete(&name);
    }
    eventually("everything to be as before", || {
        let after = held();
        if after == before {
            Ok(())
        } else {
            Err(format!("before {before:?}\nafter {after:?}"))
        }
    });
    let files = before.files;
    watched.stop();
    let left = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(
        left < files,
        "the watchers' files are closed: {left} of {files} are open"
    );
}

//! kill -9 loses nothing that an answer has shown.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "FLOWTAP_TEST_HISTORY_DIR";
const ROUNDS: usize = 5;
/// Changes that the parent waits for before it kills.
const CHANGES: usize = 8;

/// Not a test of its own: the process that gets killed. Changes the graph for ever, and prints the time
/// and the name of what it has just found in the history.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = store(Path::new(&dir));
    let graph = Arc::new(Graph::new("h"));
    let history = store.record_topology(Arc::clone(&graph)).unwrap();
    let mut out = std::io::stdout().lock();
    for number in 0.. {
        let name = format!("tap{number}");
        let spec = NodeSpec::new(graph.host(), "device", &name);
        let id = graph.upsert_node(spec).unwrap();
        let at = between();
        assert!(
            history
                .slice(Slice::at(at), Wanted::Newest, &budget())
                .unwrap()
                .node(&id)
                .is_some()
        );
        writeln!(out, "seen {at} {name}").unwrap();
        out.flush().unwrap();
        graph.edit(|edit| edit.remove_node(&id));
    }
}

#[test]
fn a_kill_loses_nothing_that_was_seen_and_leaves_nothing_alive() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen: Vec<(i64, String)> = Vec::new();
    for _ in 0..ROUNDS {
        let test = "sqlite::topology::tests::crash::child";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let words = lines.map_while(Result::ok).filter_map(|line| {
            let (_, words) = line.split_once("seen ")?;
            let (at, name) = words.split_once(' ')?;
            Some((at.parse().unwrap(), name.to_owned()))
        });
        let before = seen.len();
        seen.extend(words.take(CHANGES));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen.len(), before + CHANGES, "the child ended by itself");
    }
    let store = store(dir.path());
    let graph = Arc::new(Graph::new("h"));
    let history = store.record_topology(Arc::clone(&graph)).unwrap();
    for (at, name) in &seen {
        let then = history.slice(Slice::at(*at), Wanted::Newest, &budget()).unwrap();
        assert!(names(&then).contains(name), "{name} was there at {at}");
        assert_eq!(then.len(), 2, "and nothing of an earlier life");
    }
    assert_eq!(
        names(
            &history
                .slice(Slice::at(between()), Wanted::Newest, &budget())
                .unwrap()
        ),
        ["h"]
    );
}

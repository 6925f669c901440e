//! What `flowtap capture …` says to people and scripts.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::capture::create;
use crate::support::{FLOWTAP, Server, clean};

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn server() -> (Server, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a directory");
    (Server::start(data.path()), data)
}

/// The id of the only capture with this name.
fn id_of(server: &Server, name: &str) -> String {
    let list: Value = serde_json::from_str(&server.text(&["capture", "list"])).expect("JSON");
    let mut all = list.as_object().expect("captures by id").values();
    let found = all.find(|capture| capture["Name"] == name);
    found.expect("it is listed")["UUID"]
        .as_str()
        .expect("an id")
        .to_owned()
}

const NOBODY: [&str; 4] = ["capture", "create", "--gremlin", "G.V().Has('Name', 'nobody')"];

#[test]
fn who_waits_in_vain_is_told_for_what() {
    let (server, _data) = server();
    let wait = |more: &[&str]| server.ask(&[&NOBODY[..], &["--wait"], more].concat());

    let late = wait(&["--name", "late", "--timeout", "3s"]);
    assert_eq!(late.status.code(), Some(124));
    let (id, text) = (id_of(&server, "late"), error(&late));
    let begins = format!("flowtap: --timeout 3s is over: capture {id} is waiting and stays declared: ");
    assert!(text.starts_with(&begins), "{text}");
    assert!(text.contains("the expression matches none of"), "{text}");
    server.text(&["capture", "delete", "late"]);

    let over = wait(&["--ttl", "300ms", "--timeout", "60s"]);
    assert_eq!(over.status.code(), Some(1));
    let text = error(&over);
    assert!(
        text.contains("was deleted, or its --ttl was up, before it captured anything: "),
        "{text}"
    );
}

#[test]
fn what_is_created_is_printed_as_get_prints_it() {
    let (server, _data) = server();
    let members = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("  \""));
        let names = lines.filter_map(|line| Some(line.trim_start().split_once(':')?.0.to_owned()));
        names
            .filter(|name| !["\"Events\"", "\"Nodes\""].contains(&name.as_str()))
            .collect()
    };
    let created = server.text(&NOBODY);
    let id = serde_json::from_str::<Value>(&created).expect("JSON")["UUID"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(members(&created), members(&server.text(&["capture", "get", &id])));
    assert_eq!(members(&created).first().map(String::as_str), Some("\"UUID\""));
}

#[test]
fn who_watches_sees_the_end() {
    let (server, _data) = server();
    for end in ["ttl", "delete"] {
        let ttl: &[&str] = if end == "ttl" { &["--ttl", "2s"] } else { &[] };
        create(&server, &[&NOBODY[2..], &["--name", "tt"], ttl].concat());
        let address = server.http.to_string();
        let mut watching = clean(FLOWTAP)
            .args([
                "capture",
                "watch",
                "tt",
                "--timeout",
                "60s",
                "--analyzer",
                &address,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines();
        let first = lines.next().expect("a line").expect("text");
        assert!(first.contains("  created"), "{first}");
        if end == "delete" {
            server.text(&["capture", "delete", "tt"]);
        }
        let last = lines.last().expect("more lines").expect("text");
        assert!(last.contains("  deleted"), "{last}");
        assert!(watching.wait().expect("it ends").success(), "{end}");
    }
    let never = server.ask(&["capture", "watch", "tt"]);
    assert_eq!(never.status.code(), Some(3), "{never:?}");
}

#[test]
fn what_is_missing_or_makes_no_sense_is_named() {
    let (server, _data) = server();
    let nowhere = server.ask(&["capture", "create"]);
    assert_eq!(nowhere.status.code(), Some(2));
    let text = error(&nowhere);
    assert!(text.contains("--gremlin") && text.contains("--node"), "{text}");
    let both = server.ask(&["capture", "create", "--gremlin", "G.V()", "--node", "t"]);
    assert_eq!(both.status.code(), Some(2));

    let port = server.ask(&[&NOBODY[..], &["--type", "pcap", "--port", "8110"]].concat());
    assert_eq!(port.status.code(), Some(2));
    assert!(
        error(&port).contains("pcap capture listens on no port"),
        "{}",
        error(&port)
    );

    // It cannot begin, and there is nothing to wait for.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let never = server.ask(&[
        "capture",
        "create",
        "--gremlin",
        "G.V().Has('Type', 'host').Out('Name', 'lo')",
        "--type",
        "pcapsocket",
        "--port",
        &port,
        "--wait",
        "--timeout",
        "60s",
    ]);
    assert_eq!(never.status.code(), Some(1), "{never:?}");
    assert!(
        error(&never).contains("a program or a capture listens there"),
        "{}",
        error(&never)
    );
}

//! What people type: help, exit statuses, environment, terminals and pipes.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::{FLOWTAP, Server, clean, need};

fn run(arguments: &[&str]) -> Output {
    clean(FLOWTAP).args(arguments).output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn every_command_explains_itself() {
    let help = stdout(&run(&["--help"]));
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let commands: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        commands,
        [
            "up",
            "client",
            "query",
            "capture",
            "status",
            "topology",
            "flows",
            "replay",
            "check",
            "completion",
            "man",
            "version",
            "help"
        ]
    );
    for command in commands {
        let output = run(&["help", command]);
        assert!(
            output.status.success() && stdout(&output).contains("Usage:"),
            "{command}"
        );
    }
    assert_eq!(run(&[]).status.code(), Some(2), "nothing asked: usage");
    assert_eq!(run(&["qeury"]).status.code(), Some(2));
    assert!(stderr(&run(&["qeury"])).contains("'query'"), "a suggestion");
    assert_eq!(
        stdout(&run(&["version"])),
        concat!("flowtap ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn completion_and_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completion", shell]));
        assert!(
            script.contains("replay") && script.contains("pcap-socket"),
            "{shell}"
        );
    }
    assert!(stdout(&run(&["man"])).contains(".TH flowtap 1"));
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man1");
    assert!(
        run(&["man", "--dir", pages.to_str().expect("text")])
            .status
            .success()
    );
    for page in [
        "flowtap.1",
        "flowtap-up.1",
        "flowtap-client-query.1",
        "flowtap-replay.1",
    ] {
        assert!(pages.join(page).exists(), "{page}");
    }
}

#[test]
fn exit_statuses() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let check = |arguments: &[&str], code: i32, says: &str| {
        let output = server.ask(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let text = stderr(&output);
        assert!(text.contains(says), "{arguments:?}: {text}");
        assert!(code == 2 || text.lines().count() <= 1, "one line: {text}");
    };
    check(&["query", "G.Flows().Count()"], 0, "");
    // What makes no sense, to whom ever: usage.
    check(&["query", "G.Flows("], 2, "column");
    check(&["query", "G.Flows()", "--format", "xml"], 2, "json");
    check(&["query", "G.V()", "--format", "pcap"], 2, "pcap");
    check(
        &["flows", "--since", "junk"],
        2,
        "`junk` cannot be used as `from`",
    );
    check(&["flows", "--filter", "Has("], 2, "column");
    check(&["flows", "--follow", "--fail-empty"], 2, "--fail-empty");
    check(&["topology", "--at", "junk"], 2, "column");
    check(&["topology", "G.V("], 2, "column");
    check(&["capture", "explain", "G.V("], 2, "column");
    check(&["capture", "explain", "G.V()", "--type", "dpdk"], 2, "ovssflow");
    for wrong in [
        ["--gremlin=G.V(", "--bpf=icmp"],
        ["--gremlin=G.V()", "--bpf=icmpp"],
        ["--gremlin=G.V()", "--type=dpdk"],
        ["--gremlin=G.V()", "--header-size=1"],
        ["--gremlin=G.V()", "--rawpacket-limit=-2"],
        ["--gremlin=G.V()", "--ttl=junk"],
        ["--gremlin=G.V()", "--target=a b"],
        ["--gremlin=G.V()", "--node=x"],
        ["--node='", "--bpf=icmp"],
    ] {
        check(&[&["client", "capture", "create"], &wrong[..]].concat(), 2, "");
    }
    check(&["client", "node", "create", "--node-type", "device"], 2, "Name");
    check(&["client", "--analyzer", "127.0.0.1:99999", "status"], 2, "99999");
    check(&["replay", "--to", "nowhere", "/dev/null"], 2, "nowhere");
    check(&["up", "--listen", "junk"], 2, "junk");
    check(&["up", "--ovsdb", "ftp://x"], 2, "ftp://x");
    check(&["up", "--config", "/nonexistent"], 2, "/nonexistent");
    check(&["check", "--listen", "0.0.0.0:1"], 2, "--insecure");
    // What makes sense and cannot be had.
    check(&["client", "pcap", "-t", "/dev/null"], 1, "");
    check(&["client", "pcap", "-t", "/nonexistent"], 1, "/nonexistent");
    check(
        &["capture", "get", "00000000-0000-0000-0000-000000000000"],
        3,
        "not found",
    );
    check(&["flows", "--fail-empty"], 3, "no flow");
    check(&["flows"], 0, "");
    check(&["flows", "--capture", "nobody"], 3, "Capture 'nobody' not found");
    check(&["flows", "--capture", "pcapsocket"], 0, "");
    check(
        &["client", "--analyzer", "127.0.0.1:1", "status"],
        5,
        "127.0.0.1:1",
    );

    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound").to_string();
    check(
        &["status", "--analyzer", &address, "--timeout", "50ms"],
        124,
        "--timeout",
    );
}

#[test]
fn environment_names_the_analyzers() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let list = format!("127.0.0.1:1,{}", server.http);
    let status = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = clean(FLOWTAP);
        command
            .args(["client", "status"])
            .args(arguments)
            .envs(variables.iter().copied());
        command.status().expect("the binary runs").code()
    };
    assert_eq!(
        status(&[("SKYDIVE_ANALYZERS", &list)], &[]),
        Some(0),
        "a list: the first that answers"
    );
    assert_eq!(
        status(&[("SKYDIVE_ANALYZERS", "127.0.0.1:1 127.0.0.1:2")], &[]),
        Some(5)
    );
    assert_eq!(status(&[("SKYDIVE_ANALYZER", &list)], &[]), Some(0));
    let ours = [
        ("FLOWTAP_ANALYZER", "127.0.0.1:1"),
        ("SKYDIVE_ANALYZERS", list.as_str()),
    ];
    assert_eq!(status(&ours, &[]), Some(5), "ours goes first");
    assert_eq!(
        status(&ours, &["--analyzer", &list]),
        Some(0),
        "the flag before all"
    );
}

#[test]
fn flag_wins_over_environment_over_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("flowtap.toml");
    std::fs::write(&file, "[http]\nlisten = \"0.0.0.0:1\"\n").expect("a file");
    let check = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = clean(FLOWTAP);
        command
            .arg("check")
            .args(arguments)
            .envs(variables.iter().copied())
            .env("FLOWTAP_CONFIG", &file);
        stderr(&command.output().expect("the binary runs"))
    };
    assert!(check(&[], &[]).contains("0.0.0.0:1"), "the file counts");
    let variable = [("FLOWTAP_LISTEN", "0.0.0.0:2")];
    assert!(
        check(&variable, &[]).contains("0.0.0.0:2"),
        "the environment wins"
    );
    assert!(
        check(&variable, &["--listen", "0.0.0.0:3"]).contains("0.0.0.0:3"),
        "the flag wins"
    );
    assert_eq!(
        check(&variable, &["--listen", "127.0.0.1:3"]),
        "",
        "and is enough"
    );
}

#[test]
fn documents_look_as_skydives() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    server.replay(&["ovs-sflow-dhcp.truth.pcap"]);
    let flows = server.text(&["client", "query", "G.Flows().Limit(1)"]);
    assert!(flows.starts_with("[\n\t{\n\t\t\""), "tabs: {flows}");
    assert!(
        flows.contains("\n\t\t\"Metric\": {\n\t\t\t\"ABPackets\": "),
        "{flows}"
    );
    let captures = server.text(&["client", "capture", "list"]);
    assert!(captures.starts_with("{\n  \""), "two blanks: {captures}");
    let captures: serde_json::Value = serde_json::from_str(&captures).expect("JSON");
    let id = captures
        .as_object()
        .and_then(|all| all.keys().next())
        .expect("a capture");
    let one = server.text(&["client", "capture", "get", id]);
    let one: serde_json::Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(&one["UUID"], id.as_str());
}

#[test]
fn no_capture_on_a_terminal_and_no_noise_in_a_pipe() {
    need("script", "bsdutils");
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    server.replay(&["ovs-sflow-tcp-udp.truth.pcap"]);
    let query = format!(
        "{FLOWTAP} query 'G.Flows().RawPackets()' --format pcap --analyzer {}",
        server.http
    );
    let on_terminal = Command::new("script")
        .args(["-qec", &query, "/dev/null"])
        .output()
        .expect("script runs");
    assert_eq!(on_terminal.status.code(), Some(2));
    let said = stdout(&on_terminal);
    assert!(
        said.contains("> FILE.pcap") && said.contains("| tcpdump -r -"),
        "{said}"
    );

    let line = format!("{FLOWTAP} flows -o jsonl --analyzer {} | head -n 1", server.http);
    let piped = Command::new("bash")
        .args(["-o", "pipefail", "-c", &line])
        .output()
        .expect("bash runs");
    assert!(piped.status.success(), "{piped:?}");
    assert_eq!(stdout(&piped).lines().count(), 1);
    assert_eq!(stderr(&piped), "", "a reader that has had enough is no error");
}

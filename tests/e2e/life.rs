//! Start and stop, and what keeps it from starting.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::support::{FLOWTAP, Server, clean, eventually};

/// Runs `flowtap up` with what must keep it from starting; its status and its one line.
fn refused(arguments: &[&str]) -> (i32, String) {
    let mut command = clean(FLOWTAP);
    command
        .env("FLOWTAP_LISTEN", "127.0.0.1:0")
        .env("FLOWTAP_SFLOW", "off")
        .env("FLOWTAP_PCAP_SOCKET", "off");
    let output = command
        .arg("up")
        .args(arguments)
        .output()
        .expect("the binary runs");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr.lines().count(), 1, "one clear line: {stderr}");
    assert!(output.stdout.is_empty(), "nothing half started");
    (output.status.code().expect("it exits by itself"), stderr)
}

#[test]
fn starts_answers_and_stops() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    assert_eq!(server.get("/healthz").0, 200);
    // The watchers have their first look just after it listens.
    eventually("readiness", || (server.get("/readyz").0 == 200).then_some(()));
    let captures: serde_json::Value = serde_json::from_str(&server.text(&["capture", "list"])).expect("JSON");
    let mut types: Vec<_> = captures
        .as_object()
        .expect("by id")
        .values()
        .filter_map(|c| c["Type"].as_str())
        .collect();
    types.sort_unstable();
    assert_eq!(types, ["pcapsocket", "sflow", "upload"]);
    // A capture that waits, or failed, is no fault of the service.
    for gremlin in ["G.V().Has('Name', 'nobody')", "G.V().Has('Type', 'host')"] {
        server.text(&["capture", "create", "--gremlin", gremlin]);
    }
    assert_eq!(server.get("/readyz").0, 200);

    let asked = Instant::now();
    let (status, log) = server.terminate();
    assert!(status.success(), "{status}: {log}");
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "the whole stop has 20 s"
    );
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn ctrl_c_and_a_closed_terminal_stop_it_too() {
    for name in ["INT", "HUP"] {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path());
        server.signal(name);
        // terminate() sends SIGTERM as well; during a stop that changes nothing.
        let (status, log) = server.terminate();
        assert!(status.success(), "{name}: {status}: {log}");
    }
}

#[test]
fn under_nohup_it_outlives_its_terminal() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start_under_nohup(data.path());
    server.signal("HUP");
    assert_eq!(server.get("/healthz").0, 200);
    let (status, log) = server.terminate();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("stopping on SIGTERM"), "{log}");
}

#[test]
fn each_taken_port_is_named() {
    let data = tempfile::tempdir().expect("a directory");
    let data = data.path().display().to_string();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let (tcp, udp) = (tcp.local_addr().expect("bound"), udp.local_addr().expect("bound"));
    for (flag, address) in [("listen", tcp), ("pcap-socket", tcp), ("sflow", udp)] {
        let mut command = clean(FLOWTAP);
        command.args(["up", "--data-dir", &data]);
        for other in ["listen", "pcap-socket", "sflow"] {
            let address = if other == flag {
                address.to_string()
            } else {
                "127.0.0.1:0".to_owned()
            };
            command.arg(format!("--{other}={address}"));
        }
        let output = command.output().expect("the binary runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "--{flag}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "one clear line: {stderr}");
        assert!(stderr.contains(&address.to_string()), "--{flag}: {stderr}");
        assert!(stderr.contains("in use"), "--{flag}: {stderr}");
        assert!(output.stdout.is_empty(), "nothing half started");
    }
}

#[test]
fn data_directory_that_cannot_be_written_is_named() {
    let parent = tempfile::tempdir().expect("a directory");
    // A file in the way stops root as well; permissions do not.
    let file = parent.path().join("file");
    std::fs::write(&file, b"").expect("a file");
    let inside = file.join("data").display().to_string();
    let (code, line) = refused(&["--data-dir", &inside]);
    assert_eq!(code, 1, "{line}");
    assert!(line.contains(&inside), "{line}");

    let closed = parent.path().join("closed");
    std::fs::create_dir(&closed).expect("a directory");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).expect("chmod");
    if std::fs::write(closed.join("probe"), b"").is_err() {
        let (code, line) = refused(&["--data-dir", &closed.display().to_string()]);
        assert_eq!(code, 1, "{line}");
        assert!(
            line.contains("permission denied") || line.contains("Permission denied"),
            "{line}"
        );
    }
}

#[test]
fn data_directory_in_use_is_named() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let path = data.path().display().to_string();
    let (code, line) = refused(&["--data-dir", &path]);
    assert_eq!(code, 1, "{line}");
    assert!(line.contains(&path) && line.contains("in use"), "{line}");
    assert_eq!(server.get("/healthz").0, 200, "the first one goes on");
}

#[test]
fn bad_configuration_is_one_line_with_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("flowtap.toml");
    let path = file.display().to_string();
    let data = directory.path().join("data");
    for (text, wanted) in [
        (
            "[http]\nlisen = \"127.0.0.1:0\"\n",
            ":2: unknown key `lisen`, did you mean `listen`?",
        ),
        ("[htp]\n", ":1: unknown key `htp`, did you mean `http`?"),
        ("[flows]\nmax = 0\n", "flows.max must be more than 0"),
        ("[log]\nfilter = \"flowtap=loud\"\n", "log filter `flowtap=loud`"),
        ("not toml", ":1: "),
    ] {
        std::fs::write(&file, text).expect("a file");
        let (code, line) = refused(&["--config", &path, "--data-dir", &data.display().to_string()]);
        assert_eq!(code, 2, "{line}");
        assert!(line.contains(wanted), "{text:?}: {line}");
        assert!(
            !data.exists(),
            "nothing is made before the configuration is right"
        );
        let check = clean(FLOWTAP)
            .args(["check", "--config", &path])
            .output()
            .expect("the binary runs");
        assert_eq!(check.status.code(), Some(2), "`flowtap check` agrees on {text:?}");
    }
    for (listen, wanted) in [
        (
            "--listen=0.0.0.0:0",
            "listening beyond loopback needs --insecure: there is no authentication yet",
        ),
        ("--pcap-socket=0.0.0.0:0", "needs --insecure: anybody can send"),
        ("--sflow=0.0.0.0:0", "needs --sflow-agents"),
    ] {
        let (code, line) = refused(&[listen, "--data-dir", &data.display().to_string()]);
        assert_eq!(code, 2);
        assert!(line.contains(wanted), "{line}");
    }
}

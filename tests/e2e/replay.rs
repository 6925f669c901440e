//! Captures over TCP: whole, cut, packed, broken, many at once; and packets out again.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Server, eventually, fixture, need, pipe};

/// 2,593 packets of all kinds, none of them sampled.
const MIX: &str = "ovs-sflow-mix-s64.truth.pcap";
const MIX_PACKETS: u64 = 2593;
const DHCP: &str = "ovs-sflow-dhcp.truth.pcap";
const DHCP_PACKETS: u64 = 26;

/// A server that keeps every packet.
fn keep_all(data: &Path) -> Server {
    let config = data.join("flowtap.toml");
    std::fs::write(&config, "[packets]\nper_flow = -1\n").expect("a file");
    Server::start_with(&data.join("data"), &["--config", config.to_str().expect("text")])
}

/// Packets that became part of flows.
fn kept(server: &Server) -> u64 {
    server.ledger("pcapsocket")["Kept"].as_u64().expect("a number")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).expect("the fixture")
}

/// What tcpdump reads in a capture: a line for each packet, with its time.
fn dump(capture: &[u8]) -> Vec<String> {
    let text = pipe("tcpdump", &["-nnr", "-", "-s0", "-tt", "--nano", "-e"], capture);
    text.lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn netcat_in_tcpdump_out() {
    need("nc", "netcat-openbsd");
    need("tcpdump", "tcpdump");
    let directory = tempfile::tempdir().expect("a directory");
    let server = keep_all(directory.path());
    let status = Command::new("nc")
        .args([
            "-N",
            &server.pcap_socket.ip().to_string(),
            &server.pcap_socket.port().to_string(),
        ])
        .stdin(File::open(fixture(MIX)).expect("the fixture"))
        .status();
    assert!(status.expect("nc runs").success());
    eventually("all packets", || (kept(&server) == MIX_PACKETS).then_some(()));

    let output = server.ask(&["client", "query", "G.Flows().RawPackets()", "--format", "pcap"]);
    assert!(output.status.success(), "{output:?}");
    let (mut wanted, got) = (dump(&read(MIX)), dump(&output.stdout));
    assert_eq!(got.len() as u64, MIX_PACKETS);
    let times: Vec<&str> = got.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(times.is_sorted(), "packets come out in the order of time");
    let mut got = got;
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted, "the same packets, lengths and times");

    let nothing = server.ask(&[
        "query",
        "G.Flows().Has('Application', 'nothing').RawPackets()",
        "--format=pcap",
    ]);
    assert_eq!(dump(&nothing.stdout), [""; 0], "an empty capture is a capture");
    assert_eq!(nothing.stdout.len(), 24);
}

#[test]
fn replayed_files_become_flows() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let output = server.ask(&["replay", path(MIX).as_str(), path(DHCP).as_str()]);
    assert!(output.status.success(), "{output:?}");
    let talk = String::from_utf8(output.stderr).expect("text");
    assert!(
        talk.contains(&format!("{MIX}: {MIX_PACKETS} packets sent")),
        "{talk}"
    );
    // The command returns when all of it is taken: no waiting here.
    assert_eq!(kept(&server), MIX_PACKETS + DHCP_PACKETS);
    let ledger = server.ledger("pcapsocket");
    assert_eq!(ledger["Received"], ledger["Kept"], "{ledger}");
    assert!(server.count("G.Flows().Has('Application', 'DHCPv4').Count()") > 0);

    let table = server.text(&["flows", "--app", "DHCPv4"]);
    assert!(table.lines().count() >= 2 && table.contains("DHCPv4"), "{table}");
    let lines = server.text(&["flows", "-o", "jsonl", "--filter", "Has('Application', 'DHCPv4')"]);
    for line in lines.lines() {
        let flow: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(flow["Application"], "DHCPv4");
    }
    let csv = server.text(&["flows", "-o", "csv", "--limit", "3"]);
    assert_eq!(csv.lines().count(), 4, "a header and three: {csv}");
    let json: Value =
        serde_json::from_str(&server.text(&["flows", "-o", "json", "--limit", "3"])).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(3));
}

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}

#[test]
fn standard_input_pace_and_gzip() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let to = server.pcap_socket.to_string();
    let packed = pipe_bytes("gzip", &["-c"], &read(DHCP));
    pipe(crate::support::FLOWTAP, &["replay", "--to", &to, "-"], &packed);
    assert_eq!(kept(&server), DHCP_PACKETS);

    let output = server.ask(&["replay", "--pace", &path(DHCP)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(kept(&server), 2 * DHCP_PACKETS);
}

/// As [`pipe`], with bytes out.
fn pipe_bytes(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("input");
    std::fs::write(&file, input).expect("a file");
    let output = Command::new(program)
        .args(arguments)
        .stdin(File::open(&file).expect("a file"))
        .output();
    output.unwrap_or_else(|error| panic!("{program}: {error}")).stdout
}

/// Replays a file from standard input: it is sent, where one that is named is handed over.
fn send(server: &Server, file: &Path) -> Output {
    let mut flowtap = Command::new(crate::support::FLOWTAP);
    flowtap.args(["replay", "--to", &server.pcap_socket.to_string(), "-"]);
    let output = flowtap.stdin(File::open(file).expect("a file")).output();
    output.expect("it runs")
}

#[test]
fn files_that_are_none_are_told_and_harm_nobody() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let files = tempfile::tempdir().expect("a directory");
    let garbage = files.path().join("garbage.pcap");
    std::fs::write(
        &garbage,
        b"GET / HTTP/1.0\r\n\r\n, or whatever this is meant to be",
    )
    .expect("a file");
    let cut = files.path().join("cut.pcap");
    let whole = read(DHCP);
    std::fs::write(&cut, &whole[..whole.len() - 5]).expect("a file");

    // Named, a file is handed over; from standard input it is sent.
    let sent = |file: &Path| ("standard input".to_owned(), send(&server, file));
    let handed_over = |file: &Path| {
        let name = file.to_str().expect("text").to_owned();
        let output = server.ask(&["replay", &name]);
        (name, output)
    };
    for (name, output) in [handed_over(&garbage), sent(&garbage)] {
        assert_eq!(output.status.code(), Some(1));
        let line = String::from_utf8(output.stderr).expect("text");
        assert!(
            line.contains(&name)
                && line.contains("accepted are pcap, pcapng")
                && line.contains("; 0 packets"),
            "{line}"
        );
    }
    for (name, output) in [handed_over(&cut), sent(&cut)] {
        assert_eq!(output.status.code(), Some(1));
        let line = String::from_utf8(output.stderr).expect("text");
        assert!(
            line.contains(&name) && line.contains("cut off in the middle of packet 26"),
            "{line}"
        );
    }
    eventually("the packets before the cut", || {
        (kept(&server) >= 2 * (DHCP_PACKETS - 1)).then_some(())
    });

    server.replay(&[DHCP]);
    let nowhere = server.ask(&["replay", "--to", "127.0.0.1:1", &path(DHCP)]);
    assert_eq!(nowhere.status.code(), Some(5));

    let (_, log) = server.terminate();
    for client in ["client=process ", "client=127.0.0.1:"] {
        assert!(log.contains(client), "one of each kind: {log}");
    }
}

#[test]
fn a_bad_file_does_not_keep_the_others_back() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let garbage = data.path().join("garbage.pcap").display().to_string();
    std::fs::write(&garbage, "no capture at all").expect("a file");
    let good = path(DHCP);
    let said = |arguments: &[&str]| {
        let output = server.ask(&[&["replay"], arguments].concat());
        let lines = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), lines)
    };

    let (code, lines) = said(&["/nowhere/it.pcap", &garbage, &good]);
    assert_eq!(code, Some(1), "{lines}");
    let lines: Vec<&str> = lines.lines().collect();
    let [absent, broken, sent] = lines[..] else {
        panic!("a line for each: {lines:?}")
    };
    assert!(
        absent.starts_with("flowtap: failed to open /nowhere/it.pcap: "),
        "{absent}"
    );
    assert!(broken.starts_with(&format!("flowtap: {garbage}: ")), "{broken}");
    assert_eq!(sent, format!("{good}: {DHCP_PACKETS} packets sent"));
    assert_eq!(kept(&server), DHCP_PACKETS);

    // No server is none for all of them.
    let (code, lines) = said(&["--to", "127.0.0.1:1", &good, &good]);
    assert_eq!((code, lines.lines().count()), (Some(5), 1), "{lines}");
}

#[test]
fn a_port_that_is_no_pcap_socket_is_told() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let to = server.http.to_string();
    // All sent before the answer comes, or cut off by it.
    for name in [DHCP, MIX] {
        for pace in [&[][..], &["--pace"]] {
            let output = server.ask(&[&["replay", "--to", &to, &path(name)], pace].concat());
            let line = String::from_utf8(output.stderr).expect("text");
            assert_eq!(output.status.code(), Some(1), "{line}");
            assert!(line.contains(name) && line.contains("no pcap socket"), "{line}");
            assert!(line.contains("it answered: HTTP/1.1 400 Bad Request)"), "{line}");
        }
    }
}

#[test]
fn ten_streams_one_broken_one_staying() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let address = server.pcap_socket;
    let file = read(DHCP);

    // One that sends a file and stays: its packets are there although it has not ended.
    let mut staying = TcpStream::connect(address).expect("it listens");
    staying.write_all(&file).expect("it reads");
    eventually("the first file", || (kept(&server) == DHCP_PACKETS).then_some(()));

    // One that talks nonsense: closed, and told in the log.
    let mut broken = TcpStream::connect(address).expect("it listens");
    broken.write_all(&[0x55; 4096]).expect("it reads");
    let mut rest = Vec::new();
    // Closed with unread bytes, the end may come as a reset.
    let _ = broken.read_to_end(&mut rest);
    assert_eq!(rest, b"", "the pcap socket answers nothing");

    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("it listens");
                // In small pieces, so that they take turns.
                file.chunks(100)
                    .try_for_each(|piece| stream.write_all(piece))
                    .expect("it reads");
                stream.shutdown(Shutdown::Write).expect("still open");
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    assert_eq!(kept(&server), 11 * DHCP_PACKETS);

    // The one that stayed goes on: a second file on the same connection.
    staying.write_all(&file).expect("it reads");
    eventually("the second file", || {
        (kept(&server) == 12 * DHCP_PACKETS).then_some(())
    });

    let ledger = server.ledger("pcapsocket");
    assert_eq!(ledger["Dropped"]["malformed"], 1, "the nonsense: {ledger}");
    assert_eq!(
        ledger["Received"].as_u64(),
        Some(12 * DHCP_PACKETS + 1),
        "{ledger}"
    );

    let (status, log) = server.terminate();
    assert!(status.success());
    assert!(
        log.contains("accepted are pcap, pcapng"),
        "the log says why it was closed: {log}"
    );
}

#[test]
fn the_log_says_why_one_was_closed_however_many_ended_in_order_before_it() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let orderly = [DHCP; 12];
    server.replay(&orderly);

    let mut broken = TcpStream::connect(server.pcap_socket).expect("it listens");
    broken.write_all(&[0x55; 4096]).expect("it reads");
    // Closed with unread bytes, the end may come as a reset.
    let _ = broken.read_to_end(&mut Vec::new());

    let (_, log) = server.terminate();
    let ended = log.matches("pcap stream ended").count();
    assert!(ended < orderly.len(), "these have a limit: {log}");
    assert!(log.contains("accepted are pcap, pcapng"), "{log}");
}

#[test]
fn packets_of_an_unknown_link_type_are_told() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let unknown = data.path().join("unknown.pcap").display().to_string();
    let mut bytes = read(DHCP);
    bytes[20..24].copy_from_slice(&147u32.to_le_bytes());
    std::fs::write(&unknown, &bytes).expect("a file");
    // Files one after another are one stream.
    let mixed = data.path().join("mixed.pcap").display().to_string();
    std::fs::write(&mixed, [bytes, read(DHCP)].concat()).expect("a file");

    let all = format!("none of its {DHCP_PACKETS} packets was kept: their link type is not supported");
    let some = format!(
        "{} packets sent, {DHCP_PACKETS} of them dropped: their link type is not supported",
        2 * DHCP_PACKETS
    );
    // An upload, a file that is handed over, one that is sent.
    for command in [&["client", "pcap", "-t"][..], &["replay"], &[]] {
        let said = |file: &str| {
            let output = match command {
                [] => send(&server, Path::new(file)),
                command => server.ask(&[command, &[file]].concat()),
            };
            let text = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(text).expect("text"))
        };
        let (code, text) = said(&unknown);
        assert!(code == Some(1) && text.contains(&all), "{command:?}: {text}");
        let (code, text) = said(&mixed);
        let some = if command.contains(&"client") {
            some.replace(" sent", "")
        } else {
            some.clone()
        };
        assert!(code == Some(0) && text.contains(&some), "{command:?}: {text}");
    }
    let dropped = &server.ledger("pcapsocket")["Dropped"]["link_type"];
    assert_eq!(dropped.as_u64(), Some(4 * DHCP_PACKETS));
}

#[test]
fn upload_keeps_the_files_times() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let said = server.text(&["client", "pcap", "-t", &path(DHCP)]);
    assert!(said.contains("was successfully imported"), "{said}");
    let flows = server.query("G.Flows().Has('Application', 'DHCPv4')");
    let first = flows.as_array().and_then(|flows| flows.first()).expect("a flow");
    let recorded = dump(&read(DHCP))
        .first()
        .and_then(|line| line.split('.').next()?.parse::<i64>().ok());
    let start = first["Start"].as_i64().expect("ms") / 1000;
    assert!(
        start - recorded.expect("a time") < 60,
        "flows lie in the recording's time: {first}"
    );

    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--data-binary",
        "nonsense",
    ]);
    let output = curl
        .arg(format!("http://{}/api/pcap", server.http))
        .stdin(Stdio::null())
        .output();
    assert_eq!(String::from_utf8_lossy(&output.expect("curl runs").stdout), "400");
}

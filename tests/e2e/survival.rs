//! Nothing stored is lost: not by a stop, not by a crash.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use flowtap_flow::packet::{LinkType, Packet};
use flowtap_flow::pcap::{PcapWriter, Resolution};
use flowtap_flow::timestamp::Timestamp;

use crate::support::{Server, eventually, need};

/// A capture of `flows` UDP flows of two packets each, the first numbered `first`, one each millisecond.
fn capture(first: u32, flows: u32) -> Vec<u8> {
    let mut writer =
        PcapWriter::new(Vec::new(), LinkType::ETHERNET, Resolution::Nanos).expect("a Vec takes all");
    let epoch = Timestamp::from_secs(1_700_000_000);
    for flow in first..first + flows {
        for (direction, offset) in [(0, 0), (1, 500)] {
            let frame = udp_frame(flow, direction);
            let time = Timestamp::from_nanos(epoch.nanos() + i64::from(flow) * 1_000_000 + offset);
            let packet = Packet::new(time, frame.len() as u32, LinkType::ETHERNET, &frame);
            writer.write(&packet).expect("a Vec takes all");
        }
    }
    writer.finish().expect("a Vec takes all")
}

/// Ethernet, IPv4, UDP, 8 bytes: one side of flow number `flow`, or the other.
fn udp_frame(flow: u32, direction: u8) -> Vec<u8> {
    let [_, a, b, c] = flow.to_be_bytes();
    let (client, server) = ([10, a, b, c], [192, 0, 2, 1]);
    let (source, target, ports) = if direction == 0 {
        (client, server, [0x07, 0xd0, 0x0f, 0xa0])
    } else {
        (server, client, [0x0f, 0xa0, 0x07, 0xd0])
    };
    let mut frame = vec![2, 0, 0, 0, 0, 1 - direction, 2, 0, 0, 0, 0, direction, 8, 0];
    frame.extend([0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(source);
    frame.extend(target);
    frame.extend(ports);
    frame.extend([0, 16, 0, 0]);
    frame.extend(*b"flowtap!");
    frame
}

/// Flows and packets that the server says are stored.
fn stored(server: &Server) -> (u64, u64) {
    let status = server.status();
    let store = &status["Flowtap"]["Store"];
    let number = |name: &str| {
        store[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {status}"))
    };
    (number("Flows"), number("RawPackets"))
}

#[test]
fn restart_keeps_everything() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    server.replay(&["ovs-sflow-tcp-udp.truth.pcap", "ovs-sflow-dhcp.truth.pcap"]);
    let everything = |server: &Server| {
        let mut flows = server.query("G.Flows()").as_array().expect("a list").clone();
        // What only the end of a flow, or of the program, tells.
        for flow in &mut flows {
            let flow = flow.as_object_mut().expect("an object");
            flow.remove("LastUpdateMetric");
            flow.remove("FinishType");
        }
        flows.sort_by_key(|flow| flow["UUID"].as_str().map(str::to_owned));
        let output = server.ask(&["query", "G.Flows().RawPackets()", "--format", "pcap"]);
        assert!(output.status.success(), "{output:?}");
        (flows, output.stdout)
    };
    let live = everything(&server);
    assert!(live.0.len() > 10);
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");

    let server = Server::start(data.path());
    let kept = everything(&server);
    assert_eq!(kept.0, live.0);
    assert_eq!(kept.1, live.1, "byte for byte the same capture");
}

#[test]
fn sigterm_in_the_middle_of_a_stream_loses_nothing_received() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let mut stream = TcpStream::connect(server.pcap_socket).expect("it listens");
    stream.write_all(&capture(0, 5000)).expect("it reads");
    eventually("all packets", || {
        (server.ledger("pcapsocket")["Kept"] == 10_000).then_some(())
    });
    // The connection is still open, and nothing was flushed for its end.
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    let server = Server::start(data.path());
    assert_eq!(server.count("G.Flows().Count()"), 5000);
    assert_eq!(stored(&server), (5000, 10_000));
}

#[test]
fn kill_in_the_middle_of_a_replay_loses_nothing_stored() {
    need("sqlite3", "sqlite3");
    const FLOWS: u32 = 20_000;
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    // Little memory for kept packets: the replay waits for the store, which is busy all the time.
    let config = directory.path().join("flowtap.toml");
    std::fs::write(&config, "[packets]\nmemory_bytes = 200000\n").expect("a file");
    let arguments = ["--config", config.to_str().expect("text")];

    let (mut flows, mut packets) = (0, 0);
    for round in 0..20 {
        let server = Server::start_with(&data, &arguments);
        assert_stored(&server, &data, flows, packets, round);
        let mut stream = TcpStream::connect(server.pcap_socket).expect("it listens");
        let replay = std::thread::spawn(move || {
            // Ends with an error when the server is killed.
            let _ = stream.write_all(&capture(round * FLOWS, FLOWS));
        });
        // Each round a little later, so that kills fall at different points of a commit.
        let target = flows + 200 + u64::from(round) * 50;
        (flows, packets) = eventually("more in the store", || {
            let now = stored(&server);
            (now.0 >= target).then_some(now)
        });
        server.kill();
        replay.join().expect("the replay ends");
    }
    let server = Server::start_with(&data, &arguments);
    assert_stored(&server, &data, flows, packets, 20);
}

/// Everything that was reported is there, and counted from the files, not from a note of it; and
/// the files are sound.
fn assert_stored(server: &Server, data: &Path, flows: u64, packets: u64, round: u32) {
    let (flows_now, packets_now) = stored(server);
    assert!(flows_now >= flows, "round {round}: {flows_now} flows of {flows}");
    assert!(
        packets_now >= packets,
        "round {round}: {packets_now} packets of {packets}"
    );
    let counted = server.count("G.Flows().Count()");
    assert!(
        counted >= flows,
        "round {round}: {counted} flows found of {flows}"
    );
    for entry in walk(data) {
        let output = Command::new("sqlite3")
            .arg("-readonly")
            .arg(&entry)
            .arg("PRAGMA integrity_check")
            .output();
        let output = output.expect("sqlite3 runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "ok",
            "round {round}: {}",
            entry.display()
        );
    }
}

/// The databases below a directory.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "db" || extension == "sqlite")
        {
            found.push(path);
        }
    }
    found
}

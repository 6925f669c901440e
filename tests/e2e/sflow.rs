//! Recorded sFlow of a real switch, sent again: every sampled packet is in the store once.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use flowtap_flow::packet::Packet;
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::timestamp::Timestamp;

use crate::support::{FLOWTAP, Server, clean, eventually, fixture};

/// A packet of a capture file: bytes on the wire, and those captured.
type Captured = (u32, Vec<u8>);

fn packets(file: &[u8]) -> Vec<Captured> {
    let mut packets = Vec::new();
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let mut visit = |batch: &[Packet<'_>]| packets.extend(batch.iter().map(|p| (p.len, p.data.to_vec())));
    parser.push(file, &mut visit).expect("a capture file");
    assert_eq!(parser.finish().cut_bytes, 0);
    packets
}

/// Payloads of the UDP datagrams in a recording of Ethernet, IPv4 without options, UDP.
fn datagrams(name: &str) -> Vec<Vec<u8>> {
    const HEADERS: usize = 14 + 20 + 8;
    let file = std::fs::read(fixture(name)).expect("the fixture");
    packets(&file)
        .into_iter()
        .map(|(_, frame)| frame[HEADERS..].to_vec())
        .collect()
}

fn send(server: &Server, name: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for datagram in datagrams(&format!("{name}.pcap")) {
        socket.send_to(&datagram, server.sflow).expect("sent");
    }
}

/// Sends a recording, waits for its samples, and returns them as they come out again.
fn samples_of(server: &Server, name: &str, samples: u64) -> Vec<Captured> {
    send(server, name);
    eventually("all samples", || {
        (server.ledger("sflow")["Kept"].as_u64() == Some(samples)).then_some(())
    });
    let output = server.ask(&["query", "G.Flows().RawPackets()", "--format", "pcap"]);
    assert!(output.status.success(), "{output:?}");
    packets(&output.stdout)
}

/// Takes each of `samples` out of the truth, where it must be: as many bytes as both hold, and the
/// length on the wire.
fn assert_each_once(name: &str, samples: &[Captured]) {
    let file = std::fs::read(fixture(&format!("{name}.truth.pcap"))).expect("the fixture");
    let mut truth = packets(&file);
    for (len, data) in samples {
        let same = |(true_len, bytes): &Captured| {
            let common = data.len().min(bytes.len());
            true_len == len && data[..common] == bytes[..common]
        };
        let at = truth.iter().position(same);
        let at = at.unwrap_or_else(|| panic!("{name}: a packet that never was, or twice: {len} {data:02x?}"));
        truth.swap_remove(at);
    }
}

#[test]
fn each_recording_comes_out_as_it_went_in() {
    // Samples as counted by sflowtool; see fixtures/README.md.
    for (name, samples) in [
        ("ovs-sflow-counters", 0),
        ("ovs-sflow-dhcp", 26),
        ("ovs-sflow-frag-short", 31),
        ("ovs-sflow-header64", 34),
        ("ovs-sflow-icmp", 30),
        ("ovs-sflow-ipv6", 36),
        ("ovs-sflow-mix-s64", 42),
        ("ovs-sflow-restart", 36),
        ("ovs-sflow-tcp-udp", 155),
        ("ovs-sflow-two-bridges", 28),
        ("ovs-sflow-vlan-arp", 34),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("flowtap.toml");
        std::fs::write(&config, "[packets]\nper_flow = -1\n").expect("a file");
        let data = directory.path().join("data");
        let arguments = ["--config", config.to_str().expect("text")];

        let server = Server::start_with(&data, &arguments);
        let live = samples_of(&server, name, samples);
        assert_eq!(live.len() as u64, samples, "{name}");
        assert_each_once(name, &live);
        let ledger = server.ledger("sflow");
        assert_eq!(ledger["Received"], ledger["Kept"], "{name}: {ledger}");

        let (status, log) = server.terminate();
        assert!(status.success(), "{name}: {log}");
        let server = Server::start_with(&data, &arguments);
        let output = server.ask(&["query", "G.Flows().RawPackets()", "--format", "pcap"]);
        assert!(output.status.success(), "{name}: {output:?}");
        let mut stored = packets(&output.stdout);
        let mut live = live;
        stored.sort();
        live.sort();
        assert_eq!(stored, live, "{name}: the same after a restart");
    }
}

#[test]
fn followed_flows_appear_as_they_come() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let mut follower = clean(FLOWTAP)
        .args([
            "flows",
            "--follow",
            "-o",
            "jsonl",
            "--app",
            "ICMPv4",
            "--analyzer",
            &server.http.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    // A look may fall between two datagrams: then more lines follow until all echoes are in.
    let mut until = |echoes: u64, sampled: bool| loop {
        let line = lines.next().expect("it goes on").expect("text");
        let flow: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if flow["Metric"]["ABPackets"] == echoes && flow["NodeTID"].is_string() == sampled {
            break;
        }
    };
    send(&server, "ovs-sflow-icmp");
    until(10, true);
    // The same flow again, because it has new packets.
    send(&server, "ovs-sflow-icmp");
    until(20, true);
    // A recording comes in now, whatever time it was made.
    server.replay(&["ovs-sflow-icmp.truth.pcap"]);
    until(10, false);
    let sent = Command::new("kill")
        .args(["-INT", &follower.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
    assert!(follower.wait().expect("a child of ours").success());
}

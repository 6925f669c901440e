//! Captures of one node at once: each has its own flows, packets and ledger.

use serde_json::Value;

use crate::capture::{balanced, capture, create, packets};
use crate::lab::Lab;
use crate::support::{Server, eventually, need};

const NODE: &str = "G.V().Has('Type', 'host').Out('Name', 'tapvm1')";

fn flow_of(server: &Server, id: &str, with: (u64, u64)) -> Value {
    eventually("the capture's flow of the ping", || {
        let flows = server.query(&format!(
            "G.Flows().Has('CaptureID', '{id}', 'Application', 'ICMPv4')"
        ));
        let flow = flows.as_array()?.first()?.clone();
        let metric = &flow["Metric"];
        (metric["ABPackets"] == with.0 && metric["BAPackets"] == with.1).then_some(flow)
    })
}

fn packets_of(server: &Server, id: &str) -> Vec<String> {
    packets(
        server,
        &format!("G.Flows().Has('CaptureID', '{id}', 'Application', 'ICMPv4').RawPackets()"),
    )
}

#[test]
fn captures_of_one_node_leave_each_other_alone() {
    need("tcpdump", "tcpdump");
    let (lab, data) = (Lab::up("t"), tempfile::tempdir().expect("a directory"));
    let server = lab.server(data.path());
    let wait = ["--wait", "--timeout=60s"];
    // A node has one capture of a query: these say the same in other words.
    let ids = [
        (NODE.to_owned(), "afpacket", "icmp[icmptype] == icmp-echo", "3"),
        (format!("{NODE}.Dedup()"), "afpacket", "icmp", "-1"),
        (format!("{NODE}.Dedup().Dedup()"), "pcap", "icmp", "5"),
    ]
    .map(|(gremlin, kind, filter, limit)| {
        let arguments = [
            "--gremlin",
            &gremlin,
            "--type",
            kind,
            "--bpf",
            filter,
            "--rawpacket-limit",
            limit,
        ];
        create(&server, &[&arguments[..], &wait].concat())
    });
    lab.inside(&lab.namespace("vm1"), &["ping", "-c8", "-i0.02", "10.77.1.12"]);

    let seen = |server: &Server| {
        let [requests, all, some] = &ids;
        let flows = [
            flow_of(server, requests, (8, 0)),
            flow_of(server, all, (8, 8)),
            flow_of(server, some, (8, 8)),
        ];
        let mut uuids: Vec<_> = flows.iter().map(|flow| flow["UUID"].to_string()).collect();
        uuids.sort();
        uuids.dedup();
        assert_eq!(uuids.len(), 3, "{flows:?}");
        let kept: Vec<_> = ids.iter().map(|id| packets_of(server, id)).collect();
        assert_eq!(
            kept.iter().map(Vec::len).collect::<Vec<_>>(),
            [3, 16, 5],
            "{kept:?}"
        );
        assert!(
            kept[0].iter().all(|line| line.contains("echo request")),
            "{kept:?}"
        );
    };
    seen(&server);
    for id in &ids {
        let ledger = capture(&server, id)["Ledger"].clone();
        assert!(balanced(&ledger), "{ledger}");
    }
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    seen(&lab.server(data.path()));
}

#[test]
fn packets_of_a_new_flow_are_found_after_a_kill() {
    need("tcpdump", "tcpdump");
    let (lab, data) = (Lab::up("u"), tempfile::tempdir().expect("a directory"));
    let server = lab.server(data.path());
    let arguments = [
        "--gremlin",
        NODE,
        "--bpf",
        "icmp",
        "--rawpacket-limit",
        "-1",
        "--wait",
        "--timeout=60s",
    ];
    let id = create(&server, &arguments);
    // One flow that goes on until the end: no silence and no end of an interval hands it over.
    let ping = "ping -q -i0.05 10.77.1.12 >/dev/null 2>&1 </dev/null & echo $!";
    let pid = lab.inside(&lab.namespace("vm1"), &["sh", "-c", ping]);
    eventually("a stored flow with packets", || {
        let store = &server.status()["Flowtap"]["Store"];
        (store["Updates"].as_u64()? > 0 && store["RawPackets"].as_u64()? > 0).then_some(())
    });
    let found = packets_of(&server, &id).len();
    assert!(found > 10, "{found}");
    server.kill();
    lab.inside(&lab.namespace("vm1"), &["kill", pid.trim()]);
    let again = lab.server(data.path());
    let after = packets_of(&again, &id).len();
    assert!(after > 0, "of {found} packets");
}

//! A real machine boots: its own kernel, under QEMU.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::capture::{balanced, capture, create};
use crate::lab::Lab;
use crate::support::{Server, eventually, need, pipe};

/// Packets of all flows that have `mac` at the end that sent them.
pub(crate) fn sent_by(server: &Server, mac: &str) -> u64 {
    let flows = server.query("G.Flows()");
    let sent = |flow: &Value, end: &str, packets: &str| {
        let is_sender = flow["Link"][end] == mac;
        is_sender.then(|| flow["Metric"][packets].as_u64()).flatten()
    };
    let flows = flows.as_array().expect("flows").iter();
    flows
        .flat_map(|flow| [sent(flow, "A", "ABPackets"), sent(flow, "B", "BAPackets")])
        .flatten()
        .sum()
}

/// Packets that came in at an interface of the switch, as the kernel counts them.
pub(crate) fn came_in(lab: &Lab, interface: &str) -> u64 {
    let links = lab.ip(&lab.switch(), &["-j", "-s", "link", "show", interface]);
    let links: Value = serde_json::from_str(&links).expect("JSON");
    links[0]["stats64"]["rx"]["packets"].as_u64().expect("a count")
}

#[test]
fn a_machine_with_a_kernel_of_its_own_is_captured_from_its_first_packet() {
    need("tcpdump", "tcpdump");
    let (lab, data) = (Lab::bare("q"), tempfile::tempdir().expect("a directory"));
    lab.script("dhcp.sh", &[]);
    let server = lab.server_alone(data.path());
    let id = create(&server, &["--gremlin", "G.V().HasKey('ExtID.vm-id')"]);
    let waiting = eventually("a reason to wait", || {
        let capture = capture(&server, &id);
        capture["Reason"].as_str()?.contains("none of").then_some(capture)
    });
    assert_eq!(
        (&waiting["State"], &waiting["Count"]),
        (&"waiting".into(), &0.into())
    );

    let Some(vm) = lab.script_or_skip("qemu-vm.sh", &["q1"]) else {
        return;
    };
    eventually("the machine to be done", || {
        let console = lab.file("q1.console")?;
        console.contains("metadata: instance-id: lab").then_some(())
    });
    let active = eventually("the capture to be active", || {
        let capture = capture(&server, &id);
        (capture["State"] == "active").then_some(capture)
    });
    assert_eq!(active["Count"], 1);
    let nodes = active["Nodes"].as_array().expect("nodes").iter();
    let node = nodes
        .clone()
        .find(|node| node["State"] == "active")
        .expect("a node");
    assert_eq!(
        (&node["Name"], &node["FirstPackets"]),
        (&"tapq1".into(), &"complete".into()),
        "{node}"
    );

    // Every frame that the machine has sent, from the first, is in a flow.
    let flows = format!("G.V().Has('ExtID.vm-id', '{vm}').Flows().Has('CaptureID', '{id}')");
    let mac = eventually("the machine's address", || {
        let dhcp = server.query(&format!("{flows}.Has('Application', 'DHCPv4')"));
        Some(dhcp[0]["Link"]["A"].as_str()?.to_owned())
    });
    eventually("all frames", || {
        (sent_by(&server, &mac) == came_in(&lab, "tapq1")).then_some(())
    });
    let seen = server.query(&format!("{flows}.Values('Application')"));
    let seen: BTreeSet<&str> = seen
        .as_array()
        .expect("values")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for application in ["ARP", "DHCPv4", "ICMPv4", "TCP"] {
        assert!(seen.contains(application), "{seen:?}");
    }
    let metadata = server.query(&format!(
        "{flows}.Has('Network', '169.254.169.254', 'Transport', 80)"
    ));
    assert_eq!(metadata[0]["Application"], "TCP", "{metadata}");

    // What it asked for first is the first of its DHCP in the file.
    let output = server.ask(&[
        "client",
        "query",
        &format!("{flows}.RawPackets()"),
        "--format",
        "pcap",
    ]);
    assert!(output.status.success(), "{output:?}");
    let text = pipe("tcpdump", &["-vtnr", "-", "udp port 67"], &output.stdout);
    let kinds: Vec<&str> = text
        .lines()
        .filter_map(|line| Some(line.split_once("DHCP-Message (53), length 1: ")?.1))
        .collect();
    assert_eq!(kinds, ["Discover", "Offer", "Request", "ACK"], "{text}");

    lab.script("kill-vm.sh", &["q1"]);
    eventually("the capture to wait again", || {
        let capture = capture(&server, &id);
        (capture["State"] == "waiting" && capture["Count"] == 0).then_some(())
    });
    let capture = capture(&server, &id);
    assert!(balanced(&capture["Ledger"]), "{}", capture["Ledger"]);
}

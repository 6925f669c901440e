//! Captures: of interfaces that are there, and of machines that are not yet.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::capture_machine::{came_in, sent_by};
use crate::lab::Lab;
use crate::support::{PATIENCE, Server, eventually, need, pipe};

/// What `flowtap client capture create ARGUMENTS` made.
pub(crate) fn create(server: &Server, arguments: &[&str]) -> String {
    let arguments = [&["client", "capture", "create"], arguments].concat();
    let capture: Value = serde_json::from_str(&server.text(&arguments)).expect("JSON");
    capture["UUID"].as_str().expect("an id").to_owned()
}

pub(crate) fn capture(server: &Server, id: &str) -> Value {
    serde_json::from_str(&server.text(&["client", "capture", "get", id])).expect("JSON")
}

/// The lines that tcpdump prints of a query's packets.
pub(crate) fn packets(server: &Server, gremlin: &str) -> Vec<String> {
    let output = server.ask(&["client", "query", gremlin, "--format", "pcap"]);
    assert!(output.status.success(), "{output:?}");
    let text = pipe("tcpdump", &["-qtns0", "-r", "-"], &output.stdout);
    text.lines().map(str::to_owned).collect()
}

/// received = kept + filtered + dropped.
pub(crate) fn balanced(ledger: &Value) -> bool {
    let number = |name: &str| ledger[name].as_u64().expect("a count");
    let dropped: u64 = ledger["Dropped"]
        .as_object()
        .expect("reasons")
        .values()
        .filter_map(Value::as_u64)
        .sum();
    number("Received") == number("Kept") + number("Filtered") + dropped
}

fn lab(what: &str) -> (Lab, tempfile::TempDir) {
    need("tcpdump", "tcpdump");
    (Lab::up(what), tempfile::tempdir().expect("a directory"))
}

/// An `eth0` of the host where flowtap runs, at 10.88.0.1, and 10.88.0.2 behind it.
fn with_eth0(lab: &Lab) {
    let (here, there) = (lab.switch(), lab.add_namespace("far"));
    let pair = [
        "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
    ];
    lab.ip(&here, &[&pair[..], &[&there]].concat());
    for (namespace, address) in [(&here, "10.88.0.1/24"), (&there, "10.88.0.2/24")] {
        lab.ip(namespace, &["addr", "add", address, "dev", "eth0"]);
        lab.ip(namespace, &["link", "set", "eth0", "up"]);
    }
}

#[test]
fn pings_of_an_interface_come_out_as_flows_and_packets() {
    need("tcpdump", "tcpdump");
    let (lab, data) = (Lab::bare("p"), tempfile::tempdir().expect("a directory"));
    with_eth0(&lab);
    let server = lab.server_alone(data.path());
    let requests = "icmp[icmptype] == icmp-echo";
    // What is said of the capture, its type, replies that pass, packets that are kept.
    let cases: [(&[&str], &str, u64, u64); 3] = [
        (&["--bpf", "icmp"], "afpacket", 20, 20),
        (&["--type", "pcap", "--rawpacket-limit", "5"], "pcap", 20, 5),
        (
            &["--type", "pcap", "--bpf", requests, "--rawpacket-limit", "5"],
            "pcap",
            0,
            5,
        ),
    ];
    let mut kept_before = 0;
    for (said, kind, back, kept) in cases {
        let id = create(
            &server,
            &[&["--gremlin", "G.V().Has('Name', 'eth0')"], said].concat(),
        );
        let active = eventually("the capture to be active", || {
            let capture = capture(&server, &id);
            (capture["State"] == "active").then_some(capture)
        });
        assert_eq!(
            (&active["Count"], &active["Nodes"][0]["Type"]),
            (&1.into(), &kind.into())
        );
        lab.inside(&lab.switch(), &["ping", "-c20", "-i0.02", "10.88.0.2"]);
        let flows = format!("G.Flows().Has('CaptureID', '{id}', 'Application', 'ICMPv4')");
        let flow = eventually("the ping's flow", || {
            let flows = server.query(&flows);
            let flow = flows.as_array()?.first()?.clone();
            (flow["Metric"]["ABPackets"] == 20 && flow["Metric"]["BAPackets"] == back).then_some(flow)
        });
        assert_eq!(flow["RawPacketsCaptured"], kept);
        let lines = packets(&server, &format!("{flows}.RawPackets()"));
        assert_eq!(lines.len() as u64, kept);
        let (request, reply) = (
            "IP 10.88.0.1 > 10.88.0.2: ICMP echo request,",
            "IP 10.88.0.2 > 10.88.0.1: ICMP echo reply,",
        );
        assert!(lines[0].starts_with(request), "{lines:?}");
        let other = if back > 0 { reply } else { request };
        assert!(lines[1].starts_with(other), "{lines:?}");

        // The window ends a second ago.
        let file = data.path().join("icmp.pcap");
        let recent = "G.At('-1s', 1000).Flows().Has('Application', 'ICMPv4').RawPackets()";
        let (lines, about) = eventually("packets a second old", || {
            let pcap = server
                .ask(&["client", "query", recent, "--format", "pcap"])
                .stdout;
            std::fs::write(&file, pcap).expect("it is written");
            let read = Command::new("tcpdump")
                .args(["-qns", "0", "-r"])
                .arg(&file)
                .output();
            let read = read.expect("it runs");
            let text = String::from_utf8(read.stdout).expect("text");
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let is_all = lines.len() as u64 == kept_before + kept;
            is_all.then(|| (lines, String::from_utf8_lossy(&read.stderr).into_owned()))
        });
        assert!(about.contains("link-type EN10MB (Ethernet)"), "{about}");
        assert!(lines.iter().any(|line| line.contains(request)), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains(reply)), "{lines:?}");
        kept_before += kept;
        let node = server.query(&format!("{flows}.CaptureNode()"));
        assert_eq!(node[0]["Metadata"]["Name"], "eth0", "{node}");

        // Deleted, it takes nothing more in; its flows stay.
        server.text(&["client", "capture", "delete", &id]);
        eventually("the node to forget it", || {
            let there = server.count(&format!("G.V().Has('Captures.ID', '{id}').Count()"));
            (there == 0).then_some(())
        });
        assert_eq!(server.count(&format!("{flows}.Count()")), 1);
    }
}

#[test]
fn a_machine_that_boots_is_captured_from_its_first_packet() {
    need("tcpdump", "tcpdump");
    let (lab, data) = (Lab::bare("b"), tempfile::tempdir().expect("a directory"));
    lab.script("dhcp.sh", &[]);
    let server = lab.server(data.path());
    let id = create(&server, &["--gremlin", "G.V().HasKey('ExtID.vm-id')"]);
    let waiting = eventually("a reason to wait", || {
        let capture = capture(&server, &id);
        (capture["State"] == "waiting" && capture["Reason"].as_str()?.contains("none of")).then_some(capture)
    });
    assert_eq!(waiting["Count"], 0);

    for (vm, order) in [("vm3", "link"), ("vm4", "row")] {
        lab.script("boot-vm.sh", &[vm, "dhcp", order]);
        let node = eventually("a lease, seen", || {
            let capture = capture(&server, &id);
            let node = capture["Nodes"]
                .as_array()?
                .iter()
                .find(|node| node["Name"] == format!("tap{vm}"))?
                .clone();
            let seen = server.count(&format!(
                "G.V().Has('Type', 'host').Out('Name', 'tap{vm}').Flows().Has('Application', 'DHCPv4').Count()"
            ));
            (node["State"] == "active" && seen >= 2).then_some(node)
        });
        assert_eq!(node["FirstPackets"], "complete", "{node}");
        let lines = packets(
            &server,
            &format!("G.V().Has('Type', 'host').Out('Name', 'tap{vm}').Flows().RawPackets()"),
        );
        let discover = "IP 0.0.0.0.68 > 255.255.255.255.67:";
        assert!(lines.iter().any(|line| line.starts_with(discover)), "{lines:?}");
        // The kernel of the machine asks for neighbours before anybody asks for an address.
        assert!(lines[0].starts_with("IP6 "), "{lines:?}");
    }

    // What the machine does next: metadata over HTTP, from an address that DHCP told the way to.
    let vm3 = lab.namespace("vm3");
    lab.ip(&vm3, &["route", "add", "169.254.169.254", "via", "10.77.0.1"]);
    lab.inside(&vm3, &["ping", "-c2", "-i0.1", "10.77.0.1"]);
    lab.inside(
        &vm3,
        &["busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/"],
    );
    for (filter, application, packets_there) in [
        ("Has('Application', 'ICMPv4')", "ICMPv4", 2),
        ("Has('Network', '169.254.169.254', 'Transport', 80)", "TCP", 3),
    ] {
        let flow = eventually(filter, || {
            let flows = server.query(&format!(
                "G.V().Has('Type', 'host').Out('Name', 'tapvm3').Flows().{filter}"
            ));
            let flow = flows.as_array()?.first()?.clone();
            (flow["Metric"]["ABPackets"].as_u64()? >= packets_there).then_some(flow)
        });
        assert_eq!(flow["Application"], application, "{flow}");
    }
    let capture = capture(&server, &id);
    assert_eq!(
        (&capture["State"], &capture["Count"]),
        (&"active".into(), &2.into())
    );
    assert!(balanced(&capture["Ledger"]), "{}", capture["Ledger"]);
    let events: Vec<&str> = capture["Events"]
        .as_array()
        .expect("a log")
        .iter()
        .filter_map(|event| event["Event"].as_str())
        .collect();
    for event in ["created", "matched", "capturing", "first_packet"] {
        assert!(events.contains(&event), "{events:?}");
    }
    let text = server.text(&[
        "capture",
        "explain",
        "G.V().HasKey('ExtID.vm-id').Has('Name', 'tapvm9')",
    ]);
    let explained: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(explained["Matched"], 0);
}

#[test]
fn no_boot_is_missed() {
    let (lab, data) = lab("n");
    let server = lab.server_alone(data.path());
    create(
        &server,
        &[
            "--gremlin",
            "G.V().HasKey('ExtID.vm-id').Has('Name', Regex('tapb.*'))",
        ],
    );
    // What each machine sent, by its address, as its own kernel counts it.
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for boot in 1..=100 {
        let vm = format!("b{boot}");
        let namespace = lab.namespace(&vm);
        lab.script("boot-vm.sh", &[&vm, &format!("10.77.2.{boot}")]);
        lab.inside(&namespace, &["ping", "-c1", "10.77.1.11"]);
        lab.ip(&namespace, &["link", "set", "eth0", "down"]);
        let links = lab.ip(&namespace, &["-j", "-s", "link", "show", "eth0"]);
        let links: Value = serde_json::from_str(&links).expect("JSON");
        let address = links[0]["address"].as_str().expect("an address");
        let packets = links[0]["stats64"]["tx"]["packets"].as_u64().expect("a count");
        sent.insert(address.to_owned(), packets);
        lab.script("kill-vm.sh", &[&vm]);
    }
    assert_eq!(sent.len(), 100);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut seen = BTreeMap::new();
        for flow in server.query("G.Flows()").as_array().expect("flows") {
            for (end, packets) in [("A", "ABPackets"), ("B", "BAPackets")] {
                let address = flow["Link"][end].as_str().unwrap_or_default();
                if sent.contains_key(address) {
                    *seen.entry(address.to_owned()).or_insert(0) +=
                        flow["Metric"][packets].as_u64().expect("a count");
                }
            }
        }
        if seen == sent {
            return;
        }
        let differ = sent
            .iter()
            .filter(|(address, _)| seen.get(*address) != sent.get(*address));
        let differ: Vec<_> = differ
            .map(|(address, sent)| (address, sent, seen.get(address)))
            .collect();
        assert!(Instant::now() < deadline, "sent and seen: {differ:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_machine_that_is_plugged_in_again_is_seen_without_a_gap_and_nothing_twice() {
    let (lab, data) = lab("r");
    let server = lab.server_alone(data.path());
    let id = create(
        &server,
        &["--gremlin", "G.V().HasKey('ExtID.vm-id').Has('Name', 'tapr1')"],
    );
    lab.script("boot-vm.sh", &["r1", "10.77.3.1"]);
    let machine = lab.namespace("r1");
    // Whether or not the switch takes its packets, they come in at its interface. Nobody answers.
    let send = "ping -q -c20 -i0.01 -W0.1 -b 10.77.255.255 >/dev/null 2>&1; true";
    for _ in 0..4 {
        lab.inside(&machine, &["sh", "-c", send]);
        lab.script("replug.sh", &["r1"]);
    }
    lab.inside(&machine, &["sh", "-c", send]);
    lab.ip(&machine, &["link", "set", "eth0", "down"]);
    let links = lab.ip(&machine, &["-j", "link", "show", "eth0"]);
    let links: Value = serde_json::from_str(&links).expect("JSON");
    let mac = links[0]["address"].as_str().expect("an address");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (seen, sent) = (sent_by(&server, mac), came_in(&lab, "tapr1"));
        if seen == sent {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{seen} of {sent} packets: {}",
            capture(&server, &id)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(came_in(&lab, "tapr1") >= 100);
    let capture = capture(&server, &id);
    assert!(balanced(&capture["Ledger"]), "{}", capture["Ledger"]);
    let starts = capture["Events"].as_array().expect("a log").iter();
    let starts = starts.filter(|event| event["Event"] == "capturing");
    assert!(starts.count() > 1, "{}", capture["Events"]);
}

#[test]
fn the_first_frame_of_a_machine_that_does_not_wait_is_there() {
    let (lab, data) = lab("h");
    need("python3", "python3");
    let server = lab.server_alone(data.path());
    let id = create(
        &server,
        &["--gremlin", "G.V().Has('Name', Regex('taph.*')).HasKey('VM.ID')"],
    );
    for boot in 1..=20 {
        let vm = format!("h{boot}");
        lab.script("hostile.sh", &[&vm]);
        let flow = format!(
            "G.V().Has('Type', 'host').Out('Name', 'tap{vm}').Flows()\
             .Has('CaptureID', '{id}', 'Link.A', '02:00:00:00:ab:01')"
        );
        let first = eventually("the machine's frames", || {
            let output = server.ask(&["query", &format!("{flow}.RawPackets()"), "--format", "pcap"]);
            // Headers of the file and of the first packet, and Ethernet's.
            output
                .stdout
                .get(24 + 16 + 14..24 + 16 + 14 + 12)
                .map(<[u8]>::to_vec)
        });
        assert_eq!(String::from_utf8_lossy(&first), "frame 000000", "{vm}");
        lab.script("kill-vm.sh", &[&vm]);
    }
    // What is in the last machine's ring may still be on its way.
    eventually("a ledger that adds up", || {
        balanced(&capture(&server, &id)["Ledger"]).then_some(())
    });
}

#[test]
fn a_capture_outlives_a_restart_and_ends_with_its_time() {
    let (lab, data) = lab("o");
    let server = lab.server(data.path());
    let by_name = |name: &str| format!("G.V().Has('Type', 'host').Out('Name', '{name}')");
    let kept = create(
        &server,
        &["--gremlin", &by_name("tapvm1"), "--name", "one", "--wait"],
    );
    let brief = create(&server, &["--gremlin", &by_name("tapvm2"), "--ttl", "1500"]);
    let again = server.ask(&["capture", "create", "--gremlin", &by_name("tapvm1")]);
    let error = String::from_utf8_lossy(&again.stderr);
    assert!(error.contains("duplicated resource"), "{error}");
    eventually("the end of its time", || {
        let output = server.ask(&["capture", "get", &brief]);
        (output.status.code() == Some(3)).then_some(())
    });
    assert!(server.terminate().0.success());

    let server = lab.server(data.path());
    eventually("the capture to go on", || {
        let capture = capture(&server, &kept);
        (capture["State"] == "active" && capture["Name"] == "one").then_some(())
    });
    server.text(&["capture", "delete", "one"]);
    assert_eq!(server.ask(&["capture", "get", "one"]).status.code(), Some(3));
    let wrong = server.ask(&["capture", "create", "--gremlin", "G.V()", "--bpf", "icmp and ("]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("Not a valid BPF expression"));
}

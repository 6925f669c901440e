//! A real Open vSwitch that samples real traffic.

use crate::lab::Lab;
use crate::support::eventually;

#[test]
fn open_vswitch_samples_become_flows() {
    let lab = Lab::up("s");
    let data = tempfile::tempdir().expect("a directory");
    let server = lab.server(data.path());
    lab.script("sflow.sh", &["on"]);
    lab.script("traffic.sh", &["icmp", "7"]);
    lab.script("traffic.sh", &["udp", "9"]);
    lab.script("traffic.sh", &["tcp", "20"]);

    // Sampling is 1:1, so the counts are exact. Open vSwitch sends within a second.
    for (gremlin, there, back) in [
        (
            "G.Flows().Has('Application', 'ICMPv4', 'Network.A', '10.77.1.11')",
            7,
            7,
        ),
        ("G.Flows().Has('Transport.B', 5001)", 9, 0),
    ] {
        eventually(gremlin, || {
            let flows = server.query(gremlin);
            let [flow] = flows.as_array()?.as_slice() else {
                return None;
            };
            (flow["Metric"]["ABPackets"] == there && flow["Metric"]["BAPackets"] == back).then_some(())
        });
    }
    let bytes = eventually("the whole TCP flow", || {
        let flows = server.query("G.Flows().Has('Transport.B', 5000, 'Transport.Protocol', 'TCP')");
        let flow = flows.as_array()?.first()?.clone();
        (flow["FinishType"] == 2).then_some(flow["Metric"]["ABBytes"].as_u64()?)
    });
    assert!(bytes > 20 * 1024, "20 KiB and their headers: {bytes}");

    let ledger = server.ledger("sflow");
    assert_eq!(ledger["Received"], ledger["Kept"], "{ledger}");
    assert!(ledger["RawPacketsKept"].as_u64() > Some(0), "{ledger}");

    // A machine that boots is seen from its first packet on.
    lab.script("boot-vm.sh", &["vm3", "10.77.1.13"]);
    eventually("neighbour discovery of vm3", || {
        let total = server.count("G.Flows().Has('LayersPath', Regex('.*ICMPv6.*')).Count()");
        (total > 0).then_some(())
    });
}

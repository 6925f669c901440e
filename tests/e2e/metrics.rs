//! What Prometheus reads.

use std::collections::BTreeSet;

use crate::support::{Server, need, pipe};

/// Names in backquotes that begin a row of a table in `docs/METRICS.md`.
fn documented() -> BTreeSet<&'static str> {
    let text = include_str!("../../docs/METRICS.md");
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect()
}

#[test]
fn metrics_are_well_formed_and_documented() {
    need("promtool", "prometheus");
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    server.replay(&["ovs-sflow-dhcp.truth.pcap"]);
    // The first request is the first to be timed.
    server.get("/healthz");
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    assert_eq!(pipe("promtool", &["check", "metrics"], text.as_bytes()), "");

    let exposed = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(
        exposed.collect::<BTreeSet<_>>(),
        documented(),
        "docs/METRICS.md names what is exposed"
    );
    let kept = text.lines().find(|line| {
        line.starts_with("flowtap_capture_packets_kept_total{") && line.contains("type=\"pcapsocket\"")
    });
    assert!(kept.is_some_and(|line| line.ends_with("} 26")), "{kept:?}");
}

//! Flows to test with.

use std::net::IpAddr;

use flowtap_flow::flow::{
    FinishType, Flow, FlowId, FlowMetric, IcmpLayer, IcmpType, LinkLayer, MacAddr, NetworkLayer,
    TransportLayer, TransportProtocol,
};
use flowtap_flow::text::Text;
use flowtap_flow::timestamp::Timestamp;

fn flow(number: u64, layers: &str, application: &str) -> Flow {
    let start = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(number).unwrap_or(0));
    let metric = FlowMetric {
        ab_packets: number,
        ab_bytes: 60 * number,
        start,
        last: start,
        ..FlowMetric::default()
    };
    Flow {
        uuid: FlowId(number),
        tracking_id: FlowId(0xa000 + number),
        l3_tracking_id: FlowId(0xb000 + number),
        parent_uuid: FlowId::NONE,
        layers_path: layers.into(),
        application: application.into(),
        link: Some(LinkLayer {
            a: MacAddr([2, 0, 0, 0, 0, 1]),
            b: MacAddr([2, 0, 0, 0, 0, 2]),
            id: 0,
        }),
        network: None,
        transport: None,
        icmp: None,
        metric,
        last_update_metric: None,
        start,
        last: start,
        node_tid: Text::default(),
        capture_id: Text::default(),
        raw_packets_captured: 0,
        finish_type: FinishType::NotFinished,
        sampling: None,
        extra: None,
    }
}

fn network() -> NetworkLayer {
    NetworkLayer {
        a: IpAddr::from([10, 0, 0, 1]),
        b: IpAddr::from([10, 0, 0, 2]),
        id: 7,
    }
}

/// With every fixed field filled.
pub(crate) fn tcp_flow(number: u64) -> Flow {
    let mut flow = flow(number, "Ethernet/IPv4/TCP", "TCP");
    flow.network = Some(network());
    flow.transport = Some(TransportLayer {
        protocol: TransportProtocol::Tcp,
        a: 40_000,
        b: 80,
    });
    flow.last_update_metric = Some(flow.metric);
    flow.metric.rtt = 1_500;
    flow.parent_uuid = FlowId(5);
    flow.node_tid = "node".into();
    flow.capture_id = "capture".into();
    flow.finish_type = FinishType::Fin;
    flow
}

/// Without ports.
pub(crate) fn icmp_flow(number: u64) -> Flow {
    let mut flow = flow(number, "Ethernet/IPv4/ICMPv4", "ICMPv4");
    flow.network = Some(network());
    flow.icmp = Some(IcmpLayer {
        kind: IcmpType::Echo,
        code: 1,
        id: 9,
        number: 8,
    });
    flow
}

/// Without addresses.
pub(crate) fn arp_flow(number: u64) -> Flow {
    flow(number, "Ethernet/ARP", "ARP")
}

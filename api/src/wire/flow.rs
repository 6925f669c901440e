//! Flows as JSON. The server writes them straight from [`flowtap_flow::flow::Flow`]; these types read
//! the same document, and a test holds the two together.

use flowtap_flow::flow::{IpMetric, Sampling, TcpMetric};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Addresses of one layer. A sent the first packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LayerDocument {
    /// `ETHERNET`, `IPV4` or `IPV6`.
    pub protocol: String,
    /// The sender of the first packet.
    pub a: String,
    /// Its receiver.
    pub b: String,
    /// Link: VLAN ids, the outermost in bits 0 to 11. Network: VNI or GRE key of the tunnel carried.
    #[serde(rename = "ID", default, skip_serializing_if = "is_zero")]
    pub id: u64,
}

/// Ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PortsDocument {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Source port of the first packet.
    pub a: u16,
    /// Destination port of the first packet.
    pub b: u16,
}

/// The ICMP layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct IcmpDocument {
    /// Skydive's name of the message: `ECHO`, `DESTINATION_UNREACHABLE`, …
    pub r#type: String,
    /// The code field.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code: u64,
    /// The identifier of an echo.
    #[serde(rename = "ID", default, skip_serializing_if = "is_zero")]
    pub id: u64,
}

/// Packets and bytes both ways over a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetricDocument {
    /// Packets from A to B; for sampled traffic, the estimate.
    #[serde(rename = "ABPackets")]
    pub ab_packets: u64,
    /// Bytes from A to B on the wire.
    #[serde(rename = "ABBytes")]
    pub ab_bytes: u64,
    /// Packets from B to A.
    #[serde(rename = "BAPackets")]
    pub ba_packets: u64,
    /// Bytes from B to A on the wire.
    #[serde(rename = "BABytes")]
    pub ba_bytes: u64,
    /// Begin, ms since the Unix epoch.
    #[serde(rename = "Start")]
    pub start: i64,
    /// End, ms since the Unix epoch.
    #[serde(rename = "Last")]
    pub last: i64,
    /// Round-trip time in ns, 0 if not measured.
    #[serde(rename = "RTT", default, skip_serializing_if = "is_zero")]
    pub rtt: u64,
}

/// A flow: both directions of one conversation at one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct FlowDocument {
    /// This flow at this node since its start.
    #[serde(rename = "UUID")]
    pub uuid: String,
    /// Names of the layers joined by `/`.
    pub layers_path: String,
    /// The last layer, or what a port stands for.
    pub application: String,
    /// MAC addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LayerDocument>,
    /// IP addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<LayerDocument>,
    /// Ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<PortsDocument>,
    /// ICMP, if it was.
    #[serde(rename = "ICMP", default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpDocument>,
    /// What came since the last update interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_metric: Option<MetricDocument>,
    /// Totals.
    pub metric: MetricDocument,
    /// The first packet, ms since the Unix epoch.
    pub start: i64,
    /// The last packet, ms since the Unix epoch.
    pub last: i64,
    /// The same conversation has the same one at every node.
    #[serde(rename = "TrackingID")]
    pub tracking_id: String,
    /// The same without the link layer.
    #[serde(rename = "L3TrackingID")]
    pub l3_tracking_id: String,
    /// The flow that carries this one in a tunnel, or empty.
    #[serde(rename = "ParentUUID")]
    pub parent_uuid: String,
    /// The node where it was seen.
    #[serde(rename = "NodeTID", default, skip_serializing_if = "String::is_empty")]
    pub node_tid: String,
    /// The capture that saw it.
    #[serde(rename = "CaptureID", default, skip_serializing_if = "String::is_empty")]
    pub capture_id: String,
    /// Raw packets kept.
    pub raw_packets_captured: u64,
    /// 0 not finished, 1 timeout, 2 FIN, 3 RST, 4 evicted from a full table.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub finish_type: u64,
    /// Community ID v1.
    #[serde(rename = "CommunityID", default, skip_serializing_if = "String::is_empty")]
    pub community_id: String,
    /// TCP details, where the capture asks for them.
    #[serde(rename = "TCPMetric", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub tcp_metric: Option<TcpMetric>,
    /// Defragmentation details, where the capture asks for them.
    #[serde(rename = "IPMetric", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub ip_metric: Option<IpMetric>,
    /// What was really seen of sampled traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub sampling: Option<Sampling>,
    /// Extra layers (`DHCPv4`, `DNS`, `VRRPv2`), where the capture asks for them.
    #[serde(flatten)]
    pub layers: serde_json::Map<String, serde_json::Value>,
}

/// The answer of `GET /api/v1/flows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct FlowPage {
    /// By start, then UUID.
    pub flows: Vec<FlowDocument>,
    /// To be given as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use flowtap_flow::flow::{Flow, FlowExtra};

    use super::*;
    use crate::testing;

    #[test]
    fn it_reads_every_field_that_the_domain_writes() {
        let mut extra = FlowExtra {
            tcp_metric: Some(TcpMetric {
                ab_syn_start: 5,
                ..TcpMetric::default()
            }),
            ip_metric: Some(IpMetric {
                fragments: 2,
                fragment_errors: 1,
            }),
            layers: serde_json::Map::new(),
        };
        extra
            .layers
            .insert("DNS".to_owned(), serde_json::json!({"ID": 1}));
        let rich = Flow {
            sampling: Some(Sampling {
                rate: 64,
                ab_packets: 3,
                ..Sampling::default()
            }),
            extra: Some(Box::new(extra)),
            ..testing::tcp_flow(1)
        };
        for flow in [rich, testing::icmp_flow(2), testing::arp_flow(3)] {
            let domain = serde_json::to_value(&flow).unwrap();
            let document: FlowDocument = serde_json::from_value(domain.clone()).unwrap();
            assert_eq!(serde_json::to_value(&document).unwrap(), domain);
        }
    }
}

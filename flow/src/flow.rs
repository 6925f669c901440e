//! A flow as queries and stores see it: a snapshot of both directions of one conversation.

mod layer;
mod metric;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

pub use layer::{
    FlowId, IcmpLayer, IcmpType, LinkLayer, MacAddr, NetworkLayer, TransportLayer, TransportProtocol,
    ip_from_bytes,
};
pub use metric::{FinishType, FlowMetric, IpMetric, Sampling, TcpMetric};

use crate::text::Text;
use crate::timestamp::Timestamp;

/// What rarely stands beside the fixed fields. Stored as one JSON document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowExtra {
    /// TCP details.
    #[serde(rename = "TCPMetric", skip_serializing_if = "Option::is_none")]
    pub tcp_metric: Option<TcpMetric>,
    /// Defragmentation details.
    #[serde(rename = "IPMetric", skip_serializing_if = "Option::is_none")]
    pub ip_metric: Option<IpMetric>,
    /// Skydive's extra layers (`DHCPv4`, `DNS`, `VRRPv2`), as JSON under those names.
    #[serde(flatten)]
    pub layers: serde_json::Map<String, serde_json::Value>,
}

impl FlowExtra {
    /// True if there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tcp_metric.is_none() && self.ip_metric.is_none() && self.layers.is_empty()
    }
}

/// Both directions of one conversation at one node. A sent the first packet seen.
///
/// Serialized, it is Skydive's flow document (times in ms, RTT in ns) plus `CommunityID` and
/// `Sampling`.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Identifies this flow at this node since its start.
    pub uuid: FlowId,
    /// The same conversation has the same one at every node.
    pub tracking_id: FlowId,
    /// The same without the link layer.
    pub l3_tracking_id: FlowId,
    /// The flow that carries this one in a tunnel, or [`FlowId::NONE`].
    pub parent_uuid: FlowId,
    /// Names of the layers joined by `/`.
    pub layers_path: Text,
    /// The last layer, or what a port stands for.
    pub application: Text,
    /// Ethernet addresses, if there were any.
    pub link: Option<LinkLayer>,
    /// IP addresses, if there were any.
    pub network: Option<NetworkLayer>,
    /// Ports, if there were any.
    pub transport: Option<TransportLayer>,
    /// ICMP, if it was.
    pub icmp: Option<IcmpLayer>,
    /// Totals since the flow began.
    pub metric: FlowMetric,
    /// What came since the last update interval; `None` before the first.
    pub last_update_metric: Option<FlowMetric>,
    /// The first packet.
    pub start: Timestamp,
    /// The last packet.
    pub last: Timestamp,
    /// TID of the node where it was seen; empty if that is in no topology.
    pub node_tid: Text,
    /// UUID of the capture that saw it.
    pub capture_id: Text,
    /// Raw packets kept, whether still here or already stored.
    pub raw_packets_captured: u32,
    /// How it ended.
    pub finish_type: FinishType,
    /// Raw sums of sampled traffic.
    pub sampling: Option<Sampling>,
    /// The rest.
    pub extra: Option<Box<FlowExtra>>,
}

impl Flow {
    /// The IP protocol number, where the layers tell it.
    #[must_use]
    pub fn ip_protocol(&self) -> Option<u8> {
        match (&self.transport, &self.icmp, &self.network) {
            (Some(transport), _, _) => Some(transport.protocol.number()),
            (None, Some(_), Some(network)) => Some(if network.a.is_ipv4() { 1 } else { 58 }),
            _ => None,
        }
    }
}

struct Layer<'a, A> {
    protocol: &'a str,
    a: A,
    b: A,
    id: u64,
}

impl<A: Serialize> Serialize for Layer<'_, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Protocol", self.protocol)?;
        map.serialize_entry("A", &self.a)?;
        map.serialize_entry("B", &self.b)?;
        if self.id != 0 {
            map.serialize_entry("ID", &self.id)?;
        }
        map.end()
    }
}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("UUID", &self.uuid)?;
        map.serialize_entry("LayersPath", &*self.layers_path)?;
        map.serialize_entry("Application", &*self.application)?;
        if let Some(link) = &self.link {
            let (a, b) = (link.a.to_string(), link.b.to_string());
            map.serialize_entry(
                "Link",
                &Layer {
                    protocol: "ETHERNET",
                    a,
                    b,
                    id: link.id,
                },
            )?;
        }
        if let Some(network) = &self.network {
            let (a, b) = (network.a.to_string(), network.b.to_string());
            map.serialize_entry(
                "Network",
                &Layer {
                    protocol: network.protocol(),
                    a,
                    b,
                    id: network.id,
                },
            )?;
        }
        if let Some(transport) = &self.transport {
            let layer = Layer {
                protocol: transport.protocol.as_str(),
                a: transport.a,
                b: transport.b,
                id: 0,
            };
            map.serialize_entry("Transport", &layer)?;
        }
        if let Some(icmp) = &self.icmp {
            map.serialize_entry("ICMP", icmp)?;
        }
        if let Some(last_update) = &self.last_update_metric {
            map.serialize_entry("LastUpdateMetric", last_update)?;
        }
        map.serialize_entry("Metric", &self.metric)?;
        map.serialize_entry("Start", &self.start.millis())?;
        map.serialize_entry("Last", &self.last.millis())?;
        map.serialize_entry("TrackingID", &self.tracking_id)?;
        map.serialize_entry("L3TrackingID", &self.l3_tracking_id)?;
        map.serialize_entry("ParentUUID", &self.parent_uuid)?;
        if !self.node_tid.is_empty() {
            map.serialize_entry("NodeTID", &*self.node_tid)?;
        }
        if !self.capture_id.is_empty() {
            map.serialize_entry("CaptureID", &*self.capture_id)?;
        }
        map.serialize_entry("RawPacketsCaptured", &self.raw_packets_captured)?;
        if self.finish_type != FinishType::NotFinished {
            map.serialize_entry("FinishType", &(self.finish_type as u8))?;
        }
        if let Some(community_id) = crate::community_id::of_flow(self) {
            map.serialize_entry("CommunityID", &community_id)?;
        }
        if let Some(sampling) = &self.sampling {
            map.serialize_entry("Sampling", sampling)?;
        }
        if let Some(extra) = &self.extra {
            if let Some(tcp_metric) = &extra.tcp_metric {
                map.serialize_entry("TCPMetric", tcp_metric)?;
            }
            if let Some(ip_metric) = &extra.ip_metric {
                map.serialize_entry("IPMetric", ip_metric)?;
            }
            for (name, layer) in &extra.layers {
                map.serialize_entry(name, layer)?;
            }
        }
        map.end()
    }
}

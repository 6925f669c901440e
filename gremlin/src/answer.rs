//! Answers and their forms: Skydive's JSON, packets for a pcap, dot.

use std::fmt;
use std::io;
use std::sync::Arc;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use flowtap_flow::flow::{Flow, FlowId, FlowMetric};
use flowtap_flow::packet::RawPacket;
use flowtap_topology::{Edge, Node, NodeId};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use crate::error::{ErrorKind, QueryError};
use crate::graph::{NextHop, dot};

/// What a query gives. Serialized, it is Skydive's JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A graph, both lists oldest first: `[{"Nodes": [node, …], "Edges": [edge, …]}]`.
    Graph {
        /// Its nodes.
        nodes: Vec<Arc<Node>>,
        /// Its edges, both ends of which are among the nodes.
        edges: Vec<Arc<Edge>>,
    },
    /// Nodes: `[node, …]`.
    Nodes(Vec<Arc<Node>>),
    /// Edges: `[edge, …]`.
    Edges(Vec<Arc<Edge>>),
    /// Paths: `[[node, …], …]`.
    Paths(Vec<Vec<Arc<Node>>>),
    /// The next hop of each node that has one: `[{"<node id>": {Priority, IP, MAC, IfIndex}, …}]`, `[]`
    /// if none.
    NextHops(Vec<(NodeId, NextHop)>),
    /// The sockets of each node or flow: `[{"<id>": [socket, …], …}]`, `[]` if none.
    Sockets(Vec<(String, Vec<Json>)>),
    /// The metrics of each node: `[{"<node id>": [metric, …], …}]`, `[]` if none.
    NodeMetrics(Vec<(NodeId, Vec<Json>)>),
    /// Metrics of all nodes by slices of time: `[{"Aggregated": [metric, …]}]`.
    NodeAggregated(Vec<Json>),
    /// The sum of metrics of nodes: a metric, `null` if there was none.
    NodeMetric(Option<Json>),
    /// Flows: `[flow, …]`.
    Flows(Vec<Flow>),
    /// Raw packets of each flow, oldest first: `[{"<uuid>": [packet, …], …}]`, `[]` if none.
    RawPackets(Vec<(FlowId, Vec<RawPacket>)>),
    /// Metrics of each flow, oldest first: `[{"<uuid>": [metric, …], …}]`, `[]` if none.
    Metrics(Vec<(FlowId, Vec<FlowMetric>)>),
    /// Metrics of all flows by slices of time: `[{"Aggregated": [metric, …]}]`.
    Aggregated(Vec<FlowMetric>),
    /// Flows by TrackingID: `[{"<id>": [flow, …], …}]`, `[]` if none.
    Groups(Vec<(FlowId, Vec<Flow>)>),
    /// Values of a field, or names of fields: `[value, …]`.
    Values(Vec<Json>),
    /// A count or a sum: a number.
    Number(i64),
    /// A sum with fractions: a number.
    Decimal(f64),
    /// The sum of metrics: a metric, `null` if there was none.
    Metric(Option<FlowMetric>),
}

/// What Skydive says when something else than raw packets is asked for as pcap.
pub const NOT_PACKETS: &str = "Only RawPackets step result can be outputted as pcap";

impl Answer {
    /// The whole answer as one JSON value. For large answers [`Answer::write_json`] needs less memory.
    #[must_use]
    pub fn to_json(&self) -> Json {
        // Every part of an answer serializes: the keys are strings and no float is infinite.
        serde_json::to_value(self).unwrap_or(Json::Null)
    }

    /// Writes the answer as JSON, piece by piece. `output` should be buffered.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn write_json(&self, output: &mut impl io::Write) -> io::Result<()> {
        serde_json::to_writer(output, self).map_err(io::Error::from)
    }

    /// The raw packets by time, then flow, then index; `None` for any other answer, for which
    /// [`NOT_PACKETS`] is the thing to say.
    #[must_use]
    pub fn into_packets(self) -> Option<Vec<RawPacket>> {
        let Self::RawPackets(by_flow) = self else {
            return None;
        };
        let mut packets: Vec<(FlowId, RawPacket)> = by_flow
            .into_iter()
            .flat_map(|(flow, packets)| packets.into_iter().map(move |packet| (flow, packet)))
            .collect();
        packets.sort_by_key(|(flow, packet)| (packet.timestamp, *flow, packet.index));
        Some(packets.into_iter().map(|(_, packet)| packet).collect())
    }

    /// The graph in Graphviz's language, as Skydive writes it.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] for an answer that is no graph.
    pub fn to_dot(&self) -> Result<String, QueryError> {
        match self {
            Self::Graph { nodes, edges } => Ok(dot(nodes, edges)),
            _ => Err(QueryError::new(
                ErrorKind::Format,
                "Only graph can be outputted as dot",
            )),
        }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Graph { nodes, edges } => [Elements { nodes, edges }].serialize(serializer),
            Self::Nodes(nodes) => nodes.serialize(serializer),
            Self::Edges(edges) => edges.serialize(serializer),
            Self::Paths(paths) => paths.serialize(serializer),
            Self::NextHops(hops) => one_map(serializer, hops, |hop| hop),
            Self::Sockets(sockets) => one_map(serializer, sockets, |sockets| sockets),
            Self::NodeMetrics(metrics) => one_map(serializer, metrics, |metrics| metrics),
            Self::NodeAggregated(metrics) => {
                one_map(serializer, &[("Aggregated", metrics)], |metrics| *metrics)
            }
            Self::NodeMetric(metric) => metric.serialize(serializer),
            Self::Decimal(number) => number.serialize(serializer),
            Self::Flows(flows) => flows.serialize(serializer),
            Self::Values(values) => values.serialize(serializer),
            Self::Number(number) => number.serialize(serializer),
            Self::Metric(metric) => metric.serialize(serializer),
            Self::Groups(groups) => one_map(serializer, groups, |flows| flows),
            Self::Metrics(metrics) => one_map(serializer, metrics, |metrics| metrics),
            Self::RawPackets(packets) => one_map(serializer, packets, |packets| Packets(packets)),
            Self::Aggregated(metrics) => one_map(serializer, &[("Aggregated", metrics)], |metrics| *metrics),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Elements<'a> {
    nodes: &'a [Arc<Node>],
    edges: &'a [Arc<Edge>],
}

/// `[{"key": value, …}]`, or `[]` without entries.
fn one_map<'a, S: Serializer, K: fmt::Display, V, T: Serialize + 'a>(
    serializer: S,
    entries: &'a [(K, V)],
    show: impl Fn(&'a V) -> T,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(usize::from(!entries.is_empty())))?;
    if !entries.is_empty() {
        list.serialize_element(&Entries { entries, show })?;
    }
    list.end()
}

struct Entries<'a, K, V, F> {
    entries: &'a [(K, V)],
    show: F,
}

impl<'a, K: fmt::Display, V, T: Serialize + 'a, F: Fn(&'a V) -> T> Serialize for Entries<'a, K, V, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (key, value) in self.entries {
            map.serialize_entry(&format_args!("{key}"), &(self.show)(value))?;
        }
        map.end()
    }
}

struct Packets<'a>(&'a [RawPacket]);

impl Serialize for Packets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(PacketJson))
    }
}

/// Skydive's raw packet, and beside it what Skydive loses: nanoseconds and the length on the wire.
struct PacketJson<'a>(&'a RawPacket);

impl Serialize for PacketJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let packet = self.0;
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("Timestamp", &packet.timestamp.millis())?;
        map.serialize_entry("TimestampNano", &packet.timestamp.nanos())?;
        map.serialize_entry("Index", &packet.index)?;
        map.serialize_entry("Length", &packet.len)?;
        map.serialize_entry("LinkType", &packet.link_type)?;
        let data = Base64Display::new(&packet.data, &STANDARD);
        map.serialize_entry("Data", &format_args!("{data}"))?;
        map.end()
    }
}

//! sFlow agents and their ports as nodes of the topology.
//!
//! | node | `Type` | `Name` | told from its siblings by |
//! |---|---|---|---|
//! | agent and sub-agent, owned by the host | `sflowagent` | agent address, and `#` sub-agent if not 0 | its name |
//! | port, owned by its agent | `switchport` | `port N`, or what the agent calls it | ifIndex |
//!
//! A sub-agent is a node of its own: Open vSwitch gives each bridge one, with the same agent address.
//! It renumbers them when a bridge is added; `Bridge` and `DatapathID`, which come with the counters, say
//! which bridge it is at the time.

use std::net::IpAddr;
use std::sync::Arc;

use flowtap_topology::{Graph, Metadata, NodeId, NodeSpec, Tid};
use serde_json::{Value, json};

use super::counters::{Description, OpenFlowPort};
use super::wire::LagPort;

const AGENT: &str = "sflowagent";
const PORT: &str = "switchport";

/// A node that packets are seen at. Where the graph had no room for it, its TID is still the right
/// one: flows keep it, and the node may come.
#[derive(Clone, Debug)]
pub(super) struct NodeRef {
    id: Option<NodeId>,
    pub(super) tid: Tid,
}

/// Writes into the graph.
#[derive(Debug)]
pub(super) struct Nodes {
    graph: Arc<Graph>,
}

impl Nodes {
    pub(super) fn new(graph: Arc<Graph>) -> Self {
        Self { graph }
    }

    pub(super) fn agent(&self, address: IpAddr, sub_agent: u32) -> NodeRef {
        let name = match sub_agent {
            0 => address.to_string(),
            _ => format!("{address}#{sub_agent}"),
        };
        let spec = NodeSpec::new(self.graph.host(), AGENT, &name)
            .with("AgentAddress", address.to_string())
            .with("SubAgentID", sub_agent);
        NodeRef {
            id: self.graph.upsert_node(spec).ok(),
            tid: Tid::owned(self.graph.host_tid(), &name, AGENT),
        }
    }

    pub(super) fn port(&self, agent: &NodeRef, if_index: u32) -> NodeRef {
        let (key, name) = (if_index.to_string(), format!("port {if_index}"));
        let id = agent.id.as_ref().and_then(|agent| {
            let spec = NodeSpec::new(agent, PORT, &name)
                .key(&key)
                .with("IfIndex", if_index);
            self.graph.upsert_node(spec).ok()
        });
        NodeRef {
            id,
            tid: Tid::owned(&agent.tid, &key, PORT),
        }
    }

    /// Writes down what a counter sample says besides counters.
    pub(super) fn describe(&self, agent: &NodeRef, port: Option<&NodeRef>, description: &Description) {
        let mut of_agent = Metadata::new();
        let mut of_port = Metadata::new();
        if let Some(hostname) = &description.hostname {
            of_agent.insert("Hostname".to_owned(), hostname.as_str().into());
        }
        if let Some(openflow) = description.openflow {
            of_agent.insert(
                "DatapathID".to_owned(),
                format!("{:016x}", openflow.datapath_id).into(),
            );
            of_port.insert("OfPort".to_owned(), openflow.port.into());
        }
        if let Some(name) = &description.port_name {
            if description.openflow.is_some_and(OpenFlowPort::is_local) {
                of_agent.insert("Bridge".to_owned(), name.as_str().into());
            }
            of_port.insert("Name".to_owned(), name.as_str().into());
        }
        if let Some(interface) = description.interface {
            of_port.insert(
                "State".to_owned(),
                if interface.up { "UP" } else { "DOWN" }.into(),
            );
            // In Mbit/s, as the netlink probe of Skydive gives it.
            of_port.insert("Speed".to_owned(), (interface.speed / 1_000_000).into());
        }
        if let Some(lag) = description.lag {
            of_port.insert("LACP".to_owned(), lacp(&lag));
        }
        self.merge(agent, of_agent);
        if let Some(port) = port {
            self.merge(port, of_port);
        }
    }

    /// Shows the metrics of a port: at its own node, and in the agent's `IfMetrics`.
    pub(super) fn show_port(
        &self,
        agent: &NodeRef,
        port: &NodeRef,
        if_index: u32,
        (metric, last_update): (Value, Value),
    ) {
        self.metrics(agent, |sflow| {
            let if_metrics = sflow.entry("IfMetrics").or_insert_with(|| json!({}));
            if let Some(if_metrics) = if_metrics.as_object_mut() {
                if_metrics.insert(if_index.to_string(), metric.clone());
            }
        });
        self.show(port, (metric, last_update));
    }

    /// Shows metrics at their node.
    pub(super) fn show(&self, node: &NodeRef, (metric, last_update): (Value, Value)) {
        self.metrics(node, |sflow| {
            sflow.insert("Metric".to_owned(), metric);
            sflow.insert("LastUpdateMetric".to_owned(), last_update);
        });
    }

    /// Shows how an agent, or one of its ports, samples: as it tells, and as its samples tell.
    pub(super) fn show_rate(&self, node: &NodeRef, told: u32, effective: Option<f64>) {
        self.metrics(node, |sflow| {
            sflow.insert("SamplingRate".to_owned(), told.into());
            if let Some(effective) = effective {
                sflow.insert("EffectiveSamplingRate".to_owned(), effective.into());
            }
        });
    }

    /// Takes an agent away, with its ports. It is in the history as all that was there once.
    pub(super) fn remove(&self, agent: &NodeRef) {
        if let Some(id) = &agent.id {
            // One that was removed meanwhile is gone already.
            let _was_there = self.graph.edit(|edit| edit.remove_tree(id));
        }
    }

    fn metrics(&self, node: &NodeRef, update: impl FnOnce(&mut Metadata)) {
        let Some(id) = &node.id else { return };
        // A node that was removed meanwhile has no use for them.
        let _gone = self.graph.update_metrics(id, "SFlow", |sflow| {
            if !sflow.is_object() {
                *sflow = json!({});
            }
            if let Some(sflow) = sflow.as_object_mut() {
                update(sflow);
            }
        });
    }

    fn merge(&self, node: &NodeRef, metadata: Metadata) {
        if let Some(id) = node.id.as_ref().filter(|_| !metadata.is_empty()) {
            let _gone = self.graph.merge_metadata(id, metadata);
        }
    }
}

fn lacp(lag: &LagPort) -> Value {
    let mac = |[a, b, c, d, e, f]: [u8; 6]| format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    json!({
        "ActorSystemID": mac(lag.actor_system),
        "PartnerSystemID": mac(lag.partner_system),
        "AggregatorIfIndex": lag.aggregator,
    })
}

//! What not every flow has, kept out of the table's entries.

use crate::decode::Part;
use crate::flow::{FlowExtra, FlowMetric, IpMetric, MacAddr, Sampling, TcpMetric};

use super::tcp::TcpTracker;

/// What a flow has that outlives an update interval; and the rarer things behind it.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Totals at the last update.
    pub(super) emitted: Option<FlowMetric>,
    /// The last closed interval.
    pub(super) last_update: Option<FlowMetric>,
    rare: Option<Box<Rare>>,
}

/// What few flows have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// MAC addresses of the first packet where they are not part of the key.
    pub(super) link: Option<(MacAddr, MacAddr)>,
    /// What the packet counters A→B and B→A have overflowed by.
    pub(super) carry: [u64; 2],
    /// VLAN ids from the third tag on, at their place in the flow's VLAN id.
    pub(super) inner_vlans: u64,
    /// VNI or GRE key of the tunnel that the flow carries, and its outer source port.
    pub(super) tunnel: (u32, u16),
    /// TCP details, if the capture asks for them.
    pub(super) tcp: Option<Box<TcpTracker>>,
    /// Defragmentation details.
    pub(super) ip: Option<IpMetric>,
    /// Raw sums of sampled traffic, where they do not follow from the totals.
    pub(super) sampling: Option<Sampling>,
    /// Contents of extra layers.
    pub(super) layers: serde_json::Map<String, serde_json::Value>,
}

impl Extra {
    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(Box::default)
    }

    pub(super) fn tcp_segment(&mut self, part: &Part, ab: bool, at: i64) {
        if let Some(tracker) = self.rare.as_mut().and_then(|rare| rare.tcp.as_mut()) {
            tracker.segment(&part.tcp, part.ttl, ab, at);
        }
    }
}

impl Rare {
    /// The document that queries and stores see, if there is anything in it.
    pub(super) fn document(&self) -> Option<Box<FlowExtra>> {
        let tcp_metric: Option<TcpMetric> = self.tcp.as_ref().map(|tracker| tracker.metric());
        let document = FlowExtra {
            tcp_metric,
            ip_metric: self.ip,
            layers: self.layers.clone(),
        };
        (!document.is_empty()).then(|| Box::new(document))
    }
}

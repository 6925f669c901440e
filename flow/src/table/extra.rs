//! What few flows have, kept out of the table's entries.

use crate::decode::Part;
use crate::flow::{FlowExtra, FlowMetric, IpMetric, MacAddr, Sampling, TcpMetric};

use super::tcp::TcpTracker;

/// The rare parts of a flow.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Totals at the last update.
    pub(super) emitted: Option<FlowMetric>,
    /// The last closed interval.
    pub(super) last_update: Option<FlowMetric>,
    /// MAC addresses of the first packet where they are not part of the key.
    pub(super) link: Option<(MacAddr, MacAddr)>,
    /// TCP details, if the capture asks for them.
    pub(super) tcp: Option<Box<TcpTracker>>,
    /// Defragmentation details.
    pub(super) ip: Option<IpMetric>,
    /// Raw sums of sampled traffic.
    pub(super) sampling: Option<Sampling>,
    /// Contents of extra layers.
    pub(super) layers: serde_json::Map<String, serde_json::Value>,
}

impl Extra {
    pub(super) fn tcp_segment(&mut self, part: &Part, ab: bool, at: i64) {
        if let Some(tracker) = &mut self.tcp {
            tracker.segment(&part.tcp, part.ttl, ab, at);
        }
    }

    /// The document that queries and stores see.
    pub(super) fn document(&self) -> FlowExtra {
        let tcp_metric: Option<TcpMetric> = self.tcp.as_ref().map(|tracker| tracker.metric());
        FlowExtra { tcp_metric, ip_metric: self.ip, sampling: self.sampling, layers: self.layers.clone() }
    }
}

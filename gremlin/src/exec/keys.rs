//! `Keys` of flows: the names that at least one of them has.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use flowtap_flow::flow::{FinishType, Flow};
use serde_json::Value as Json;

use crate::error::{ErrorKind, QueryError};

/// Collects names. A flow whose shape was seen before costs no serialization, and there are few
/// shapes: a million flows are as cheap as their visit.
#[derive(Default)]
pub(super) struct KeySet {
    shapes: HashSet<u64>,
    /// A handful: looked up by walking, kept in the order of the document.
    names: Vec<String>,
}

impl KeySet {
    pub(super) fn add(&mut self, flow: &Flow) -> Result<(), QueryError> {
        if !self.shapes.insert(shape(flow)) {
            return Ok(());
        }
        let document = serde_json::to_value(flow)
            .map_err(|e| QueryError::new(ErrorKind::Format, format!("failed to write a flow: {e}")))?;
        if let Json::Object(map) = document {
            for (name, _) in map {
                if !self.names.contains(&name) {
                    self.names.push(name);
                }
            }
        }
        Ok(())
    }

    pub(super) fn into_values(mut self) -> Vec<Json> {
        self.names.sort_unstable();
        self.names.into_iter().map(Json::String).collect()
    }
}

/// The same for all flows whose documents have the same names.
fn shape(flow: &Flow) -> u64 {
    let mut hasher = DefaultHasher::new();
    let fixed = [
        flow.link.is_some(),
        flow.network.is_some(),
        flow.transport.is_some(),
        flow.icmp.is_some(),
        flow.last_update_metric.is_some(),
        flow.node_tid.is_empty(),
        flow.capture_id.is_empty(),
        flow.finish_type == FinishType::NotFinished,
        flow.sampling.is_some(),
    ];
    fixed.hash(&mut hasher);
    if let Some(extra) = &flow.extra {
        let known = [extra.tcp_metric.is_some(), extra.ip_metric.is_some()];
        known.hash(&mut hasher);
        extra.layers.keys().for_each(|name| name.hash(&mut hasher));
    }
    hasher.finish()
}

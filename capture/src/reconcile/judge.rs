//! What a node of the graph is to captures.

use std::net::IpAddr;
use std::path::PathBuf;

use flowtap_collectors::{CaptureType, Interface, NotYet};
use flowtap_topology::{Node, Snapshot};
use serde_json::Value;

use crate::services::CaptureServices;

/// Owners above an interface: its namespace, its host, and some that rules may have put between.
const MAX_OWNERS: usize = 16;

/// What a capture would do at a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) interface: Interface,
    /// The name of its network namespace; empty for flowtap's own.
    pub(crate) namespace: String,
    /// The type it would have; `None` if none fits.
    pub(crate) capture_type: Option<CaptureType>,
    /// Why that type.
    pub(crate) why: String,
    pub(crate) verdict: Verdict,
}

/// Whether it can begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Now.
    Ready,
    /// When what the text says has changed.
    Wait(String),
    /// Never: the node cannot have what was declared.
    Refused(String),
    /// Never here: this flowtap cannot do it.
    Failed(String),
}

/// What a capture of type `declared` (`None`: by node) would do at `node`; `None` if nothing can be captured
/// at nodes of its type, as at hosts and namespaces.
pub(crate) fn judge(
    node: &Node,
    graph: &Snapshot,
    declared: Option<CaptureType>,
    services: &CaptureServices,
) -> Option<Judgement> {
    let node_type = node.node_type().unwrap_or_default();
    let allowed = CaptureType::of_node(node_type);
    let automatic = *allowed.first()?;
    let (interface, namespace) = interface(node, graph);
    let (capture_type, why) = match declared {
        Some(declared) => (declared, String::new()),
        None => {
            let reason = CaptureType::why_automatic(node_type);
            (
                automatic,
                format!("automatic for a node of type {node_type}: {reason}"),
            )
        }
    };
    let is_allowed = allowed.contains(&capture_type);
    let verdict = if !is_allowed {
        Verdict::Refused(format!(
            "Capture type {capture_type} not allowed on this node type: {node_type}"
        ))
    } else if let Some(elsewhere) = elsewhere(node, services) {
        Verdict::Wait(elsewhere)
    } else if interface.node_tid.is_empty() {
        Verdict::Wait("it has no TID yet, for nothing owns it".to_owned())
    } else {
        match services.collector(capture_type) {
            None => Verdict::Failed(format!(
                "this version of flowtap lacks capture type {capture_type}"
            )),
            Some(collector) => match collector.accepts(&interface) {
                Ok(()) => Verdict::Ready,
                Err(NotYet::Wait(reason)) => Verdict::Wait(reason),
                Err(NotYet::Never(reason)) => Verdict::Refused(reason),
            },
        }
    };
    Some(Judgement {
        interface,
        namespace,
        capture_type: is_allowed.then_some(capture_type),
        why,
        verdict,
    })
}

/// Says so if the node is on another host, where this flowtap cannot capture.
fn elsewhere(node: &Node, services: &CaptureServices) -> Option<String> {
    let here = services.graph.host_name();
    let is_here = node.host.is_empty() || node.host == *here;
    (!is_here).then(|| format!("it is on host {}, and this flowtap captures on {here}", node.host))
}

/// The node as a collector knows it, and the name of its network namespace.
pub(crate) fn interface(node: &Node, graph: &Snapshot) -> (Interface, String) {
    let number = node.metadata.get("IfIndex").and_then(Value::as_u64);
    let (netns, namespace) = namespace(node, graph);
    let interface = Interface {
        name: node.name().unwrap_or_default().to_owned(),
        index: number.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
        netns,
        is_up: is_up(node),
        node_tid: node.tid().map(|tid| tid.as_str().into()).unwrap_or_default(),
        node_type: node.node_type().unwrap_or_default().to_owned(),
        ipv4: addresses(node),
    };
    (interface, namespace)
}

/// Whether it is switched on, whether or not it has a carrier.
pub(crate) fn is_up(node: &Node) -> bool {
    match node.metadata.get("LinkFlags").and_then(Value::as_array) {
        Some(flags) => flags.iter().any(|flag| flag == "UP"),
        None => node.metadata.get("State").and_then(Value::as_str) == Some("UP"),
    }
}

/// The name of the network namespace that owns `node`; empty for flowtap's own.
pub(crate) fn namespace_of(node: &Node, graph: &Snapshot) -> String {
    namespace(node, graph).1
}

/// The path and the name of the network namespace that owns it.
fn namespace(node: &Node, graph: &Snapshot) -> (Option<PathBuf>, String) {
    let mut at = &node.id;
    for _ in 0..MAX_OWNERS {
        let Some(owner) = graph.owner(at) else { break };
        if owner.node_type() == Some("netns") {
            let path = owner.metadata.get("Path").and_then(Value::as_str);
            return (
                path.map(PathBuf::from),
                owner.name().unwrap_or_default().to_owned(),
            );
        }
        at = &owner.id;
    }
    (None, String::new())
}

fn addresses(node: &Node) -> Vec<IpAddr> {
    let list = node.metadata.get("IPV4").and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts
        .filter_map(|text| text.split('/').next()?.parse().ok())
        .collect()
}

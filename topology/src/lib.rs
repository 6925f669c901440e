//! The graph of hosts, namespaces, interfaces, bridges and sFlow agents, in Skydive's terms: nodes with
//! metadata, edges with a relation, and identities (`TID`) that survive a restart.
//!
//! This crate knows no flow, no capture and no HTTP. Whoever watches something real writes what it sees
//! into one shared [`Graph`], and so do [`rules`] and the [`fabric`] of the configuration. Whoever
//! answers questions takes a [`Snapshot`]; whoever must know of changes takes a [`Subscription`]. All
//! of it lives in memory and is bounded; what was is told by a [`History`], which is kept elsewhere.
//!
//! ```
//! use flowtap_topology::{Graph, NodeSpec};
//!
//! let graph = Graph::new("compute-1");
//! let agent = graph.upsert_node(NodeSpec::new(graph.host(), "sflowagent", "10.0.0.11"))?;
//! let port = graph.upsert_node(NodeSpec::new(&agent, "switchport", "port 7").key("7"))?;
//! assert_eq!(graph.nodes().len(), 3);
//! assert_eq!(graph.edges().len(), 2);
//! assert_eq!(graph.node(&port).and_then(|node| node.name().map(str::to_owned)), Some("port 7".into()));
//! # Ok::<(), flowtap_topology::TopologyError>(())
//! ```

mod depth;
mod element;
mod error;
mod event;
pub mod fabric;
mod follow;
mod graph;
mod history;
mod identity;
mod interval;
pub mod namespace;
pub mod ovsdb;
pub mod path;
pub mod rules;
mod snapshot;
pub mod watch;
mod weight;

pub use depth::{MAX_DEPTH, is_deeper, is_too_deep};
pub use element::{Edge, LAYER2, Metadata, Node, OWNERSHIP};
pub use error::TopologyError;
pub use event::{Change, Event, Lagged, Subscription, Waker};
pub use graph::{DEFAULT_MAX_NODES, Edit, Graph, NewEdge, NewNode, NodeSpec};
pub use history::{Budget, History, HistoryError, Slice, Spending, Topology, Wanted};
pub use identity::{EdgeId, NodeId, Tid};
pub use interval::{Interval, IntervalLog, NodeMetric};
pub use snapshot::{EdgeRef, Snapshot};
pub use weight::{json_bytes, metadata_bytes};

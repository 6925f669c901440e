//! Skydive's query language: text to plan to answer.
//!
//! [`parse`] reads the whole dialect and type-checks it; an [`Engine`] plans a query and runs it
//! over a [`Topology`](flowtap_topology::Topology) and anything that is a
//! [`FlowReader`](flowtap_flow::query::FlowReader). A [`NodeExpression`] is a query that names nodes of
//! the graph alone, read once and asked many times. How graph and flows are stored, who asks, and what
//! the time is, this crate refuses to know.
//!
//! Where it says more than Skydive does: a key alone in `Has` works on flows too; `Sort(DESC)`,
//! `Outside`, negative numbers, RFC 3339 times and durations in days (`'-7d'`) are read; lists of
//! values take `Count`, `Limit` and `Range`. `ShortestPathTo` leads to the nearest of several nodes that
//! match, not to any; `NextHop` takes the longest prefix, not the first; flows without Ethernet have a
//! capture node; the flows of a `SubGraph` are those of its nodes. Where Skydive has no order, nodes and
//! edges come oldest first. Where it says less: a string ends at the quote that opened it, arguments are
//! separated by commas, `At` stands right behind `G`, and there are no workflows. Without `At` a query
//! sees the graph as it is and all flows, live and stored, and `Metrics` all their intervals; a node's
//! metrics are its latest, for they do not become history.
//!
//! ```
//! use flowtap_gremlin::{Kind, parse};
//!
//! let query = parse("G.At('-1m', 60).Flows().Has('Application', Regex('DNS|NTP')).Count()")?;
//! assert_eq!(query.kind()?, Kind::Number);
//!
//! let error = parse("G.Flow()").unwrap_err();
//! assert_eq!(error.column, Some(3));
//! assert!(error.message.ends_with("did you mean Flows?"));
//! # Ok::<(), flowtap_gremlin::QueryError>(())
//! ```

mod answer;
mod arguments;
mod check;
mod condition;
mod error;
mod exec;
mod graph;
mod kind;
mod limits;
mod sort_key;
mod syntax;
mod time;

pub use answer::{Answer, NOT_PACKETS};
pub use check::{parse, parse_flow_filter};
pub use error::{ErrorKind, QueryError};
pub use exec::{Engine, EngineOptions};
pub use graph::{ConditionCount, Explanation, NextHop, NodeExpression, StepCount, select_nodes};
pub use kind::Kind;
pub use limits::Limits;
pub use syntax::ast;

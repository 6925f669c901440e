//! The graph part of the language: fields and conditions of nodes and edges, the steps from one to
//! another, and expressions made of nothing else. It knows no flow.

mod dot;
mod elements;
mod expression;
mod field;
mod filter;
mod moves;
mod path;
mod route;
mod walker;

pub(crate) use dot::dot;
pub(crate) use elements::{Elements, Pace, State, by_age};
pub use expression::{ConditionCount, Explanation, NodeExpression, StepCount, select_nodes};
pub(crate) use field::{Field, to_json};
pub(crate) use filter::ElementFilter;
pub(crate) use moves::{First, Move};
pub use route::NextHop;
pub(crate) use route::next_hop;
pub(crate) use walker::{Bounds, Walker};

//! Skydive's query language: text to plan to answer.
mod arguments;
mod check;
mod condition;
mod error;
mod kind;
mod syntax;
mod time;

pub use check::{parse, parse_flow_filter};
pub use error::{ErrorKind, QueryError};
pub use kind::Kind;
pub use syntax::ast;

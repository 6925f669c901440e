//! Text to syntax tree: the lexer, the parser, and the names they know.

pub mod ast;
mod lexer;
pub(crate) mod names;
mod parser;

pub(crate) use parser::{parse_chain, parse_query};

//! The watchers against real namespaces: whatever is done to them, the graph shows what `ip` shows.
//! They need root.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod interfaces;
mod namespaces;
mod reality;
mod support;
mod trouble;

//! One module per store of flows and packets.
//!
//! A [`FlowStore`] keeps what the live flow table lets go: flows, the intervals of their metrics, raw
//! packets. [`SqliteStore`] keeps them in SQLite, one file per hour. [`StoreWriter`] stands before a
//! store: a bounded queue and the one thread that writes, and it answers queries over what is queued
//! and what is stored alike, so that a flow is visible at every moment of its way.
//!
//! Beside flows, [`SqliteHistory`] keeps what the topology was, and [`Resources`] what users declared.
//!
//! This crate knows no HTTP and no collectors.
//!
//! ```no_run
//! use std::sync::Arc;
//! use flowtap_flow::query::{Cancel, FlowQuery, FlowReader};
//! use flowtap_storage::{SqliteOptions, SqliteStore, StoreWriter, WriterOptions};
//!
//! let store = SqliteStore::open("/var/lib/flowtap".as_ref(), SqliteOptions::default())?;
//! let writer = StoreWriter::start(Arc::new(store), WriterOptions::default())?;
//! // `writer` is the flow table's `UpdateSink`, and a `FlowReader`:
//! writer.flows(&FlowQuery::all(), &Cancel::default(), &mut |flow| {
//!     println!("{} {}", flow.uuid, flow.application);
//!     std::ops::ControlFlow::Continue(())
//! })?;
//! writer.stop(std::time::Duration::from_secs(10))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod conformance;
mod error;
mod sqlite;
mod stats;
mod store;
#[cfg(test)]
mod testing;
mod writer;

pub use error::StoreError;
pub use sqlite::{Resource, Resources, SqliteHistory, SqliteOptions, SqliteStore};
pub use stats::{Histogram, StoreStats};
pub use store::FlowStore;
pub use writer::{StoreWriter, WriterOptions, WriterStats};

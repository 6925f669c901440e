//! HTTP: Skydive's paths, ours, and the typed client.
//!
//! [`router`] makes the whole interface out of [`Services`], and [`serve`] runs it. [`client`] speaks
//! to it. Handlers read requests, ask the other crates, and write answers; whatever blocks runs
//! beside the async runtime, bounded in number and time, and ends when its caller goes away.

mod body;
pub mod client;
mod connection;
mod declared;
mod failure;
mod feed;
mod openapi;
mod ops;
mod page;
mod publish;
mod runner;
mod serve;
mod server;
mod services;
mod skydive;
mod v1;
mod view;
pub mod wire;
mod ws;

#[cfg(test)]
mod testing;

pub use declared::{Declared, DeclaredError, Kind as DeclaredKind};
pub use serve::serve;
pub use server::router;
pub use services::{
    AnswerForm, GraphParts, Identity, Limits, Observe, PcapImport, PcapReport, PcapUpload, QueryRunner,
    Services,
};

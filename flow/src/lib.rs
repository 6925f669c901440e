//! Packets to layers to flows: decoding, keys, the flow table, raw packets, pcap in and out.
//!
//! This crate is the domain. It knows no socket, no SQL, no async runtime and no topology, and it
//! never reads a clock on its own: time comes with the packet.

pub mod community_id;
pub mod decode;
mod defrag;
mod extra_layers;
pub mod filter;
pub mod flow;
pub mod id;
pub mod kept;
pub mod key;
pub mod layers;
pub mod ledger;
pub mod packet;
pub mod pcap;
pub mod point;
pub mod query;
pub mod table;
pub mod text;
pub mod timestamp;
pub mod union;

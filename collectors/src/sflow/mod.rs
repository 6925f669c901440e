//! The `sflow` collector: sFlow version 5 over UDP.
//!
//! A datagram is walked in place ([`wire`]); flow samples become packets of the node of their data
//! source, counter samples become metrics of the agent's and its ports' nodes, and everything that
//! was wrong, missing or unknown is counted with the agent that sent it ([`SflowStats`]).

mod allow;
mod chosen;
mod contents;
mod counters;
mod decoder;
mod metric;
mod nodes;
mod rate;
mod reader;
mod rebuild;
mod registry;
mod sequence;
mod sinks;
mod socket;
mod stats;
pub mod wire;

pub use allow::AllowList;
pub use chosen::SflowCollector;
pub use decoder::{Decoder, Received};
pub use rate::EffectiveRate;
pub use reader::{Sflow, SflowOptions, SflowReader};
pub use registry::{MAX_AGENTS, MAX_COUNTED_SOURCES, MAX_SOURCES};
pub use stats::{Counts, ErrorCounts, SflowAgentStats, SflowStats, SflowTotals};

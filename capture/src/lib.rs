//! What users declared, and what became of it.
//!
//! A [`Capture`] is the document that clients read: Skydive's fields under Skydive's names, plus our
//! state, reason and ledger. [`Captures`] is the list of them. Today it holds the standing inputs
//! that `flowtap up` opens by itself (sFlow, pcap socket, upload); nothing in it reads a packet.

mod capture;
mod ledger;
mod registry;

pub use capture::{Capture, State};
pub use ledger::CaptureLedger;
pub use registry::{CaptureError, Captures, Counters, InputKind, StandingInput};

//! The sFlow collector against what real switches send, and against what nobody should send.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod agents;
mod encoder;
mod fixtures;
mod harness;
mod hostile;
mod live;
mod samples;
mod senders;
mod vectors;

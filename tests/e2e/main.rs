//! The built binary, end to end: as users start it, feed it, ask it and stop it.

mod support;

mod capture;
mod capture_churn;
mod capture_commands;
mod capture_machine;
mod capture_together;
mod command_line;
mod functional;
mod lab;
mod life;
mod metrics;
mod readme;
mod replay;
mod sampling;
mod sflow;
mod skydive_client;
mod survival;
mod topology;

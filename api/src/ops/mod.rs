//! What operators and their machines ask: is it alive, is it ready, what does it do.

mod exposition;
pub(crate) mod health;
pub(crate) mod http_metrics;
pub(crate) mod metrics;
mod process;
mod topology_metrics;

//! What every store can do.

use flowtap_flow::query::{Batch, FlowReader};
use flowtap_flow::timestamp::Timestamp;

use crate::error::StoreError;
use crate::stats::StoreStats;

/// Keeps flows, their intervals and raw packets after the live table lets them go.
///
/// Calls block. One thread appends at a time ([`crate::StoreWriter`] sees to that); any number read
/// beside it.
pub trait FlowStore: FlowReader {
    /// Writes all of `batches` in one transaction, or nothing. After `Ok` they are durable: neither
    /// a crash nor a power cut loses them. `now` is the clock's time of arrival: it decides in which
    /// segment they go, since a recording of years ago may arrive today.
    ///
    /// An interval without packets leaves no trace but in the flow's own row. Updates of one flow
    /// come in order.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Database`]; the same batches may be tried again.
    fn append(&self, now: Timestamp, batches: &[&Batch]) -> Result<(), StoreError>;

    /// Removes what is older or more than the store's options allow, as of `now`. Returns how many
    /// segments went. What is being written stays.
    ///
    /// # Errors
    /// [`StoreError`]; what could not be removed is tried again at the next call.
    fn retain(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// What is durable now.
    fn stats(&self) -> StoreStats;
}

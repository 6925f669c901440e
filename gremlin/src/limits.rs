//! How much one query may hold.

use std::time::Duration;

use flowtap_flow::flow::{Flow, FlowExtra};
pub(crate) use flowtap_topology::json_bytes;

use crate::error::{ErrorKind, QueryError};

/// What one query may cost. All that a query holds while it runs is counted against these, each
/// place (an order, a set of seen keys, the answer) on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows, packets, intervals or values that are held at once.
    pub max_rows: u64,
    /// Bytes that these take in memory, estimated.
    pub max_bytes: u64,
    /// How long it may run.
    pub timeout: Duration,
}

impl Default for Limits {
    /// A million rows, 256 MiB, 30 s.
    fn default() -> Self {
        Self {
            max_rows: 1_000_000,
            max_bytes: 256 << 20,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Counts what one place holds.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    what: &'static str,
    limits: Limits,
    rows: u64,
    bytes: u64,
}

impl Meter {
    /// Counts `what`, a plural such as `flows`.
    pub(crate) fn new(what: &'static str, limits: &Limits) -> Self {
        Self {
            what,
            limits: *limits,
            rows: 0,
            bytes: 0,
        }
    }

    /// Counts one row more.
    pub(crate) fn add(&mut self, bytes: u64) -> Result<(), QueryError> {
        self.rows += 1;
        self.bytes += bytes;
        let Limits {
            max_rows, max_bytes, ..
        } = self.limits;
        let too_much = if self.rows > max_rows {
            format!("more than {max_rows} {} match", self.what)
        } else if self.bytes > max_bytes {
            format!("the {} that match take more than {max_bytes} bytes", self.what)
        } else {
            return Ok(());
        };
        let message = format!("{too_much}; add .Limit(N) or narrow the time");
        Err(QueryError::new(ErrorKind::TooLarge, message))
    }

    /// Counts `rows` more, each of `bytes`.
    pub(crate) fn add_all(&mut self, rows: usize, bytes: usize) -> Result<(), QueryError> {
        let Some(others) = rows.checked_sub(1) else {
            return Ok(());
        };
        self.rows = self.rows.saturating_add(size(others));
        self.bytes = self.bytes.saturating_add(size(others.saturating_mul(bytes)));
        self.add(size(bytes))
    }

    /// Counts one row less, which had `bytes`.
    pub(crate) fn remove(&mut self, bytes: u64) {
        self.rows -= 1;
        self.bytes -= bytes;
    }
}

/// What a flow takes in memory, about.
pub(crate) fn flow_bytes(flow: &Flow) -> u64 {
    let texts = [
        &flow.layers_path,
        &flow.application,
        &flow.node_tid,
        &flow.capture_id,
    ];
    let texts: usize = texts.iter().map(|text| text.len() + 16).sum();
    let extra = flow.extra.as_ref().map_or(0, |extra| {
        let layers: u64 = extra
            .layers
            .iter()
            .map(|(name, layer)| 64 + size(name.len()) + json_bytes(layer))
            .sum();
        size(size_of::<FlowExtra>()) + layers
    });
    size(size_of::<Flow>() + texts) + extra
}

/// `usize` has at most 64 bits wherever this runs.
pub(crate) fn size(bytes: usize) -> u64 {
    bytes as u64
}

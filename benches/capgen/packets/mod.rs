//! Packets to measure with: the same on every machine, whatever its clock or library.

mod churn;
mod frame;
mod mix;
mod random;
mod small;

use std::time::Duration;

use flowtap_flow::timestamp::Timestamp;

pub(crate) use churn::churn;
pub(crate) use frame::{Endpoint, Frame, Segment};
pub(crate) use mix::Mix;
pub(crate) use random::{Random, Zipf};
pub(crate) use small::{Small, endpoints};

/// When generated traffic begins: 2026-01-01 00:00:00 UTC.
pub(crate) const BEGIN: Timestamp = Timestamp::from_secs(1_767_225_600);

/// Time between two generated packets: a million packets a second.
pub(crate) const STEP: Duration = Duration::from_micros(1);

//! Captures over a real graph, with collectors that only note what they are asked.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

mod declare;
mod early;
mod explain;
mod lifecycle;
mod limits;
mod names;
mod restart;
mod standing;
mod stress;
mod support;

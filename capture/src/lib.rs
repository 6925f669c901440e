//! What users declared, and the reconciler that makes it so.
//!
//! A [`Capture`] is the document that clients read: Skydive's fields under Skydive's names, plus our state,
//! reason, ledger, nodes and log. [`Captures`] is the list of them: the standing inputs that flowtap opens by
//! itself, and what users declare ([`NewCapture`]), which outlives a restart.
//!
//! [`Captures::start`] makes it so from then on: whatever an expression names, now or as soon as it appears
//! in the graph, is captured by the collector of its type, and why not is written down. Which packets those
//! are and where they go, this crate refuses to know.
//!
//! ```no_run
//! # use flowtap_capture::{CaptureServices, Captures, NewCapture};
//! # fn example(services: CaptureServices) -> Result<(), flowtap_capture::CaptureError> {
//! let captures = Captures::default();
//! let running = captures.start(services)?;
//! let capture = captures.create(NewCapture::new("G.V().HasKey('ExtID.vm-id')"), None)?;
//! println!("{}: {}", capture.uuid, capture.state.as_str());
//! let late = running.stop(std::time::Duration::from_secs(10));
//! # Ok(())
//! # }
//! ```

mod captures;
mod declare;
mod document;
mod entry;
mod error;
mod explain;
mod journal;
mod reconcile;
mod services;
mod standing;
mod summary;

pub use captures::{Captures, Counters};
pub use declare::NewCapture;
pub use document::{
    Capture, CaptureEvent, CaptureLedger, CapturedNode, EventKind, FirstPackets, NodeState, State,
};
pub use error::CaptureError;
pub use explain::{ConditionCount, ExplainedNode, Explanation, NearMiss, NodeName, StepCount};
pub use reconcile::{EarlyStats, RunningCaptures};
pub use services::{CaptureLimits, CaptureServices, CaptureStore, PointsFactory};
pub use standing::{InputKind, StandingInput};

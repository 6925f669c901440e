//! Captures as clients read them.

mod capture;
mod event;
mod ledger;
mod node;

pub use capture::{Capture, State};
pub use event::{CaptureEvent, EventKind};
pub use ledger::CaptureLedger;
pub(crate) use ledger::add;
pub use node::{CapturedNode, FirstPackets, NodeState};

/// Serde asks for a reference.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

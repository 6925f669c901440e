//! What happened to a capture.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::is_default;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The capture was declared.
    Created,
    /// It was declared before flowtap was started.
    Restored,
    /// The expression names a node that it did not name before.
    Matched,
    /// The expression no longer names the node, or the node is gone.
    Unmatched,
    /// The node cannot be captured yet; the detail says what is missing.
    Waiting,
    /// A source is being opened at the node.
    Starting,
    /// The kernel queues the node's packets; the detail says how long that took.
    Capturing,
    /// The first packet that passed the filter came.
    FirstPacket,
    /// It failed; the detail says where, why, and what to do.
    Error,
    /// The source has ended, or was told to.
    Stopped,
    /// The capture was deleted, or its time was up.
    Deleted,
}

impl EventKind {
    /// The word used in JSON and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Restored => "restored",
            Self::Matched => "matched",
            Self::Unmatched => "unmatched",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Capturing => "capturing",
            Self::FirstPacket => "first_packet",
            Self::Error => "error",
            Self::Stopped => "stopped",
            Self::Deleted => "deleted",
        }
    }
}

/// One line of a capture's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CaptureEvent {
    /// Its number in this capture's log, from 1, without a gap.
    pub sequence: u64,
    /// When, ms since the Unix epoch.
    pub time: i64,
    /// What.
    pub event: EventKind,
    /// At which node, if at one.
    #[serde(rename = "NodeTID", default, skip_serializing_if = "is_default")]
    pub node_tid: String,
    /// The node's name then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub node_name: String,
    /// More, in words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_json() {
        for kind in [
            EventKind::Created,
            EventKind::Restored,
            EventKind::Matched,
            EventKind::Unmatched,
            EventKind::Waiting,
            EventKind::Starting,
            EventKind::Capturing,
            EventKind::FirstPacket,
            EventKind::Error,
            EventKind::Stopped,
            EventKind::Deleted,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}

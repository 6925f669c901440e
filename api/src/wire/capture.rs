//! What is told of captures beside their documents.

use flowtap_capture::CaptureEvent;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A part of a capture's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CaptureEvents {
    /// Oldest first.
    pub events: Vec<CaptureEvent>,
}

//! Declarations on disk.

use serde::{Deserialize, Serialize};

/// A declaration as it lies on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stored<T> {
    /// What was declared.
    pub(super) resource: T,
    /// When it ends, in milliseconds since the Unix epoch; `None`: when somebody deletes it.
    #[serde(default)]
    pub(super) expires_at: Option<i64>,
}

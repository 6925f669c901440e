//! What can go wrong with captures.

/// Why a capture was refused, or could not be found. Texts that Skydive's clients depend on are its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The declaration is wrong; the text says what and what would be right.
    #[error("{0}")]
    Invalid(String),
    /// An equal capture is declared already.
    #[error("duplicated resource")]
    Duplicate {
        /// The id of the other one.
        of: String,
    },
    /// No capture has this id, or name.
    #[error("Capture '{0}' not found")]
    Unknown(String),
    /// Several captures have this name.
    #[error("{count} captures are named '{name}', say which by its UUID")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many.
        count: usize,
    },
    /// A standing input is no declared capture.
    #[error("capture '{0}' is an input of flowtap's configuration, switch it off there")]
    Standing(String),
    /// There is no room for another.
    #[error("there are {max} captures already, delete some")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
    /// Nobody would make it so.
    #[error("captures cannot be changed while flowtap starts or stops, try again")]
    NotRunning,
    /// A deleted capture has ended, and is still in the store, which is asked again until it forgets it.
    #[error(
        "the capture has ended, but it could not be taken off the disk yet ({reason}); that is tried again every few \
         seconds, and the capture comes back only if flowtap restarts before"
    )]
    Unforgotten {
        /// The store's own words.
        reason: String,
    },
    /// It could not be made durable, or the store could not be read. Nothing changed.
    #[error("failed to {action} the capture: {reason}")]
    Store {
        /// What was tried: `keep`, `list`.
        action: &'static str,
        /// The store's own words.
        reason: String,
    },
    /// Two standing inputs of one type on one address.
    #[error("{kind} on `{address}` is declared twice, give each input its own address")]
    SameInput {
        /// The input's type.
        kind: &'static str,
        /// Its address.
        address: String,
    },
    /// The system gave no thread.
    #[error("failed to start a thread for captures: {0}")]
    Thread(String),
}

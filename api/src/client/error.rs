//! Why a request had no answer.

use std::error::Error;
use std::path::PathBuf;

use reqwest::{Response, StatusCode};

use super::endpoint::Endpoint;
use crate::wire::Problem;

/// Bytes of an error's text that are read; more would not help anybody.
const MAX_TEXT: usize = 4096;

/// What went wrong, in kinds that a caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address of an analyzer cannot be used.
    #[error("`{text}` is no analyzer's address: {reason}")]
    Endpoint {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("failed to set up the HTTP client: {source}")]
    Setup {
        /// Its own error.
        #[source]
        source: reqwest::Error,
    },
    /// No analyzer could be reached.
    #[error("{reasons}; is flowtap running? --analyzer or SKYDIVE_ANALYZERS say where")]
    Unreachable {
        /// Each address and what happened there.
        reasons: String,
    },
    /// The connection broke before the answer was complete, or the answer cannot be read.
    #[error("the connection to the analyzer broke: {reason}")]
    Broken {
        /// What happened.
        reason: String,
    },
    /// The answer is not what flowtap answers.
    #[error("{endpoint} gave an answer that cannot be read: {reason}; is it flowtap?")]
    Unreadable {
        /// Who answered.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The analyzer does not let this caller do that (401, 403).
    #[error("denied: {message}")]
    Denied {
        /// Its words.
        message: String,
    },
    /// There is no such thing (404).
    #[error("{message}")]
    NotFound {
        /// The analyzer's words.
        message: String,
    },
    /// What was asked makes no sense (400), or its answer has no such form (406): the caller must ask something
    /// else.
    #[error("{message}")]
    BadRequest {
        /// The analyzer's words.
        message: String,
    },
    /// What was asked makes sense, and cannot be had as things are (other 4xx): it is there already, or the
    /// answer is too large.
    #[error("{message}")]
    Refused {
        /// The analyzer's words.
        message: String,
    },
    /// The analyzer failed, or has too much to do (5xx).
    #[error("the analyzer answered {status}: {message}")]
    Server {
        /// The status code.
        status: u16,
        /// Its words.
        message: String,
    },
    /// A file could not be read.
    #[error("failed to open {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    /// An answer that says no.
    pub(super) async fn from_response(mut response: Response) -> Self {
        let status = response.status();
        let mut text = Vec::new();
        while text.len() < MAX_TEXT {
            match response.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                // A part of the text is better than none.
                Ok(None) | Err(_) => break,
            }
        }
        let message = message(status, &text);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied { message },
            StatusCode::NOT_FOUND => Self::NotFound { message },
            StatusCode::BAD_REQUEST | StatusCode::NOT_ACCEPTABLE => Self::BadRequest { message },
            _ if status.is_client_error() => Self::Refused { message },
            _ => Self::Server {
                status: status.as_u16(),
                message,
            },
        }
    }

    /// A request to `endpoint` that failed on its way.
    pub(super) fn transport(endpoint: &Endpoint, error: reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::unreachable(vec![(endpoint.clone(), error)]);
        }
        if error.is_decode() {
            return Self::Unreadable {
                endpoint: endpoint.to_string(),
                reason: innermost(&error),
            };
        }
        Self::broken(error)
    }

    pub(super) fn broken(error: reqwest::Error) -> Self {
        Self::Broken {
            reason: innermost(&error),
        }
    }

    pub(super) fn unreachable(tried: Vec<(Endpoint, reqwest::Error)>) -> Self {
        let reasons = tried
            .iter()
            .map(|(endpoint, error)| format!("failed to reach {endpoint}: {}", innermost(error)));
        Self::Unreachable {
            reasons: reasons.collect::<Vec<_>>().join("; "),
        }
    }
}

/// The cause at the bottom: `connection refused` says more than the layers around it.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn message(status: StatusCode, text: &[u8]) -> String {
    if let Ok(problem) = serde_json::from_slice::<Problem>(text) {
        return if problem.hint.is_empty() {
            problem.detail
        } else {
            format!("{} ({})", problem.detail, problem.hint)
        };
    }
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
    let text = text.trim();
    if text.is_empty() {
        status.to_string()
    } else {
        text.to_owned()
    }
}

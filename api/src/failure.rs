//! What went wrong with a request, and its two faces: plain text as Skydive's clients expect it on
//! Skydive's paths, `application/problem+json` (RFC 9457) on ours.

use std::borrow::Cow;
use std::fmt;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flowtap_capture::CaptureError;
use flowtap_flow::query::ReadError;
use flowtap_gremlin::{ErrorKind, QueryError};
use flowtap_storage::StoreError;
use flowtap_topology::TopologyError;

use crate::declared::DeclaredError;
use crate::wire::Problem;

/// The stable name of a kind of failure. Clients may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BadParameter,
    BadFilter,
    BadCursor,
    BadQuery,
    BadBody,
    BadCapture,
    BadPatch,
    Refused,
    NotFound,
    Conflict,
    UpgradeRequired,
    MethodNotAllowed,
    NotAcceptable,
    TooLarge,
    Busy,
    TimedOut,
    Cancelled,
    StoreFailed,
    Internal,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadParameter => "bad-parameter",
            Self::BadFilter => "bad-filter",
            Self::BadCursor => "bad-cursor",
            Self::BadQuery => "bad-query",
            Self::BadBody => "bad-body",
            Self::BadCapture => "bad-capture-file",
            Self::BadPatch => "bad-patch",
            Self::Refused => "refused",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::UpgradeRequired => "upgrade-required",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::NotAcceptable => "not-acceptable",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::StoreFailed => "store-failed",
            Self::Internal => "internal",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadParameter
            | Self::BadFilter
            | Self::BadCursor
            | Self::BadQuery
            | Self::BadBody
            | Self::BadPatch
            | Self::Refused
            | Self::BadCapture => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy | Self::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::StoreFailed | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A failed request, not yet in either form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: Code,
    detail: String,
    hint: Cow<'static, str>,
}

impl Failure {
    /// `detail` says what happened, `hint` what to do about it.
    pub(crate) fn new(code: Code, detail: impl Into<String>, hint: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            hint: hint.into(),
        }
    }

    /// Too much at once; the caller should come back.
    pub(crate) fn busy(what: &str) -> Self {
        Self::new(
            Code::Busy,
            format!("too many {what} at once"),
            "try again in a second",
        )
    }

    /// What worked for the request has panicked.
    pub(crate) fn panicked(error: tokio::task::JoinError) -> Self {
        tracing::error!(%error, "what worked for a request panicked");
        Self::new(Code::Internal, "the request failed inside flowtap", "see the log")
    }

    /// The status that it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    fn into_parts(self) -> (StatusCode, Vec<(HeaderName, HeaderValue)>, Self) {
        let header = match self.code {
            Code::Busy => Some((header::RETRY_AFTER, "1")),
            // RFC 9110 §15.5.22: a 426 says what to upgrade to.
            Code::UpgradeRequired => Some((header::UPGRADE, "websocket")),
            _ => None,
        };
        let header = header.map(|(name, value)| (name, HeaderValue::from_static(value)));
        (self.status(), header.into_iter().collect(), self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let (code, hint) = match &error {
            ReadError::Cancelled => (Code::Cancelled, "ask again"),
            ReadError::TimedOut => (
                Code::TimedOut,
                "ask for a shorter time range or a narrower filter",
            ),
            ReadError::Store { .. } => (Code::StoreFailed, "see the log and /readyz"),
        };
        Self::new(code, error.to_string(), hint)
    }
}

impl From<DeclaredError> for Failure {
    fn from(error: DeclaredError) -> Self {
        let (code, hint) = match &error {
            DeclaredError::NotFound { .. } => (Code::NotFound, "list them to see which there are"),
            DeclaredError::Duplicate { .. }
            | DeclaredError::Topology(TopologyError::NodeExists(_) | TopologyError::EdgeExists(_)) => {
                (Code::Conflict, "choose another ID")
            }
            DeclaredError::Store(StoreError::TooManyResources { .. }) => (Code::Refused, "delete some"),
            DeclaredError::Patch(_) | DeclaredError::Patched(_) => (Code::BadPatch, "see RFC 6902"),
            DeclaredError::Store(_) | DeclaredError::Unwritable(_) => {
                (Code::StoreFailed, "see the log and /readyz")
            }
            _ => (Code::Refused, "correct it and try again"),
        };
        Self::new(code, error.to_string(), hint)
    }
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        let (code, hint) = match &error {
            CaptureError::Unknown(_) => (
                Code::NotFound,
                "GET /api/capture, or `flowtap capture list`, shows which there are",
            ),
            CaptureError::Duplicate { .. } => (Code::Conflict, "an equal capture is there already"),
            CaptureError::NotRunning => (Code::Busy, "try again in a second"),
            CaptureError::Unforgotten { .. } => (Code::StoreFailed, "make room on the disk, see /readyz"),
            CaptureError::Store { .. } | CaptureError::Thread(_) => {
                (Code::StoreFailed, "see the log and /readyz")
            }
            _ => (Code::Refused, "correct it and try again"),
        };
        Self::new(code, error.to_string(), hint)
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let (code, hint) = match error.kind {
            ErrorKind::Query => (Code::BadQuery, "correct the query"),
            ErrorKind::TooLarge => (Code::TooLarge, "narrow the query by time, filter or limit"),
            ErrorKind::Cancelled => (Code::Cancelled, "ask again"),
            ErrorKind::TimedOut => (
                Code::TimedOut,
                "ask for a shorter time range or a narrower filter",
            ),
            ErrorKind::Store => (Code::StoreFailed, "see the log and /readyz"),
            ErrorKind::Format => (Code::NotAcceptable, "ask for JSON"),
        };
        Self::new(code, error.to_string(), hint)
    }
}

/// A failure in Skydive's form: its text and nothing else.
pub(crate) struct PlainFailure(pub(crate) Failure);

impl<E: Into<Failure>> From<E> for PlainFailure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PlainFailure {
    fn into_response(self) -> Response {
        let (status, headers, failure) = self.0.into_parts();
        let mut response = (status, failure.detail).into_response();
        response.headers_mut().extend(headers);
        response
    }
}

/// A failure in ours.
pub(crate) struct ProblemFailure(pub(crate) Failure);

impl<E: Into<Failure>> From<E> for ProblemFailure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ProblemFailure {
    fn into_response(self) -> Response {
        let (status, headers, failure) = self.0.into_parts();
        let code = failure.code.as_str();
        let problem = Problem {
            r#type: format!("urn:flowtap:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: failure.detail,
            hint: failure.hint.into_owned(),
        };
        let mut response = (status, axum::Json(problem)).into_response();
        let kind = HeaderValue::from_static(Problem::MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().extend(headers);
        response
    }
}

//! What users declare, by kind and id: each kind has the same five requests.

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};

use super::{Client, ClientError, endpoint};

/// A kind of what users declare; its documents are those of [`crate::wire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// [`NodeDocument`](crate::wire::NodeDocument).
    Node,
    /// [`EdgeDocument`](crate::wire::EdgeDocument).
    Edge,
    /// [`NodeRuleDocument`](crate::wire::NodeRuleDocument).
    NodeRule,
    /// [`EdgeRuleDocument`](crate::wire::EdgeRuleDocument).
    EdgeRule,
    /// [`Capture`](flowtap_capture::Capture).
    Capture,
}

impl ResourceKind {
    fn path(self) -> &'static str {
        match self {
            Self::Node => "/api/node",
            Self::Edge => "/api/edge",
            Self::NodeRule => "/api/noderule",
            Self::EdgeRule => "/api/edgerule",
            Self::Capture => "/api/capture",
        }
    }

    fn path_of(self, id: &str) -> String {
        format!("{}/{}", self.path(), endpoint::path_segment(id))
    }
}

impl Client {
    /// All of a kind, by id.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resources(&self, kind: ResourceKind) -> Result<Map<String, Value>, ClientError> {
        self.get(kind.path()).await
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn resource(&self, kind: ResourceKind, id: &str) -> Result<Value, ClientError> {
        self.get(&kind.path_of(id)).await
    }

    /// Declares `document`, for `ttl` if one is given (a duration in Go's form: `90s`, `1h30m`), and
    /// returns it as it is in force.
    ///
    /// # Errors
    /// [`ClientError::BadRequest`] says what is wrong with it.
    pub async fn create(
        &self,
        kind: ResourceKind,
        document: &Value,
        ttl: Option<&str>,
    ) -> Result<Value, ClientError> {
        let response = self
            .send(Method::POST, kind.path(), |request| {
                let request = request.json(document);
                match ttl {
                    Some(ttl) => request.header("X-Resource-TTL", ttl),
                    None => request,
                }
            })
            .await?;
        self.read_json(response).await
    }

    /// Applies a JSON Patch (RFC 6902). `None` if that changed nothing.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::BadRequest`] and others.
    pub async fn patch(
        &self,
        kind: ResourceKind,
        id: &str,
        operations: &[Value],
    ) -> Result<Option<Value>, ClientError> {
        let response = self
            .send_any(Method::PATCH, &kind.path_of(id), |request| {
                request.json(operations)
            })
            .await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let response = super::accepted(response).await?;
        self.read_json(response).await.map(Some)
    }

    /// Takes it back.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn delete(&self, kind: ResourceKind, id: &str) -> Result<(), ClientError> {
        self.send(Method::DELETE, &kind.path_of(id), |request| request)
            .await
            .map(drop)
    }
}

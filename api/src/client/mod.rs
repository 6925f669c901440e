//! The typed client of the HTTP interface.
//!
//! ```no_run
//! # async fn example() -> Result<(), flowtap_api::client::ClientError> {
//! use flowtap_api::client::{Client, FlowsRequest};
//!
//! let client = Client::new(["127.0.0.1:8082"])?;
//! let mut pages = client.flows(FlowsRequest { app: Some("DNS".into()), ..FlowsRequest::default() });
//! while let Some(flows) = pages.next().await? {
//!     flows.iter().for_each(|flow| assert_eq!(flow.application, "DNS"));
//! }
//! # Ok(())
//! # }
//! ```

mod endpoint;
mod error;
mod pages;
mod requests;
mod resources;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flowtap_capture::{Capture, CaptureEvent, Explanation};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::wire::{
    CaptureEvents, FlowPage, GremlinRequest, NEXT_CURSOR_HEADER, PCAP_MEDIA_TYPE, PacketPage, Readiness,
    ServiceInfo, Status, UploadReport, VersionInfo,
};

pub use endpoint::{DEFAULT_PORT, Endpoint};
pub use error::ClientError;
pub use pages::{ListPage, Pages};
pub use requests::{FlowFormat, FlowsRequest, PacketFormat, PacketsRequest, SortOrder};
pub use resources::ResourceKind;

/// How long an analyzer may take to accept a connection before the next one is tried.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Bytes read from a file at a time.
const UPLOAD_PIECE: usize = 256 * 1024;

/// Speaks to the first analyzer of a list that can be reached, and stays with it.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Vec<Endpoint>,
    current: AtomicUsize,
}

impl Client {
    /// A client of these analyzers: `HOST`, `HOST:PORT` or `http://HOST:PORT`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] if one cannot be read, or there is none.
    pub fn new<S: AsRef<str>>(endpoints: impl IntoIterator<Item = S>) -> Result<Self, ClientError> {
        let endpoints: Vec<Endpoint> = endpoints
            .into_iter()
            .map(|text| Endpoint::parse(text.as_ref()))
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(ClientError::Endpoint {
                text: String::new(),
                reason: "no analyzer is named".into(),
            });
        }
        // A proxy of the environment is for the web, not for an analyzer on this host or its network.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            .no_proxy()
            .build();
        let http = http.map_err(|error| ClientError::Setup { source: error })?;
        Ok(Self {
            http,
            endpoints,
            current: AtomicUsize::new(0),
        })
    }

    /// The analyzer that answered last, or the first of the list.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        // In range: only indices of this list, which is never empty, are stored.
        &self.endpoints[self.current.load(Ordering::Relaxed)]
    }

    /// Runs a Gremlin query; `accept` chooses the form of the answer as `POST /api/topology` does.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn query(&self, gremlin: &str, accept: &str) -> Result<Download, ClientError> {
        let body = GremlinRequest {
            gremlin_query: gremlin.to_owned(),
        };
        let response = self
            .send(Method::POST, "/api/topology", |request| {
                request.header(ACCEPT, accept).json(&body)
            })
            .await?;
        Ok(Download { response })
    }

    /// All captures, by UUID.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn captures(&self) -> Result<BTreeMap<String, Capture>, ClientError> {
        self.get("/api/capture").await
    }

    /// One capture.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn capture(&self, id: &str) -> Result<Capture, ClientError> {
        self.get(&format!("/api/capture/{}", endpoint::path_segment(id)))
            .await
    }

    /// What happened to a capture, named by its UUID or name, after the event numbered `after`.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn capture_events(&self, id: &str, after: u64) -> Result<Vec<CaptureEvent>, ClientError> {
        let path = format!("/api/v1/captures/{}/events", endpoint::path_segment(id));
        let page: CaptureEvents = self.get_with(&path, &[("after", after.to_string())]).await?;
        Ok(page.events)
    }

    /// What a capture with this expression would capture, and why not more. An empty `capture_type` is
    /// the one that goes with each node.
    ///
    /// # Errors
    /// [`ClientError::BadRequest`] says what is wrong with the expression.
    pub async fn explain_capture(
        &self,
        gremlin: &str,
        capture_type: &str,
    ) -> Result<Explanation, ClientError> {
        let parameters = [("gremlin", gremlin.to_owned()), ("type", capture_type.to_owned())];
        self.get_with("/api/v1/captures/explain", &parameters).await
    }

    /// How the analyzer fares.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/api/status").await
    }

    /// Who answers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn info(&self) -> Result<ServiceInfo, ClientError> {
        self.get("/api").await
    }

    /// What runs there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<VersionInfo, ClientError> {
        self.get("/version").await
    }

    /// Whether each part does its work; also read from an analyzer that is not ready.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let response = self.send_any(Method::GET, "/readyz", |request| request).await?;
        if response.status().is_success() || response.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE {
            return self.read_json(response).await;
        }
        Err(ClientError::from_response(response).await)
    }

    /// Sends a capture file as it is read. Returns when its flows can be queried.
    ///
    /// A file that is cut short gives [`ClientError::BadRequest`], although its packets are kept.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn upload(
        &self,
        file: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<UploadReport, ClientError> {
        // A file can be sent only once: the analyzer that can be reached is found before.
        self.info().await?;
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, UPLOAD_PIECE));
        let url = self.endpoint().url("/api/pcap");
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, PCAP_MEDIA_TYPE)
            .body(body);
        let response = request
            .send()
            .await
            .map_err(|error| ClientError::transport(self.endpoint(), error))?;
        self.read_json(accepted(response).await?).await
    }

    /// Sends the capture file at `path`; see [`Client::upload`].
    ///
    /// # Errors
    /// [`ClientError::File`] if it cannot be opened, and others.
    pub async fn upload_file(&self, path: &Path) -> Result<UploadReport, ClientError> {
        let file = tokio::fs::File::open(path).await;
        let file = file.map_err(|source| ClientError::File {
            path: path.to_owned(),
            source,
        })?;
        self.upload(file).await
    }

    /// Flows, page by page, until there are no more or `request.limit` is reached.
    #[must_use]
    pub fn flows(&self, request: FlowsRequest) -> Pages<'_, FlowPage> {
        Pages::flows(self, request)
    }

    /// Packets with their flows, page by page, until there are no more or `request.limit` is reached.
    #[must_use]
    pub fn packets(&self, request: PacketsRequest) -> Pages<'_, PacketPage> {
        Pages::packets(self, request)
    }

    /// One page of flows as the analyzer writes them in `format`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn flows_as(
        &self,
        request: &FlowsRequest,
        format: FlowFormat,
    ) -> Result<Download, ClientError> {
        let mut parameters = request.parameters();
        parameters.push(("format", format.as_str().to_owned()));
        self.download("/api/v1/flows", &parameters).await
    }

    /// One page of packets as a capture file, of up to 100,000 packets unless `request` says less.
    /// [`Download::next_cursor`] tells if there are more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn packets_as(
        &self,
        request: &PacketsRequest,
        format: PacketFormat,
    ) -> Result<Download, ClientError> {
        let mut parameters = request.parameters();
        parameters.extend(format.parameters());
        self.download("/api/v1/packets", &parameters).await
    }

    async fn download(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<Download, ClientError> {
        let response = self
            .send(Method::GET, path, |request| request.query(parameters))
            .await?;
        Ok(Download { response })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path, |request| request).await?;
        self.read_json(response).await
    }

    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<T, ClientError> {
        let response = self
            .send(Method::GET, path, |request| request.query(parameters))
            .await?;
        self.read_json(response).await
    }

    async fn read_json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        response
            .json()
            .await
            .map_err(|error| ClientError::transport(self.endpoint(), error))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        accepted(self.send_any(method, path, finish).await?).await
    }

    /// Tries the analyzers in turn, the current one first. Only one that cannot be reached makes room
    /// for the next: an answer, good or bad, is an answer.
    async fn send_any(
        &self,
        method: Method,
        path: &str,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let first = self.current.load(Ordering::Relaxed);
        let count = self.endpoints.len();
        let mut unreachable = Vec::new();
        for index in (first..count).chain(0..first) {
            let endpoint = &self.endpoints[index];
            let request = finish(self.http.request(method.clone(), endpoint.url(path)));
            match request.send().await {
                Ok(response) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) if error.is_connect() => unreachable.push((endpoint.clone(), error)),
                Err(error) => return Err(ClientError::transport(endpoint, error)),
            }
        }
        Err(ClientError::unreachable(unreachable))
    }
}

async fn accepted(response: Response) -> Result<Response, ClientError> {
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(ClientError::from_response(response).await)
    }
}

/// An answer whose body is read as it comes.
#[derive(Debug)]
pub struct Download {
    response: Response,
}

impl Download {
    /// Its media type, without parameters; empty if the answer has no body.
    #[must_use]
    pub fn media_type(&self) -> &str {
        let kind = self
            .response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default();
        kind.split_once(';').map_or(kind, |(kind, _)| kind).trim()
    }

    /// The cursor of the next page, if the answer is a page and not the last.
    #[must_use]
    pub fn next_cursor(&self) -> Option<&str> {
        self.response.headers().get(NEXT_CURSOR_HEADER)?.to_str().ok()
    }

    /// The next piece of the body, `None` at its end.
    ///
    /// # Errors
    /// [`ClientError::Broken`] if the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response.chunk().await.map_err(ClientError::broken)
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`ClientError::Broken`] if the connection breaks.
    pub async fn bytes(self) -> Result<Bytes, ClientError> {
        self.response.bytes().await.map_err(ClientError::broken)
    }
}

//! What captures are made of, handed in by whoever starts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowtap_collectors::{CaptureType, Collector};
use flowtap_flow::ledger::Ledger;
use flowtap_flow::point::{PointOptions, Points};
use flowtap_storage::Resources;
use flowtap_topology::Graph;
use serde_json::Value;

/// Opens the way from one node's packets to flows: options of the capture, and the ledger that counts
/// them.
pub type PointsFactory = Arc<dyn Fn(PointOptions, Arc<Ledger>) -> Arc<dyn Points> + Send + Sync>;

/// What captures need from the rest of flowtap.
#[derive(Clone)]
pub struct CaptureServices {
    /// Where nodes come and go. Captures write down at each what they do there (`Captures`).
    pub graph: Arc<Graph>,
    /// The capture types, one collector each; a type without one is refused.
    pub collectors: Vec<Arc<dyn Collector>>,
    /// Where packets go.
    pub points: PointsFactory,
    /// What outlives this process.
    pub store: Arc<dyn CaptureStore>,
    /// Flowtap's own traffic, which no capture takes in: packets from or to one of these. `0.0.0.0` and `::`
    /// stand for each address that the host has.
    pub exclude: Vec<SocketAddr>,
    /// How packets become flows where a capture does not say.
    pub defaults: PointOptions,
    /// How much there may be.
    pub limits: CaptureLimits,
}

impl CaptureServices {
    /// The collector of a type.
    pub(crate) fn collector(&self, capture_type: CaptureType) -> Option<&Arc<dyn Collector>> {
        let mut collectors = self.collectors.iter();
        collectors.find(|collector| collector.capture_type() == capture_type)
    }

    /// Whether `capture_type` can run here at all.
    ///
    /// # Errors
    /// What is missing, for people.
    pub(crate) fn support(&self, capture_type: CaptureType) -> Result<(), String> {
        let Some(collector) = self.collector(capture_type) else {
            return Err(format!(
                "capture type {capture_type} can't run: this version of flowtap lacks it"
            ));
        };
        let supported = collector.support();
        supported.map_err(|reason| format!("capture type {capture_type} can't run: {reason}"))
    }
}

/// How much captures may take.
#[derive(Clone, Copy, Debug)]
pub struct CaptureLimits {
    /// Captures that are declared. Each costs some KiB, and its log up to 64.
    pub captures: usize,
    /// Sources that are open at once. Each costs a thread and what its collector takes (8 MiB for the ring
    /// of `afpacket`). Further nodes wait until one is free.
    pub readers: usize,
    /// Pairs of a capture and a node that it names, 1 KiB each. Further ones are left out.
    pub pairs: usize,
    /// New interfaces whose packets are held at once. Each costs a socket, some KiB of the kernel's, and what
    /// it queues: up to 8 MiB at the first 64 and 512 KiB at further ones, 1 GiB in all if each of a thousand
    /// new interfaces were flooded within [`CaptureLimits::early_hold`]. For one more the oldest is given up.
    pub early_sockets: usize,
    /// Network namespaces that are watched for interfaces that do not exist yet, while a capture could take
    /// them. Each costs a socket and up to 16 MiB of what it queues. In further ones new interfaces have a
    /// socket a moment after they appear.
    pub early_namespaces: usize,
    /// How long packets are held for a capture to name the interface.
    pub early_hold: Duration,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self {
            captures: 1_000,
            readers: 256,
            pairs: 50_000,
            early_sockets: 1_024,
            early_namespaces: 256,
            early_hold: Duration::from_secs(10),
        }
    }
}

/// Keeps declared captures over a restart. What a call has done when it returns is durable.
///
/// Errors are sentences for people.
pub trait CaptureStore: Send + Sync {
    /// All captures by id, in the order in which they were declared.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn list(&self) -> Result<Vec<(String, Value)>, String>;

    /// Keeps one.
    ///
    /// # Errors
    /// Why it cannot be kept; then it is not.
    fn put(&self, id: &str, document: &Value) -> Result<(), String>;

    /// Forgets one. One that is not there is forgotten already.
    ///
    /// # Errors
    /// Why it cannot be forgotten; then it stays.
    fn delete(&self, id: &str) -> Result<(), String>;
}

/// What captures are among all that users declare.
const KIND: &str = "capture";

impl CaptureStore for Resources {
    fn list(&self) -> Result<Vec<(String, Value)>, String> {
        let all = Resources::list(self, KIND).map_err(|error| error.to_string())?;
        let pair = |resource: flowtap_storage::Resource| (resource.uuid, resource.document);
        Ok(all.into_iter().map(pair).collect())
    }

    fn put(&self, id: &str, document: &Value) -> Result<(), String> {
        Resources::put(self, KIND, id, document).map_err(|error| error.to_string())
    }

    fn delete(&self, id: &str) -> Result<(), String> {
        Resources::delete(self, KIND, id)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

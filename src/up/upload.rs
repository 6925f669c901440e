//! Capture files over HTTP.

use std::sync::Arc;

use flowtap_api::{PcapImport, PcapReport, PcapUpload};
use flowtap_collectors::pcapsocket::Ingest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::inputs::Listed;

const STOPPING: &str = "flowtap is stopping; send the file again when it is back";

/// The capture that uploads belong to, and those under way.
pub(super) struct Uploads {
    capture: Listed,
    stop: CancellationToken,
    under_way: TaskTracker,
}

impl Uploads {
    /// `stop` ends uploads under way at their next bytes.
    pub(super) fn new(capture: Listed, stop: CancellationToken) -> Self {
        Self {
            capture,
            stop,
            under_way: TaskTracker::new(),
        }
    }

    /// Waits until none is under way. After the stop, that is soon.
    pub(super) async fn ended(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }
}

impl PcapImport for Uploads {
    fn capture_id(&self) -> Arc<str> {
        Arc::clone(&self.capture.id)
    }

    fn begin(&self, from: &str) -> Box<dyn PcapUpload> {
        // In no topology, as Skydive's uploads: the packets were seen elsewhere.
        let ingest = Ingest::new(self.capture.points.open(""), Arc::clone(&self.capture.ledger));
        tracing::debug!(from, "upload begins");
        Box::new(Upload {
            ingest,
            stop: self.stop.clone(),
            _under_way: self.under_way.token(),
        })
    }
}

/// One file. Its ingest, dropped, flushes what came.
struct Upload {
    ingest: Ingest,
    stop: CancellationToken,
    _under_way: TaskTrackerToken,
}

impl PcapUpload for Upload {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err(STOPPING.to_owned());
        }
        self.ingest.push(bytes).map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>) -> Result<PcapReport, String> {
        let report = self.ingest.finish().map_err(|error| error.to_string())?;
        if report.is_cut() {
            let packets = report.packets;
            return Err(format!(
                "the file ends in the middle of a packet; the {packets} before it were taken"
            ));
        }
        Ok(PcapReport {
            packets: report.packets,
            unsupported: report.unsupported,
        })
    }
}

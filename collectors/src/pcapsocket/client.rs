//! One connection, on its own thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tracing::{info, warn};

use super::gate::LogGate;
use super::ingest::{Ingest, IngestError, IngestReport, Pull};
use super::stats::{Client, PcapSocketStats};

/// What all connections of one socket share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) stats: Arc<PcapSocketStats>,
    pub(super) log: LogGate,
    /// Set when the time to drain connections after a stop is over.
    pub(super) give_up: AtomicBool,
}

/// Reads until the client, or a stop, ends the connection.
pub(super) fn serve(client: &Arc<Client>, mut ingest: Ingest, shared: &Shared) {
    let read = read(client, &mut ingest, shared);
    let report = ingest.report();
    let ended = match (read, ingest.finish()) {
        (Ok(()), ended) => ended,
        (Err(error), _) => Err(error),
    };
    tell(client, report, ended, shared);
}

fn read(client: &Client, ingest: &mut Ingest, shared: &Shared) -> Result<(), IngestError> {
    while !shared.give_up.load(Ordering::Relaxed) {
        let pull = ingest.pull(&mut &client.stream);
        let report = ingest.report();
        client.count(report.packets, report.bytes);
        match pull? {
            Pull::End => break,
            Pull::Full => {}
            // The socket's queue is empty: before the next read waits, all that came goes on.
            Pull::Short => ingest.flush(),
        }
    }
    Ok(())
}

fn tell(client: &Client, report: IngestReport, ended: Result<IngestReport, IngestError>, shared: &Shared) {
    let error = match ended {
        // A port scan, a health check.
        Err(IngestError::Empty) => return,
        Err(error) => error.to_string(),
        Ok(report) if report.is_cut() => "the stream ended in the middle of a packet".to_owned(),
        Ok(_) => {
            if let Some(suppressed) = shared.log.pass(Instant::now()) {
                info!(client = %client.peer, packets = report.packets, suppressed, "pcap stream ended");
            }
            return;
        }
    };
    if let Some(suppressed) = shared.log.pass(Instant::now()) {
        warn!(client = %client.peer, packets = report.packets, suppressed, %error, "pcap stream broke off");
    }
    shared.stats.fail(client.peer, error);
}

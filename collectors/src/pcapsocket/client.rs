//! One connection, on its own thread.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tracing::{info, warn};

use super::gate::LogGate;
use super::handover::{self, Answer};
use super::ingest::{Ingest, IngestError, IngestReport, Pull};
use super::stats::{Client, PcapSocketStats, Peer};

/// A limit for each kind of line: however many of one there are, the others are still written.
#[derive(Debug, Default)]
pub(super) struct LogGates {
    ended: LogGate,
    broke_off: LogGate,
    pub(super) refused: LogGate,
}

/// What all connections of one socket share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) stats: Arc<PcapSocketStats>,
    pub(super) log: LogGates,
    /// Set when the time to drain connections after a stop is over.
    pub(super) give_up: AtomicBool,
}

/// Reads what the client sends or hands over, until the client, or a stop, ends the connection.
pub(super) fn serve(client: &Arc<Client>, mut ingest: Ingest, shared: &Shared) {
    let read = match client.peer {
        Peer::Address(_) => read_stream(client, &mut ingest, shared),
        Peer::Process(_) => read_file(client, &mut ingest),
    };
    let report = ingest.report();
    let ended = match (read, ingest.finish()) {
        (Ok(()), ended) => ended,
        (Err(error), _) => Err(error),
    };
    if let Peer::Process(_) = client.peer {
        // It fails if the client has gone, who then wants no answer.
        let _ = handover::answer(&client.stream, &answer(report, &ended));
    }
    tell(client, report, ended, shared);
}

fn read_stream(client: &Client, ingest: &mut Ingest, shared: &Shared) -> Result<(), IngestError> {
    while !shared.give_up.load(Ordering::Relaxed) {
        match pull(client, &mut &client.stream, ingest)? {
            Pull::End => break,
            Pull::Full => {}
            // The socket's queue is empty: before the next read waits, all that came goes on.
            Pull::Short => ingest.flush(),
        }
    }
    Ok(())
}

/// Reads between two looks at the connection: 2 MiB.
const READS_PER_CHECK: u32 = 16;

fn read_file(client: &Client, ingest: &mut Ingest) -> Result<(), IngestError> {
    let mut file = handover::receive(&client.stream).map_err(IngestError::Read)?;
    for reads in 0u32.. {
        if reads % READS_PER_CHECK == 0 && handover::has_ended(&client.stream) {
            let text = "its client went away, or flowtap stops";
            let error = io::Error::new(io::ErrorKind::ConnectionAborted, text);
            return Err(IngestError::Read(error));
        }
        if pull(client, &mut file, ingest)? == Pull::End {
            break;
        }
    }
    Ok(())
}

/// Reads once, and publishes what came so far.
fn pull(client: &Client, source: &mut impl Read, ingest: &mut Ingest) -> Result<Pull, IngestError> {
    let pull = ingest.pull(source);
    let report = ingest.report();
    client.count(report.packets, report.bytes);
    pull
}

fn answer(report: IngestReport, ended: &Result<IngestReport, IngestError>) -> Answer {
    let error = ended.as_ref().err();
    let empty = matches!(error, Some(IngestError::Empty));
    Answer {
        packets: report.packets,
        unsupported: report.unsupported,
        empty,
        cut: ended.as_ref().is_ok_and(IngestReport::is_cut),
        error: error.filter(|_| !empty).map(ToString::to_string),
    }
}

fn tell(client: &Client, report: IngestReport, ended: Result<IngestReport, IngestError>, shared: &Shared) {
    let error = match ended {
        // A port scan, a health check.
        Err(IngestError::Empty) => return,
        Err(error) => error.to_string(),
        Ok(report) if report.is_cut() => "the stream ended in the middle of a packet".to_owned(),
        Ok(_) => {
            if let Some(suppressed) = shared.log.ended.pass(Instant::now()) {
                info!(client = %client.peer, packets = report.packets, suppressed, "pcap stream ended");
            }
            return;
        }
    };
    if let Some(suppressed) = shared.log.broke_off.pass(Instant::now()) {
        warn!(client = %client.peer, packets = report.packets, suppressed, %error, "pcap stream broke off");
    }
    shared.stats.fail(client.peer, error);
}

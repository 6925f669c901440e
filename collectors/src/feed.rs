//! From a source to its sink, with the ledger kept.

use std::sync::Arc;

use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_flow::packet::{Packet, Sink};

use crate::ReaderContext;

/// One sink and the ledger beside it. Dropped, it flushes the sink.
pub(crate) struct Feed {
    sink: Box<dyn Sink>,
    ledger: Arc<Ledger>,
}

impl Feed {
    /// For packets that are seen at the node `node_tid`.
    pub(crate) fn new(context: &ReaderContext, node_tid: &str) -> Self {
        Self {
            sink: context.points.open(node_tid),
            ledger: Arc::clone(&context.ledger),
        }
    }

    /// Hands packets on, at most a batch of them.
    pub(crate) fn give(&mut self, batch: &[Packet<'_>]) {
        if batch.is_empty() {
            return;
        }
        let bytes = batch.iter().map(|packet| u64::from(packet.len)).sum();
        // Before the sink counts them as kept: the ledger never shows more kept than received.
        self.ledger.receive(batch.len() as u64, bytes);
        self.sink.packets(batch);
    }

    /// Counts packets that the filter refused, of `bytes` bytes if that is known.
    pub(crate) fn filtered(&self, packets: u64, bytes: u64) {
        if packets > 0 {
            self.ledger.receive(packets, bytes);
            self.ledger.filter(packets);
        }
    }

    /// Counts packets that were lost.
    pub(crate) fn dropped(&self, reason: DropReason, packets: u64) {
        if packets > 0 {
            self.ledger.receive(packets, 0);
            self.ledger.drop_packets(reason, packets);
        }
    }

    /// Counts packets that the interface itself lost.
    pub(crate) fn if_dropped(&self, packets: u64) {
        if packets > 0 {
            self.ledger.if_drop(packets);
        }
    }

    /// The source pauses.
    pub(crate) fn flush(&mut self) {
        self.sink.flush();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.sink.flush();
    }
}

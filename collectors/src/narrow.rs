//! Points of a capture at a chosen node, for sources that have filters and nodes of their own making.

use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtap_flow::ledger::Ledger;
use flowtap_flow::packet::{BATCH, FilterCompiler as _, LinkType, Packet, PacketFilter, Sink};
use flowtap_flow::point::Points;

use crate::bpf::LibpcapCompiler;
use crate::{CaptureRequest, ReaderContext};

/// Shows every packet at one node, whatever the source says; lets only those pass that match the filter,
/// and cuts them.
pub(crate) struct Narrow {
    inner: Arc<dyn Points>,
    ledger: Arc<Ledger>,
    node_tid: Arc<str>,
    filter: Option<Arc<str>>,
    snaplen: usize,
}

impl Narrow {
    /// The context of a capture at the node of `request`.
    pub(crate) fn context(request: &CaptureRequest, context: ReaderContext) -> ReaderContext {
        let filter = request
            .filter
            .as_deref()
            .filter(|filter| !filter.trim().is_empty());
        let points = Self {
            inner: context.points,
            ledger: Arc::clone(&context.ledger),
            node_tid: Arc::clone(&request.interface.node_tid),
            filter: filter.map(Arc::from),
            snaplen: match usize::try_from(request.snaplen) {
                Ok(0) | Err(_) => usize::MAX,
                Ok(snaplen) => snaplen,
            },
        };
        ReaderContext {
            points: Arc::new(points),
            ..context
        }
    }
}

impl Points for Narrow {
    fn open(&self, _node_tid: &str) -> Box<dyn Sink> {
        let sink = self.inner.open(&self.node_tid);
        if self.filter.is_none() && self.snaplen == usize::MAX {
            return sink;
        }
        Box::new(NarrowSink {
            sink,
            ledger: Arc::clone(&self.ledger),
            filter: self.filter.clone(),
            compiled: Vec::new(),
            snaplen: self.snaplen,
        })
    }
}

struct NarrowSink {
    sink: Box<dyn Sink>,
    ledger: Arc<Ledger>,
    filter: Option<Arc<str>>,
    /// By link type, of which a stream has one or two; `None` where the filter makes no sense, as
    /// `ether host` in raw IP. Link types that flowtap does not decode, up to 65,536, are not held.
    compiled: Vec<(LinkType, Option<Box<dyn PacketFilter>>)>,
    snaplen: usize,
}

impl NarrowSink {
    fn passes(&mut self, packet: &Packet<'_>) -> bool {
        let Some(expression) = &self.filter else {
            return true;
        };
        let link_type = packet.link_type;
        if !link_type.is_supported() {
            // It is dropped for that, not for the filter.
            return true;
        }
        let known = self.compiled.iter().position(|(of, _)| *of == link_type);
        let index = known.unwrap_or_else(|| {
            let filter = LibpcapCompiler.compile(expression, link_type).ok();
            self.compiled.push((link_type, filter));
            self.compiled.len() - 1
        });
        let filter = self.compiled.get(index).and_then(|(_, filter)| filter.as_ref());
        filter.is_some_and(|filter| filter.matches(packet.data, packet.len))
    }
}

impl Sink for NarrowSink {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        for chunk in batch.chunks(BATCH) {
            let mut passed = ArrayVec::<Packet<'_>, BATCH>::new();
            for packet in chunk {
                if self.passes(packet) {
                    let data = packet.data.get(..self.snaplen).unwrap_or(packet.data);
                    passed.push(Packet { data, ..*packet });
                }
            }
            // The source has counted them as received.
            self.ledger.filter((chunk.len() - passed.len()) as u64);
            if !passed.is_empty() {
                self.sink.packets(&passed);
            }
        }
    }

    fn flush(&mut self) {
        self.sink.flush();
    }
}

//! What was received, kept, filtered and dropped, so that nothing vanishes.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Why a packet was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// The kernel had no room left in the socket's or ring's buffer.
    Kernel,
    /// The link type is none that flowtap decodes.
    LinkType,
    /// Too short or too broken for even the first header.
    Undecodable,
    /// A record, sample or datagram that broke its format's rules.
    Malformed,
    /// A limit was reached: agents, data sources, clients.
    Limit,
    /// Its sender may not send.
    Denied,
}

impl DropReason {
    /// All reasons, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Kernel,
        Self::LinkType,
        Self::Undecodable,
        Self::Malformed,
        Self::Limit,
        Self::Denied,
    ];

    /// The word used in metrics and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::LinkType => "link_type",
            Self::Undecodable => "undecodable",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::Denied => "denied",
        }
    }
}

/// The counters of one capture. Readers count in plain integers and publish once a batch.
///
/// `received = kept + filtered + Σ dropped` holds whenever no batch is in flight: `received` is
/// everything that reached this machine for the capture, what the kernel dropped included.
#[derive(Debug, Default)]
pub struct Ledger {
    received: AtomicU64,
    received_bytes: AtomicU64,
    kept: AtomicU64,
    filtered: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    raw_kept: AtomicU64,
    raw_over_budget: AtomicU64,
    if_dropped: AtomicU64,
}

impl Ledger {
    /// Counts packets that arrived, with their bytes on the wire.
    pub fn receive(&self, packets: u64, bytes: u64) {
        self.received.fetch_add(packets, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts packets that became part of a flow.
    pub fn keep(&self, packets: u64) {
        self.kept.fetch_add(packets, Ordering::Relaxed);
    }

    /// Counts packets that a BPF filter refused.
    pub fn filter(&self, packets: u64) {
        self.filtered.fetch_add(packets, Ordering::Relaxed);
    }

    /// Counts packets that were lost, and why.
    pub fn drop_packets(&self, reason: DropReason, packets: u64) {
        self.dropped[reason as usize].fetch_add(packets, Ordering::Relaxed);
    }

    /// Counts raw packets kept with their flows, and those that the byte budget had no room for.
    pub fn raw(&self, kept: u64, over_budget: u64) {
        self.raw_kept.fetch_add(kept, Ordering::Relaxed);
        self.raw_over_budget.fetch_add(over_budget, Ordering::Relaxed);
    }

    /// Counts packets that an interface itself had no room for. They reached nobody, so they are not among
    /// the received ones.
    pub fn if_drop(&self, packets: u64) {
        self.if_dropped.fetch_add(packets, Ordering::Relaxed);
    }

    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> LedgerSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LedgerSnapshot {
            received: load(&self.received),
            received_bytes: load(&self.received_bytes),
            kept: load(&self.kept),
            filtered: load(&self.filtered),
            dropped: std::array::from_fn(|i| load(&self.dropped[i])),
            raw_kept: load(&self.raw_kept),
            raw_over_budget: load(&self.raw_over_budget),
            if_dropped: load(&self.if_dropped),
        }
    }
}

/// A [`Ledger`] at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSnapshot {
    /// Packets that arrived, those included that the kernel dropped.
    pub received: u64,
    /// Their bytes on the wire.
    pub received_bytes: u64,
    /// Packets that became part of a flow.
    pub kept: u64,
    /// Packets that a BPF filter refused.
    pub filtered: u64,
    /// Packets lost, by [`DropReason`] in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Raw packets kept with their flows.
    pub raw_kept: u64,
    /// Raw packets that the byte budget had no room for; they count in their flow all the same.
    pub raw_over_budget: u64,
    /// Packets that an interface itself had no room for, where it says so (`ps_ifdrop` of libpcap); not among
    /// the received ones.
    pub if_dropped: u64,
}

impl LedgerSnapshot {
    /// Packets lost for `reason`.
    #[must_use]
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Packets lost for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// True if the columns add up.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.received == self.kept + self.filtered + self.dropped_total()
    }
}

impl Serialize for LedgerSnapshot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Received", &self.received)?;
        map.serialize_entry("ReceivedBytes", &self.received_bytes)?;
        map.serialize_entry("Kept", &self.kept)?;
        map.serialize_entry("Filtered", &self.filtered)?;
        let dropped: std::collections::BTreeMap<_, _> = DropReason::ALL
            .iter()
            .map(|r| (r.as_str(), self.dropped_for(*r)))
            .collect();
        map.serialize_entry("Dropped", &dropped)?;
        map.serialize_entry("RawPacketsKept", &self.raw_kept)?;
        map.serialize_entry("RawPacketsOverBudget", &self.raw_over_budget)?;
        map.serialize_entry("IfDropped", &self.if_dropped)?;
        map.end()
    }
}

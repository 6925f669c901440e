//! The list of captures.

use std::sync::{Arc, PoisonError, RwLock};

use flowtap_flow::ledger::{Ledger, LedgerSnapshot};
use flowtap_flow::point::{LayerKeyMode, PointOptions};
use flowtap_flow::timestamp::Timestamp;
use uuid::Uuid;

use crate::capture::{Capture, State};

/// The namespace of the ids of standing inputs: a UUIDv4 drawn once for flowtap. Changing it gives
/// every standing input a new id, and with that cuts stored flows off from their capture.
const NAMESPACE: Uuid = Uuid::from_u128(0x5c0e_9a4f_7d21_4b86_9e3a_1f60_c2d8_47b5);

/// What can go wrong with the list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CaptureError {
    /// No capture has this id.
    #[error("capture `{0}` not found")]
    Unknown(String),
    /// Two inputs of one type on one address.
    #[error("{kind} on `{address}` is declared twice; give each input its own address")]
    Duplicate {
        /// The input's type.
        kind: &'static str,
        /// Its address.
        address: String,
    },
}

/// The inputs that flowtap opens by itself at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// sFlow v5 datagrams over UDP.
    SFlow,
    /// pcap and pcapng streams over TCP.
    PcapSocket,
    /// pcap and pcapng files over HTTP.
    Upload,
}

impl InputKind {
    /// The word used in JSON, metrics and the input's id.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SFlow => "sflow",
            Self::PcapSocket => "pcapsocket",
            Self::Upload => "upload",
        }
    }
}

/// An input to be listed.
#[derive(Clone, Debug)]
pub struct StandingInput {
    /// Its type.
    pub kind: InputKind,
    /// Where it was told to listen, or for [`InputKind::Upload`] the path; the id is made from this.
    pub address: String,
    /// A name for people; may be empty.
    pub name: String,
    /// A description for people; may be empty.
    pub description: String,
    /// When it was declared.
    pub created: Timestamp,
}

impl StandingInput {
    /// An input without name and description.
    #[must_use]
    pub fn new(kind: InputKind, address: impl Into<String>, created: Timestamp) -> Self {
        Self {
            kind,
            address: address.into(),
            name: String::new(),
            description: String::new(),
            created,
        }
    }

    /// The id that an input of this type and address always has (UUIDv5), so that flows stored before
    /// a restart and flows seen after it belong to one capture.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        let name = format!("{} {}", self.kind.as_str(), self.address);
        Arc::from(Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string())
    }
}

struct Entry {
    kind: InputKind,
    document: Capture,
    ledger: Arc<Ledger>,
}

impl Entry {
    fn read(&self) -> Capture {
        let mut document = self.document.clone();
        document.count = u32::from(document.state.is_capturing());
        document.ledger = self.ledger.snapshot().into();
        document
    }
}

/// A capture's counters, without the rest: what `/metrics` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Its id.
    pub uuid: String,
    /// Its type.
    pub capture_type: String,
    /// What it is doing.
    pub state: State,
    /// Its ledger now.
    pub ledger: LedgerSnapshot,
}

/// The captures of this process, in the order in which they were declared. Shared between threads;
/// a lock is held for the length of a copy, never for I/O.
#[derive(Default)]
pub struct Captures {
    entries: RwLock<Vec<Entry>>,
}

impl Captures {
    /// Lists an input as [`State::Starting`]. `options` tell clients how its packets become flows,
    /// and `ledger` is the one that its reader counts in.
    ///
    /// # Errors
    /// [`CaptureError::Duplicate`] if an input of this type and address is listed already.
    pub fn register(
        &self,
        input: &StandingInput,
        options: &PointOptions,
        ledger: Arc<Ledger>,
    ) -> Result<Arc<str>, CaptureError> {
        let id = input.id();
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.iter().any(|e| *e.document.uuid == *id) {
            let address = input.address.clone();
            return Err(CaptureError::Duplicate {
                kind: input.kind.as_str(),
                address,
            });
        }
        let mut document = Capture {
            uuid: id.to_string(),
            name: input.name.clone(),
            description: input.description.clone(),
            r#type: input.kind.as_str().to_owned(),
            raw_packet_limit: raw_packet_limit(options),
            extra_tcp_metric: options.extra_tcp_metric,
            ip_defrag: options.ip_defrag,
            reassemble_tcp: options.reassemble_tcp,
            extra_layers: options.extra_layers.0,
            layer_key_mode: match options.layer_key_mode {
                LayerKeyMode::L2 => "L2".to_owned(),
                LayerKeyMode::L3 => "L3".to_owned(),
            },
            state: State::Starting,
            create_time: input.created.millis(),
            ..Capture::default()
        };
        show_address(&mut document, input.kind, &input.address);
        entries.push(Entry {
            kind: input.kind,
            document,
            ledger,
        });
        Ok(id)
    }

    /// Says what a capture is doing, and why where the state alone does not tell.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`].
    pub fn set_state(&self, id: &str, state: State, reason: impl Into<String>) -> Result<(), CaptureError> {
        self.change(id, |entry| {
            entry.document.state = state;
            entry.document.reason = reason.into();
        })
    }

    /// Says where an input really listens, which differs from what it was told if that was port 0.
    /// Its id stays.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`].
    pub fn set_listening(&self, id: &str, address: &str) -> Result<(), CaptureError> {
        self.change(id, |entry| show_address(&mut entry.document, entry.kind, address))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) -> Result<(), CaptureError> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.iter_mut().find(|e| e.document.uuid == id);
        entry
            .map(change)
            .ok_or_else(|| CaptureError::Unknown(id.to_owned()))
    }

    /// All captures.
    #[must_use]
    pub fn list(&self) -> Vec<Capture> {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(Entry::read)
            .collect()
    }

    /// One capture.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Capture> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().find(|e| e.document.uuid == id).map(Entry::read)
    }

    /// The counters of all captures.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let counters = entries.iter().map(|entry| Counters {
            uuid: entry.document.uuid.clone(),
            capture_type: entry.document.r#type.clone(),
            state: entry.document.state,
            ledger: entry.ledger.snapshot(),
        });
        counters.collect()
    }
}

/// Skydive's number: 0 none, −1 all.
fn raw_packet_limit(options: &PointOptions) -> i64 {
    if options.raw_packet_limit == PointOptions::UNLIMITED {
        -1
    } else {
        i64::from(options.raw_packet_limit)
    }
}

fn show_address(document: &mut Capture, kind: InputKind, address: &str) {
    address.clone_into(&mut document.listen);
    match kind {
        InputKind::SFlow => address.clone_into(&mut document.sflow_socket),
        InputKind::PcapSocket => address.clone_into(&mut document.pcap_socket),
        InputKind::Upload => return,
    }
    document.port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or(0);
}

//! The inputs that flowtap opens by itself at start.

use std::sync::Arc;

use flowtap_flow::ledger::Ledger;
use flowtap_flow::point::PointOptions;
use flowtap_flow::timestamp::Timestamp;
use uuid::Uuid;

use crate::captures::Captures;
use crate::declare::{key_mode, raw_packet_limit};
use crate::document::{Capture, State};
use crate::error::CaptureError;

/// The namespace of the ids of standing inputs: a UUIDv4 drawn once for flowtap. Changing it gives
/// every standing input a new id, and with that cuts stored flows off from their capture.
const NAMESPACE: Uuid = Uuid::from_u128(0x5c0e_9a4f_7d21_4b86_9e3a_1f60_c2d8_47b5);

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

/// A standing input in the list.
#[derive(Debug)]
pub(crate) struct Standing {
    kind: InputKind,
    document: Capture,
    pub(crate) ledger: Arc<Ledger>,
}

impl Standing {
    pub(crate) fn new(input: &StandingInput, options: &PointOptions, ledger: Arc<Ledger>) -> Self {
        let document = Capture {
            uuid: input.id().to_string(),
            name: input.name.clone(),
            description: input.description.clone(),
            r#type: input.kind.as_str().to_owned(),
            raw_packet_limit: raw_packet_limit(options),
            extra_tcp_metric: options.extra_tcp_metric,
            ip_defrag: options.ip_defrag,
            reassemble_tcp: options.reassemble_tcp,
            extra_layers: options.extra_layers.0,
            layer_key_mode: key_mode(options.layer_key_mode).to_owned(),
            state: State::Starting,
            create_time: input.created.millis(),
            ..Capture::default()
        };
        let mut standing = Self {
            kind: input.kind,
            document,
            ledger,
        };
        standing.listens(&input.address);
        standing
    }

    pub(crate) fn id(&self) -> &str {
        &self.document.uuid
    }

    pub(crate) fn name(&self) -> &str {
        &self.document.name
    }

    pub(crate) fn capture_type(&self) -> &'static str {
        self.kind.as_str()
    }

    pub(crate) fn state(&self) -> State {
        self.document.state
    }

    pub(crate) fn set_state(&mut self, state: State, reason: String) {
        self.document.state = state;
        self.document.reason = reason;
    }

    /// Shows where it listens.
    pub(crate) fn listens(&mut self, address: &str) {
        let document = &mut self.document;
        address.clone_into(&mut document.listen);
        match self.kind {
            InputKind::SFlow => address.clone_into(&mut document.sflow_socket),
            InputKind::PcapSocket => address.clone_into(&mut document.pcap_socket),
            InputKind::Upload => return,
        }
        document.port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or(0);
    }

    pub(crate) fn read(&self) -> Capture {
        let mut document = self.document.clone();
        document.count = u32::from(document.state.is_capturing());
        document.ledger = self.ledger.snapshot().into();
        document
    }
}

impl Captures {
    /// Lists a standing input as [`State::Starting`]. `options` tell clients how its packets become flows,
    /// and `ledger` is the one that its reader counts in.
    ///
    /// # Errors
    /// [`CaptureError::SameInput`] if an input of this type and address is listed already.
    pub fn register(
        &self,
        input: &StandingInput,
        options: &PointOptions,
        ledger: Arc<Ledger>,
    ) -> Result<Arc<str>, CaptureError> {
        let id = input.id();
        let mut all = self.standing_mut();
        if all.iter().any(|standing| *standing.id() == *id) {
            return Err(CaptureError::SameInput {
                kind: input.kind.as_str(),
                address: input.address.clone(),
            });
        }
        all.push(Standing::new(input, options, ledger));
        Ok(id)
    }

    /// Says what a standing input is doing, and why where the state alone does not tell.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`].
    pub fn set_state(&self, id: &str, state: State, reason: impl Into<String>) -> Result<(), CaptureError> {
        self.change(id, |standing| standing.set_state(state, reason.into()))
    }

    /// Says where a standing input really listens, which differs from what it was told if that was port 0.
    /// Its id stays.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`].
    pub fn set_listening(&self, id: &str, address: &str) -> Result<(), CaptureError> {
        self.change(id, |standing| standing.listens(address))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Standing)) -> Result<(), CaptureError> {
        let mut all = self.standing_mut();
        let standing = all.iter_mut().find(|standing| standing.id() == id);
        let changed = standing.map(change);
        drop(all);
        self.changed();
        changed.ok_or_else(|| CaptureError::Unknown(id.to_owned()))
    }
}

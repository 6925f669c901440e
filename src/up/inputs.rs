//! The standing inputs: each is a capture in the list, and a reader that feeds the flow table.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use flowtap_capture::{Captures, InputKind, StandingInput, State};
use flowtap_collectors::{CollectError, ReaderContext};
use flowtap_flow::ledger::Ledger;
use flowtap_flow::point::{PointOptions, Points};
use flowtap_flow::table::FlowTable;
use flowtap_flow::text::Text;
use flowtap_flow::timestamp::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What every input needs, and the readers that run.
pub(super) struct Inputs {
    pub(super) captures: Arc<Captures>,
    table: Arc<FlowTable>,
    /// What all inputs have in common; each fills in its capture and whether it can wait.
    options: PointOptions,
    pub(super) stop: CancellationToken,
    readers: TaskTracker,
}

/// A capture in the list: its id, its counters, and where its packets go.
pub(super) struct Listed {
    pub(super) id: Arc<str>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) points: Arc<dyn Points>,
}

impl Inputs {
    pub(super) fn new(table: Arc<FlowTable>, options: PointOptions) -> Self {
        Self {
            captures: Arc::default(),
            table,
            options,
            stop: CancellationToken::new(),
            readers: TaskTracker::new(),
        }
    }

    /// Lists an input by the address that it was told, so that its id outlives a restart.
    ///
    /// # Errors
    /// The same input twice.
    pub(super) fn list(&self, kind: InputKind, told: &str) -> Result<Listed> {
        let input = StandingInput::new(kind, told, Timestamp::now());
        let options = PointOptions {
            capture_id: Text::lasting(&input.id()),
            // A datagram that is not taken is lost; a peer over TCP just sends later.
            can_wait: kind != InputKind::SFlow,
            exact_times: kind != InputKind::SFlow,
            ..self.options.clone()
        };
        let ledger = Arc::new(Ledger::default());
        let id = self.captures.register(&input, &options, Arc::clone(&ledger))?;
        let points = self.table.points(options, Arc::clone(&ledger));
        Ok(Listed { id, ledger, points })
    }

    /// Lists an input whose socket is bound, and lets its reader run until the stop.
    ///
    /// # Errors
    /// The same input twice.
    pub(super) fn start<R>(
        &self,
        kind: InputKind,
        told: SocketAddr,
        listening: SocketAddr,
        run: impl FnOnce(ReaderContext) -> R,
    ) -> Result<()>
    where
        R: Future<Output = Result<(), CollectError>> + Send + 'static,
    {
        let Listed { id, ledger, points } = self.list(kind, &told.to_string())?;
        self.captures.set_listening(&id, &listening.to_string())?;
        self.captures.set_state(&id, State::Active, "")?;
        let reader = run(ReaderContext {
            points,
            ledger,
            stop: self.stop.clone(),
        });
        let captures = Arc::clone(&self.captures);
        self.readers.spawn(async move {
            // A task of its own: a reader that panics is a capture that has failed, and is shown so.
            let ended = tokio::spawn(reader).await;
            let error = match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(panic) => Some(panic.to_string()),
            };
            if let Some(error) = error {
                tracing::error!(capture = %id, %error, "capture stopped");
                // The capture is listed: nothing takes one off the list.
                let _ = captures.set_state(&id, State::Error, error);
            }
        });
        Ok(())
    }

    /// Stops intake, and waits until every reader has handed on what the kernel still held.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.readers.close();
        self.readers.wait().await;
    }
}

//! The flow table's clock.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use flowtap_flow::table::FlowTable;
use flowtap_flow::timestamp::Timestamp;

const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that lets the table update and expire flows once a second. The table may wait for the
/// store meanwhile, hence no task.
pub(super) struct Ticker {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Ticker {
    /// # Errors
    /// The system's, if it gives no thread.
    pub(super) fn start(table: Arc<FlowTable>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("table-tick".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    table.tick(Timestamp::now());
                }
            })?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread after the tick that may be under way. Blocks as long as that one does.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the flow table's ticker panicked");
        }
    }
}

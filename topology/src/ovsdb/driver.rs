//! What runs behind a [`super::Connection`]: the only one to read from the socket and to write to it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Limits, Request};
use super::error::OvsdbError;
use super::frame::Splitter;
use super::wire::{self, Message, Notification};

/// Requests that the server has not answered. Further ones wait in the queue.
const MAX_PENDING: usize = 256;

/// Read from the socket at once, at least.
const READ: usize = 64 << 10;

/// A stream in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) type Socket = Box<dyn Duplex>;

/// Why a connection ended, for all who ask later.
#[derive(Clone, Debug, Default)]
pub(super) struct End(Arc<OnceLock<OvsdbError>>);

impl End {
    pub(super) fn reason(&self) -> OvsdbError {
        self.0.get().cloned().unwrap_or(OvsdbError::Closed)
    }
}

pub(super) struct Driver {
    socket: Socket,
    limits: Limits,
    buffer: BytesMut,
    splitter: Splitter,
    requests: mpsc::Receiver<Request>,
    /// Who waits for which answer; at most [`MAX_PENDING`], with some 100 bytes each.
    pending: HashMap<u64, oneshot::Sender<Result<Bytes, OvsdbError>>>,
    notifications: mpsc::Sender<Notification>,
    end: End,
}

impl Driver {
    /// The number of our own echo requests; those of callers are greater.
    pub(super) const ECHO: u64 = 0;

    pub(super) fn new(
        socket: Socket,
        limits: &Limits,
        requests: mpsc::Receiver<Request>,
        notifications: mpsc::Sender<Notification>,
        end: End,
    ) -> Self {
        Self {
            socket,
            limits: *limits,
            buffer: BytesMut::new(),
            splitter: Splitter::new(limits.max_message),
            requests,
            pending: HashMap::new(),
            notifications,
            end,
        }
    }

    /// Serves the connection until it breaks, or nobody has a use for it any more.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            // The first and only time: the cell is this driver's.
            let _set = self.end.0.set(error.clone());
            for (_, answer) in self.pending.drain() {
                let _nobody_waits = answer.send(Err(error.clone()));
            }
        }
    }

    async fn serve(&mut self) -> Result<(), OvsdbError> {
        let mut heard = Instant::now();
        let mut asked = false;
        loop {
            self.buffer.reserve(READ);
            let patience = if asked {
                self.limits.idle + self.limits.deadline
            } else {
                self.limits.idle
            };
            tokio::select! {
                // In this order: requests are few and bounded, and what has arrived is a sign of life,
                // however late it is read.
                biased;
                request = self.requests.recv(), if self.pending.len() < MAX_PENDING => {
                    let Some(request) = request else { return Ok(()) };
                    self.pending.insert(request.id, request.answer);
                    self.send(&request.message).await?;
                }
                read = self.socket.read_buf(&mut self.buffer) => {
                    if read.map_err(broken)? == 0 {
                        return Err(OvsdbError::Closed);
                    }
                    while let Some(body) = self.splitter.next(&mut self.buffer)? {
                        self.take(body).await?;
                    }
                    // After the messages: whoever had to wait to hand them over was not silent.
                    (heard, asked) = (Instant::now(), false);
                }
                () = sleep_until(heard + patience) => {
                    if asked {
                        return Err(OvsdbError::Silent(patience));
                    }
                    asked = true;
                    let echo = wire::request(Self::ECHO, "echo", &[0; 0])?;
                    self.send(&echo).await?;
                }
            }
        }
    }

    async fn take(&mut self, body: Bytes) -> Result<(), OvsdbError> {
        match wire::read(body)? {
            Message::Answer { id: Self::ECHO, .. } => {}
            Message::Answer { id, body } => match self.pending.remove(&id) {
                // Who asked may have given up.
                Some(answer) => drop(answer.send(Ok(body))),
                None => {
                    return Err(OvsdbError::Protocol(format!(
                        "it answered request {id}, which is none"
                    )));
                }
            },
            Message::Request { id, method, params } => {
                let answer = if &*method == "echo" {
                    wire::answer(&id, &params, &Value::Null)
                } else {
                    wire::answer(&id, &Value::Null, &json!("unknown method"))
                };
                self.send(&answer).await?;
            }
            Message::Notification(notification) => {
                // Without a reader they are of no use to anyone.
                let _nobody_reads = self.notifications.send(notification).await;
            }
        }
        Ok(())
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), OvsdbError> {
        let deadline: Duration = self.limits.deadline;
        let written = timeout(deadline, self.socket.write_all(message)).await;
        written.map_err(|_| OvsdbError::Silent(deadline))?.map_err(broken)
    }
}

fn broken(error: io::Error) -> OvsdbError {
    OvsdbError::Io(Arc::new(error))
}

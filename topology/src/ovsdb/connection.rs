//! One connection to a server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::address::Address;
use super::driver::{Driver, End, Socket};
use super::error::OvsdbError;
use super::result::{Answer, OperationResult, results};
use super::transact::Transaction;
use super::wire::{self, Notification};

/// Requests of ours that wait to be sent, and notifications that wait to be read. A full queue makes
/// its sender wait: callers, or the server, whose own buffer then grows until it hangs up.
const QUEUE: usize = 16;

/// How much, and how long, a server is put up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest message in bytes. The first contents of 100,000 interfaces are about 120 MB. Memory
    /// is taken as the bytes come.
    pub max_message: usize,
    /// How long connecting may take.
    pub connect: Duration,
    /// After how much silence the server is asked for a sign of life.
    pub idle: Duration,
    /// How long it then has before the connection is given up.
    pub deadline: Duration,
    /// How long the answer to a request may take, while the connection lives.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 128 << 20,
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(5),
            // A server that compacts a large database does nothing else for seconds.
            deadline: Duration::from_secs(10),
            answer: Duration::from_secs(30),
        }
    }
}

/// One connection to a server; copies share it, and the last one to go closes it.
///
/// It needs a tokio runtime. It ends for good when anything goes wrong: open another one then, or
/// let a [`super::Follower`] do so. Requests may overlap.
#[derive(Clone, Debug)]
pub struct Connection {
    requests: mpsc::Sender<Request>,
    next_id: Arc<AtomicU64>,
    end: End,
    answer: Duration,
}

/// A request on its way to the driver.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) message: Vec<u8>,
    pub(super) answer: oneshot::Sender<Result<Bytes, OvsdbError>>,
}

/// What the server tells unasked. It must be read or dropped: unread, it stops the connection.
#[derive(Debug)]
pub struct Notifications {
    queue: mpsc::Receiver<Notification>,
    end: End,
}

impl Notifications {
    /// The next one. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// Why the connection ended.
    pub(super) async fn next(&mut self) -> Result<Notification, OvsdbError> {
        self.queue.recv().await.ok_or_else(|| self.end.reason())
    }
}

impl Connection {
    /// Connects to `address`.
    ///
    /// # Errors
    /// [`OvsdbError::NoSocket`] where there is none, [`OvsdbError::Connect`].
    pub async fn open(address: &Address, limits: &Limits) -> Result<(Self, Notifications), OvsdbError> {
        let socket = match timeout(limits.connect, connect(address)).await {
            Ok(connected) => connected,
            Err(_late) => Err(io::ErrorKind::TimedOut.into()),
        };
        let socket = socket.map_err(|error| match address {
            Address::Unix(path) if error.kind() == io::ErrorKind::NotFound => {
                OvsdbError::NoSocket(path.clone())
            }
            _ => OvsdbError::Connect {
                address: address.clone(),
                source: Arc::new(error),
            },
        })?;
        let end = End::default();
        let (requests, to_send) = mpsc::channel(QUEUE);
        let (tell, queue) = mpsc::channel(QUEUE);
        let driver = Driver::new(socket, limits, to_send, tell, end.clone());
        tokio::spawn(driver.run());
        let connection = Self {
            requests,
            next_id: Arc::new(AtomicU64::new(Driver::ECHO + 1)),
            end: end.clone(),
            answer: limits.answer,
        };
        Ok((connection, Notifications { queue, end }))
    }

    /// Carries out a transaction: its operations are done, all of them, or none is. Results are in the
    /// order of the operations.
    ///
    /// # Errors
    /// [`OvsdbError::Transaction`] if the server refused it. After any other error it is unknown
    /// whether it was carried out.
    pub async fn transact(&self, transaction: &Transaction) -> Result<Vec<OperationResult>, OvsdbError> {
        let answers: Vec<Option<Answer>> = self.call("transact", transaction).await?;
        results(transaction.len(), answers)
    }

    /// Calls a method.
    ///
    /// # Errors
    /// [`OvsdbError::Refused`], [`OvsdbError::Unanswered`], [`OvsdbError::Protocol`], or why the
    /// connection ended.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &impl Serialize,
    ) -> Result<T, OvsdbError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let message = wire::request(id, method, params)?;
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            let request = Request { id, message, answer };
            let sent = self.requests.send(request).await;
            sent.map_err(|_| self.end.reason())?;
            answered.await.map_err(|_| self.end.reason())?
        };
        let body = timeout(self.answer, exchange).await;
        let body = body.map_err(|_| OvsdbError::Unanswered {
            method,
            after: self.answer,
        })??;
        wire::result(method, &body)
    }
}

async fn connect(address: &Address) -> io::Result<Socket> {
    Ok(match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(place) => {
            let stream = TcpStream::connect(place).await?;
            // Requests are small and waited for.
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}

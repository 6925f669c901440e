//! The listener: takes connections on, and ends them in order.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowtap_flow::ledger::DropReason;
use socket2::{Socket, TcpKeepalive};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::client::{Shared, serve};
use super::handover;
use super::ingest::Ingest;
use super::stats::{PcapSocketStats, Peer};
use crate::{CollectError, ReaderContext};

/// How long connections are read on after a stop, for what they hold already.
const DRAIN: Duration = Duration::from_secs(2);
/// Connections taken from the kernel's queue after a stop at most; by default it holds no more.
const BACKLOG: usize = 4_096;
/// How long to wait after a failed accept: the usual cause, no file descriptor left, lasts.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A peer that has vanished without a word is noticed after this and some minutes more. One that is
/// there and idle stays for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How the socket shall take connections.
#[derive(Clone, Debug)]
pub struct PcapSocketOptions {
    /// TID of the node that packets are said to be seen at; empty for none.
    pub node_tid: Arc<str>,
    /// Connections at once; more are closed at once. Each costs a thread and 128 KiB, at worst some
    /// 1.6 MiB (a packet of 1 MiB, inside gzip).
    pub max_clients: usize,
}

impl PcapSocketOptions {
    /// 64: 16 MiB in all, 100 MiB at worst.
    pub const DEFAULT_MAX_CLIENTS: usize = 64;
}

impl Default for PcapSocketOptions {
    fn default() -> Self {
        Self {
            node_tid: Arc::from(""),
            max_clients: Self::DEFAULT_MAX_CLIENTS,
        }
    }
}

/// The `pcapsocket` capture type.
#[derive(Debug)]
pub struct PcapSocket;

impl PcapSocket {
    /// Listens on a TCP address. From here on the kernel takes connections, and what they send as far
    /// as its buffers go.
    ///
    /// # Errors
    /// [`CollectError::Listen`] if the address is taken, not this host's, or not allowed; or if another
    /// program takes files in its place.
    pub fn bind(address: SocketAddr, options: PcapSocketOptions) -> Result<PcapSocketReader, CollectError> {
        let failed = |source| CollectError::listen("TCP", address, source);
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let files = handover::listen(local_addr)?;
        Ok(PcapSocketReader {
            listener,
            files,
            local_addr,
            options,
            shared: Arc::default(),
        })
    }
}

/// A listening socket that does not read yet.
#[derive(Debug)]
pub struct PcapSocketReader {
    listener: TcpListener,
    /// Where files are handed over, if the system allows it.
    files: Option<UnixListener>,
    local_addr: SocketAddr,
    options: PcapSocketOptions,
    shared: Arc<Shared>,
}

impl PcapSocketReader {
    /// Where it listens: with the port that the system chose, if it was asked for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The counters; they stay readable while it runs and after.
    #[must_use]
    pub fn stats(&self) -> Arc<PcapSocketStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Serves clients until `cx.stop` fires. Then it takes no more connections, reads what the open
    /// ones hold, for two seconds at most, flushes the sinks and returns. Dropping the future closes
    /// all connections.
    ///
    /// Needs a tokio runtime, of whose blocking threads each client occupies one.
    ///
    /// # Errors
    /// [`CollectError::Read`] if the runtime cannot watch the socket.
    pub async fn run(self, cx: ReaderContext) -> Result<(), CollectError> {
        let what = format!("TCP {}", self.local_addr);
        let failed = |source| CollectError::Read {
            what: what.clone(),
            source,
        };
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(failed)?;
        let files = self.files.map(tokio::net::UnixListener::from_std);
        let files = files.transpose().map_err(failed)?;
        let mut clients = Clients {
            threads: JoinSet::new(),
            options: self.options,
            shared: self.shared,
            cx,
        };
        let stop = clients.cx.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&listener, files.as_ref()) => match accepted {
                    Ok((stream, peer)) => clients.begin(stream, peer),
                    Err(error) => {
                        warn!(%error, "failed to take a connection to the pcap socket");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = clients.threads.join_next() => report_panic(ended),
            }
        }
        // Connections that the kernel has taken but we have not: they may hold packets, too.
        let listener = listener.into_std().map_err(failed)?;
        for (stream, peer) in std::iter::from_fn(|| listener.accept().ok()).take(BACKLOG) {
            match prepare_stream(stream) {
                Ok(stream) => clients.begin(stream, Peer::Address(peer)),
                Err(error) => {
                    warn!(client = %peer, %error, "failed to prepare a connection to the pcap socket")
                }
            }
        }
        // Both are free before the last client has ended: another may take their place.
        drop((listener, files));
        clients.end().await;
        Ok(())
    }
}

/// The open connections. Dropped, it closes them.
struct Clients {
    threads: JoinSet<()>,
    options: PcapSocketOptions,
    shared: Arc<Shared>,
    cx: ReaderContext,
}

impl Clients {
    fn begin(&mut self, stream: Socket, peer: Peer) {
        let Some(client) = self.shared.stats.admit(stream, peer, self.options.max_clients) else {
            self.cx.ledger.receive(1, 0);
            self.cx.ledger.drop_packets(DropReason::Limit, 1);
            if let Some(suppressed) = self.shared.log.refused.pass(Instant::now()) {
                let limit = self.options.max_clients;
                warn!(client = %peer, limit, suppressed, "pcap client refused: too many are connected");
            }
            return;
        };
        let shared = Arc::clone(&self.shared);
        let ledger = Arc::clone(&self.cx.ledger);
        let (points, node_tid) = (Arc::clone(&self.cx.points), Arc::clone(&self.options.node_tid));
        self.threads.spawn_blocking(move || {
            serve(&client, Ingest::new(points.open(&node_tid), ledger), &shared);
        });
    }

    /// Ends all connections. Shut down for reading, a connection still gives what its queue holds, and
    /// then ends; so nothing is lost that had been received. A client that goes on sending is cut off.
    async fn end(mut self) {
        self.shared.stats.shut_down(Shutdown::Read);
        let drained = timeout(DRAIN, self.join()).await.is_ok();
        if !drained {
            self.shared.give_up.store(true, Ordering::Relaxed);
            self.shared.stats.shut_down(Shutdown::Both);
            self.join().await;
        }
    }

    async fn join(&mut self) {
        while let Some(ended) = self.threads.join_next().await {
            report_panic(ended);
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.give_up.store(true, Ordering::Relaxed);
        self.shared.stats.shut_down(Shutdown::Both);
    }
}

/// The next connection of either kind.
async fn accept(
    streams: &tokio::net::TcpListener,
    files: Option<&tokio::net::UnixListener>,
) -> io::Result<(Socket, Peer)> {
    let next_file = async {
        match files {
            Some(files) => files.accept().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        accepted = streams.accept() => {
            let (stream, peer) = accepted?;
            Ok((prepare_stream(stream.into_std()?)?, Peer::Address(peer)))
        }
        accepted = next_file => prepare_file(accepted?.0),
    }
}

fn prepare_stream(stream: TcpStream) -> io::Result<Socket> {
    let stream = Socket::from(stream);
    stream.set_nonblocking(false)?;
    stream.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(stream)
}

fn prepare_file(stream: tokio::net::UnixStream) -> io::Result<(Socket, Peer)> {
    let process = stream.peer_cred()?.pid().map_or(0, i32::unsigned_abs);
    let stream = Socket::from(stream.into_std()?);
    stream.set_nonblocking(false)?;
    Ok((stream, Peer::Process(process)))
}

/// A panic costs its own connection.
fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a thread of the pcap socket failed");
    }
}

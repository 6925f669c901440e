//! From the socket to the decoder, on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Graph;
use tokio::sync::oneshot;
use tracing::warn;

use super::allow::AllowList;
use super::decoder::{Decoder, Received};
use super::socket::{BURST, Burst, UdpSocket, Wake};
use super::stats::SflowStats;
use crate::{CollectError, ReaderContext};

/// How the collector shall listen.
#[derive(Clone, Debug)]
pub struct SflowOptions {
    /// Where agents and their ports become nodes.
    pub graph: Arc<Graph>,
    /// Receive buffer to ask the kernel for, in bytes.
    pub receive_buffer: usize,
    /// Who may send.
    pub agents: AllowList,
    /// An agent of which nothing has come for so long is forgotten; `None` for never.
    pub agent_idle: Option<Duration>,
}

impl SflowOptions {
    /// 4 MiB: what some 100,000 datagrams of 1,400 bytes a second fill in about 20 ms.
    pub const DEFAULT_RECEIVE_BUFFER: usize = 4 << 20;

    /// An hour: switches send counters every minute at least.
    pub const DEFAULT_AGENT_IDLE: Duration = Duration::from_secs(3_600);

    /// With the default buffer; everybody may send.
    #[must_use]
    pub fn new(graph: Arc<Graph>) -> Self {
        Self {
            graph,
            receive_buffer: Self::DEFAULT_RECEIVE_BUFFER,
            agents: AllowList::default(),
            agent_idle: Some(Self::DEFAULT_AGENT_IDLE),
        }
    }
}

/// The `sflow` capture type.
#[derive(Debug)]
pub struct Sflow;

impl Sflow {
    /// Listens on a UDP address, of IPv4 or IPv6. From here on the kernel queues datagrams, as many as
    /// its buffer takes.
    ///
    /// # Errors
    /// [`CollectError::Listen`] if the address is taken, not this host's, or not allowed.
    pub fn bind(address: SocketAddr, options: SflowOptions) -> Result<SflowReader, CollectError> {
        let failed = |source| CollectError::listen("UDP", address, source);
        let socket = UdpSocket::bind(address, options.receive_buffer).map_err(failed)?;
        let local_addr = socket.local_addr().map_err(failed)?;
        let granted = socket.receive_buffer().map_err(failed)?;
        if granted < options.receive_buffer {
            warn!(
                asked = options.receive_buffer,
                granted,
                "the UDP receive buffer is smaller than asked for; raise net.core.rmem_max or give CAP_NET_ADMIN"
            );
        }
        Ok(SflowReader {
            wake: Arc::new(Wake::new().map_err(failed)?),
            socket,
            local_addr,
            granted,
            graph: options.graph,
            agents: options.agents,
            agent_idle: options.agent_idle,
            stats: Arc::default(),
        })
    }
}

/// A bound collector that does not read yet.
#[derive(Debug)]
pub struct SflowReader {
    socket: UdpSocket,
    wake: Arc<Wake>,
    local_addr: SocketAddr,
    granted: usize,
    graph: Arc<Graph>,
    agents: AllowList,
    agent_idle: Option<Duration>,
    stats: Arc<SflowStats>,
}

impl SflowReader {
    /// Where it listens: with the port that the system chose, if it was asked for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The receive buffer that the kernel granted, in bytes.
    #[must_use]
    pub fn granted_receive_buffer(&self) -> usize {
        self.granted
    }

    /// The counters of this collector; they stay readable while it runs and after.
    #[must_use]
    pub fn stats(&self) -> Arc<SflowStats> {
        Arc::clone(&self.stats)
    }

    /// Reads until `cx.stop` fires, then takes what the kernel has queued, flushes the sinks and
    /// returns. Dropping the future stops the reader in the same way, unseen.
    ///
    /// # Errors
    /// [`CollectError::Read`] if the socket fails for good, or there is no thread to be had.
    pub async fn run(self, cx: ReaderContext) -> Result<(), CollectError> {
        let what = format!("UDP {}", self.local_addr);
        let failed = |source: io::Error| CollectError::Read { what, source };
        // However this future ends, the thread hears of it.
        let wake = RingOnDrop(Arc::clone(&self.wake));
        let stop = cx.stop.clone();
        let (done, mut finished) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("sflow".to_owned())
            .spawn(move || {
                // The receiver is gone only when nobody waits for the result.
                let _unheard = done.send(self.read(cx));
            });
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => return Err(failed(error)),
        };
        let result = tokio::select! {
            result = &mut finished => result,
            () = stop.cancelled() => {
                wake.0.ring();
                finished.await
            }
        };
        match result {
            Ok(result) => result.map_err(failed),
            // The thread ended without a word: it panicked.
            Err(_) => {
                if let Err(panic) = thread.join() {
                    std::panic::resume_unwind(panic);
                }
                Ok(())
            }
        }
    }

    fn read(self, cx: ReaderContext) -> io::Result<()> {
        let mut decoder = Decoder::new(self.graph, cx.points, cx.ledger, self.stats)
            .allow_only(self.agents)
            .forget_after(self.agent_idle);
        let result = receive(&self.socket, &self.wake, &mut decoder);
        decoder.finish();
        result
    }
}

struct RingOnDrop(Arc<Wake>);

impl Drop for RingOnDrop {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// An idle reader looks for kernel drops this often: they show with the next datagram, which may
/// never come.
const IDLE_MS: i32 = 1_000;

/// How long datagrams may gather behind the first: taken one by one, each costs a wake-up and two
/// calls, twice as much as in bursts; and the more there are, the more of one agent go through the table
/// together. At 100,000 a second that is 500 datagrams, a sixth of the receive buffer; their time stamps are the
/// kernel's all the same.
const GATHER: Duration = Duration::from_millis(5);

fn receive(socket: &UdpSocket, wake: &Wake, decoder: &mut Decoder) -> io::Result<()> {
    let mut burst = Burst::new();
    let mut drops = KernelDrops::default();
    let mut stopped_at = None;
    loop {
        let count = socket.receive(&mut burst)?;
        let now = Timestamp::now();
        let newest = decode(&mut burst, now, decoder);
        if let Some(total) = burst.kernel_drops() {
            drops.count(total, decoder);
        }
        if count < BURST {
            decoder.idle(now);
        }
        if wake.is_rung() {
            // What was queued before the stop is taken; what came after it may stay, or a busy agent
            // could keep the reader from ever stopping.
            let stopped_at = *stopped_at.get_or_insert(now);
            if newest.is_none_or(|newest| newest > stopped_at) {
                return drops.finish(socket, decoder);
            }
        } else if count == 0 {
            drops.count(socket.kernel_drops()?, decoder);
        }
        if count < BURST {
            socket.wait(wake, IDLE_MS)?;
            std::thread::sleep(GATHER);
        }
    }
}

/// Decodes a burst; returns when its newest datagram came, if it holds any.
fn decode(burst: &mut Burst, now: Timestamp, decoder: &mut Decoder) -> Option<Timestamp> {
    let mut datagrams = ArrayVec::<Received<'_>, BURST>::new();
    datagrams.extend(burst.datagrams(now));
    decoder.burst(&datagrams);
    datagrams.last().map(|datagram| datagram.timestamp)
}

/// The kernel counts modulo 2³² from the socket's birth.
#[derive(Default)]
struct KernelDrops(u32);

impl KernelDrops {
    fn count(&mut self, total: u32, decoder: &mut Decoder) {
        // The count that comes with a datagram is that of its arrival: never newer than one asked for.
        let new = total.wrapping_sub(self.0);
        if new != 0 && new < 1 << 31 {
            self.0 = total;
            decoder.kernel_dropped(new.into());
        }
    }

    /// The last look: drops behind the last datagram show in no other way.
    fn finish(mut self, socket: &UdpSocket, decoder: &mut Decoder) -> io::Result<()> {
        self.count(socket.kernel_drops()?, decoder);
        Ok(())
    }
}

//! `flowtap replay FILE…`: capture files into the pcap socket; a server on this machine is handed them, and reads
//! them itself.

mod pace;

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _, Read, Seek as _, StdinLock, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use flowtap_collectors::pcapsocket::{self, Answer, Handover};
use flowtap_flow::packet::Packet;
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::timestamp::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};

use super::unsupported;
use crate::exit::{CommandResult, Failure, Status};
use pace::Pacer;

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// pcap or pcapng files, gzip of either; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Send packets as far apart as they were recorded, instead of as fast as they are taken
    #[arg(long)]
    pace: bool,
    /// The pcap socket
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8100", value_parser = host_and_port)]
    #[arg(env = "FLOWTAP_PCAP_SOCKET", hide_env_values = true)]
    to: String,
}

/// `HOST:PORT`. Whether there is such a host shows when it is asked.
fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is no HOST:PORT")),
    }
}

impl Replay {
    pub(crate) fn run(self) -> CommandResult {
        let mut failed = None;
        for path in &self.files {
            match self.replay_file(path) {
                // The others would not get there either.
                Err(failure) if failure.status() == Status::Unreachable => return Err(failure),
                Err(failure) => failed = Some(failure.tell()),
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn replay_file(&self, path: &Path) -> CommandResult {
        let (input, name) = open(path)?;
        let answer = self.replay(input, &name)?;
        let sent = judge(&answer).with_context(|| name.clone())?;
        eprintln!("{name}: {sent}");
        Ok(())
    }

    fn replay(&self, input: Input, name: &str) -> Result<Answer, Failure> {
        let file = input.regular_file();
        let progress = progress(name, file.map(|(_, length)| length));
        // Packets at their pace come from here.
        let file = file.filter(|_| !self.pace);
        let handed_over = file.and_then(|(file, _)| Some((file, self.hand_over(file)?)));
        let answer = match handed_over {
            Some((file, handover)) => watch(file, handover, &progress),
            None => send(progress.wrap_read(input), self.connect()?, self.pace),
        };
        progress.finish_and_clear();
        Ok(answer.with_context(|| name.to_owned())?)
    }

    /// A server on this machine reads the file itself.
    fn hand_over(&self, file: &File) -> Option<Handover> {
        let mut addresses = self.to.to_socket_addrs().ok()?;
        addresses.find_map(|address| Handover::offer(file, address))
    }

    /// A connection for each file: one that the server refuses does not take others with it.
    fn connect(&self) -> Result<TcpStream, Failure> {
        TcpStream::connect(&self.to).map_err(|error| {
            let text = format!(
                "failed to connect to the pcap socket {}: {error}; is `flowtap up` running?",
                self.to
            );
            Failure::message(Status::Unreachable, text)
        })
    }
}

enum Input {
    Standard(StdinLock<'static>),
    /// A regular file, or a pipe.
    File(File, Metadata),
}

impl Input {
    /// It and its length in bytes, if it is there to be read by whoever has it.
    fn regular_file(&self) -> Option<(&File, u64)> {
        match self {
            Self::File(file, meta) if meta.is_file() => Some((file, meta.len())),
            _ => None,
        }
    }
}

impl Read for Input {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Standard(input) => input.read(room),
            Self::File(file, _) => file.read(room),
        }
    }
}

fn open(path: &Path) -> Result<(Input, String)> {
    if path == Path::new("-") {
        return Ok((Input::Standard(io::stdin().lock()), "standard input".to_owned()));
    }
    let name = path.display().to_string();
    let failed = || format!("failed to open {name}");
    let file = File::open(path).with_context(failed)?;
    let meta = file.metadata().with_context(failed)?;
    if meta.is_dir() {
        bail!("{name} is a directory; name the files in it");
    }
    Ok((Input::File(file, meta), name))
}

/// How many packets were sent, if all went well.
fn judge(answer: &Answer) -> Result<String> {
    let packets = answer.packets;
    if let Some(error) = &answer.error {
        bail!("{error}; {packets} packets before that were sent");
    }
    if answer.empty {
        bail!("it is empty");
    }
    if answer.cut {
        bail!(
            "cut off in the middle of packet {}; the {packets} before it were sent",
            packets + 1
        );
    }
    let note = unsupported::note(packets, answer.unsupported)?;
    Ok(format!("{packets} packets sent{note}"))
}

/// Waits until the server has read `file`, with an eye on how far it is.
fn watch(mut file: &File, mut handover: Handover, progress: &ProgressBar) -> Result<Answer> {
    loop {
        if let Some(answer) = handover.wait(PROGRESS_EVERY).map_err(lost)? {
            return Ok(answer);
        }
        if let Ok(position) = file.stream_position() {
            progress.set_position(position);
        }
    }
}

/// A bar on stderr where that is a terminal, else nothing.
fn progress(name: &str, length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{msg} {spinner} {bytes} {bytes_per_sec}",
        ),
    };
    let bar = bar.with_message(name.to_owned());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Sends all of `input` and waits until the server has taken it.
fn send(input: impl Read, socket: TcpStream, pace: bool) -> Result<Answer> {
    let peer = socket.try_clone().map_err(lost)?;
    let sent = send_packets(input, socket, pace);
    let end = wait_for_end(peer);
    // Who talks may have closed before all was sent: what it said tells more than that it closed.
    if let Ok(Some(words)) = end {
        bail!("what listens there is no pcap socket (it answered: {words})");
    }
    let answer = sent?;
    if answer.error.is_none() {
        end.map_err(lost)?;
    }
    Ok(answer)
}

/// Sends `input` to its end, or to where it is damaged.
///
/// The file is read here as the server will read it, so that what is wrong with it is told here: the
/// pcap socket answers nothing.
fn send_packets(mut input: impl Read, socket: TcpStream, pace: bool) -> Result<Answer> {
    let mut outlet = if pace {
        Outlet::Paced(Pacer::new(socket)?)
    } else {
        Outlet::Straight(socket)
    };
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let (mut packets, mut unsupported) = (0, 0);
    let mut piece = vec![0; 1 << 16];
    let damaged = loop {
        let length = match input.read(&mut piece) {
            Ok(0) => break None,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(anyhow!("failed to read: {error}")),
        };
        let mut paced = Ok(());
        let parsed = parser.push(&piece[..length], &mut |batch: &[Packet<'_>]| {
            packets += batch.len() as u64;
            unsupported += pcapsocket::unsupported(batch);
            if let (Outlet::Paced(pacer), Ok(())) = (&mut outlet, &paced) {
                paced = pacer.send(batch);
            }
        });
        paced?;
        if let Outlet::Straight(socket) = &mut outlet {
            socket.write_all(&piece[..length]).map_err(lost)?;
        }
        if let Err(error) = parsed {
            break Some(error);
        }
    };
    if let Outlet::Paced(pacer) = outlet {
        pacer.finish()?;
    }
    let ending = parser.finish();
    Ok(Answer {
        packets,
        unsupported,
        empty: ending.empty,
        cut: ending.cut_bytes > 0 || ending.gzip_cut,
        error: damaged.map(|error| error.to_string()),
    })
}

enum Outlet {
    Straight(TcpStream),
    Paced(Pacer),
}

/// Bytes of an answer that are shown at most.
const SHOWN: usize = 200;

/// Says that no more comes, and waits for the server to close: it does so once it has read everything
/// and handed every packet on. `Some` if it talks, which a pcap socket never does: its first line.
fn wait_for_end(mut socket: TcpStream) -> io::Result<Option<String>> {
    let ended = socket.shutdown(Shutdown::Write);
    let mut words = [0; SHOWN];
    // On a connection that is lost, too, what came before can be read.
    let length = socket.read(&mut words)?;
    if length == 0 {
        return ended.map(|()| None);
    }
    let text = String::from_utf8_lossy(&words[..length]);
    let first = text.lines().next().unwrap_or_default();
    // It goes to a terminal, and nobody knows who talks.
    Ok(Some(first.replace(char::is_control, "")))
}

/// A failed connection as text: a broken pipe here is the server's, not that of our stdout.
fn lost(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the server closed the connection: {error}; its log says why")
}

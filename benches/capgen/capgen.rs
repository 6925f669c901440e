//! Makes the traffic that the benchmarks measure with, and sends it.
//!
//! Everything is the same in every run. See `benches/README.md` for what the files are like and why.

mod packets;
mod sflow;
mod udp;

use std::fmt::Arguments;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flowtap_flow::packet::{LinkType, Packet};
use flowtap_flow::pcap::{PcapWriter, Resolution};

use packets::{Mix, Small};

const USAGE: &str = "\
usage: capgen small FILE PACKETS FLOWS         64-byte UDP packets, flows busy as Zipf's law says
       capgen churn FILE PACKETS               TCP connections of two packets each
       capgen mix FILE PACKETS RECORDING...    recordings, repeated with other times and addresses
       capgen sflow FILE DATAGRAMS FLOWS       sFlow v5 datagrams as Open vSwitch packs them
       capgen send FILE HOST:PORT RATE         sends the UDP payloads in FILE, RATE a second
       capgen sink HOST:PORT                   takes UDP datagrams and throws them away, until killed";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["small", file, packets, flows] => {
            let (packets, flows) = (packets.parse()?, flows.parse()?);
            write(file, |out| {
                Small::new(flows).generate(packets, |packet| out.packet(packet))
            })?;
            say(format_args!("{packets}"))
        }
        ["churn", file, packets] => {
            let packets = packets.parse()?;
            write(file, |out| packets::churn(packets, |packet| out.packet(packet)))?;
            say(format_args!("{packets}"))
        }
        ["mix", file, packets, recordings @ ..] if !recordings.is_empty() => {
            let packets = packets.parse()?;
            let mut mix = Mix::default();
            for recording in recordings {
                mix.add(Path::new(recording))
                    .map_err(|error| format!("{recording}: {error}"))?;
            }
            write(file, |out| mix.generate(packets, |packet| out.packet(packet)))?;
            say(format_args!("{packets}"))
        }
        ["sflow", file, datagrams, flows] => {
            let (datagrams, flows) = (datagrams.parse()?, flows.parse()?);
            let mut samples = 0;
            write(file, |out| {
                samples = sflow::generate(datagrams, flows, |packet| out.packet(packet));
            })?;
            say(format_args!("{datagrams} {samples}"))
        }
        ["send", file, to, rate] => {
            let sent = udp::send(Path::new(file), to, rate.parse()?)?;
            let seconds = sent.elapsed.as_secs_f64();
            say(format_args!("{} datagrams in {seconds:.3} s", sent.datagrams))
        }
        ["sink", at] => Ok(udp::sink(at)?),
        _ => Err(USAGE.into()),
    }
}

/// What scripts read.
fn say(line: Arguments<'_>) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// A capture file that remembers its first failure.
struct Output {
    file: PcapWriter<BufWriter<File>>,
    result: Result<()>,
}

impl Output {
    fn packet(&mut self, packet: &Packet<'_>) {
        if self.result.is_ok() {
            self.result = self.file.write(packet).map_err(Into::into);
        }
    }
}

/// Writes `path` whole or not at all: what is there afterwards may be used again.
fn write(path: &str, generate: impl FnOnce(&mut Output)) -> Result<()> {
    let partial = PathBuf::from(format!("{path}.tmp"));
    let file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    let file = PcapWriter::new(file, LinkType::ETHERNET, Resolution::Micros)?;
    let mut output = Output { file, result: Ok(()) };
    generate(&mut output);
    output.result?;
    output.file.finish()?.flush()?;
    std::fs::rename(partial, path)?;
    Ok(())
}

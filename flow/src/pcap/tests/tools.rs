//! Others read what we write and write what we read. Skipped where a tool is not installed.

use std::path::Path;
use std::process::{Command, Stdio};

use super::make;
use super::read;
use crate::pcap::{Resolution, to_pcap, to_pcapng};

/// The standard output of a program, or `None` if it is not installed.
fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not installed");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn tcpdump(path: &Path) -> Option<String> {
    let path = path.to_str().unwrap();
    run(
        "tcpdump",
        &["-r", path, "-n", "-tt", "--time-stamp-precision=nano", "-e"],
    )
}

#[test]
fn as_many_packets_as_tcpdump_reads() {
    for path in make::fixtures() {
        let Some(lines) = tcpdump(&path) else { return };
        let packets = read(&std::fs::read(&path).unwrap()).complete();
        assert_eq!(packets.len(), lines.lines().count(), "{}", path.display());
    }
}

#[test]
fn files_converted_by_editcap() {
    let dir = tempfile::tempdir().unwrap();
    for path in make::fixtures() {
        let truth = read(&std::fs::read(&path).unwrap()).complete();
        for format in ["pcapng", "nsecpcap", "modpcap"] {
            let output = dir.path().join(format);
            let paths = [path.to_str().unwrap(), output.to_str().unwrap()];
            let Some(_) = run("editcap", &["-F", format, paths[0], paths[1]]) else {
                return;
            };
            assert_eq!(
                read(&std::fs::read(&output).unwrap()).complete(),
                truth,
                "{format} of {}",
                paths[0]
            );
        }
    }
}

#[test]
fn tcpdump_reads_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let packets = make::truth("ovs-sflow-tcp-udp.truth.pcap");
    let Some(expected) = tcpdump(&make::fixture_dir().join("ovs-sflow-tcp-udp.truth.pcap")) else {
        return;
    };
    for file in [
        to_pcap(&packets, Resolution::Micros).unwrap(),
        to_pcap(&packets, Resolution::Nanos).unwrap(),
        to_pcapng(&packets).unwrap(),
    ] {
        std::fs::write(&path, file).unwrap();
        assert_eq!(tcpdump(&path).unwrap(), expected);
    }
    for empty in [to_pcap(&[], Resolution::Micros).unwrap(), to_pcapng(&[]).unwrap()] {
        std::fs::write(&path, empty).unwrap();
        assert_eq!(tcpdump(&path).unwrap(), "");
    }
}

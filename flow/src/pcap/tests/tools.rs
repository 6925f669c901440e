//! Others read what we write and write what we read.

use std::path::Path;
use std::process::{Command, Stdio};

use super::make;
use super::read;
use crate::pcap::{Resolution, to_pcap, to_pcapng};

/// The standard output of a program, which Debian has in `package`.
fn run(program: &str, package: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}: apt-get install {package}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn tcpdump(path: &Path) -> String {
    let path = path.to_str().unwrap();
    let args = ["-r", path, "-n", "-tt", "--time-stamp-precision=nano", "-e"];
    run("tcpdump", "tcpdump", &args)
}

#[test]
fn as_many_packets_as_tcpdump_reads() {
    for path in make::fixtures() {
        let lines = tcpdump(&path);
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
            run("editcap", "wireshark-common", &["-F", format, paths[0], paths[1]]);
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
    let expected = tcpdump(&make::fixture_dir().join("ovs-sflow-tcp-udp.truth.pcap"));
    for file in [
        to_pcap(&packets, Resolution::Micros).unwrap(),
        to_pcap(&packets, Resolution::Nanos).unwrap(),
        to_pcapng(&packets).unwrap(),
    ] {
        std::fs::write(&path, file).unwrap();
        assert_eq!(tcpdump(&path), expected);
    }
    for empty in [to_pcap(&[], Resolution::Micros).unwrap(), to_pcapng(&[]).unwrap()] {
        std::fs::write(&path, empty).unwrap();
        assert_eq!(tcpdump(&path), "");
    }
}

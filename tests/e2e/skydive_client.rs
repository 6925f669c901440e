//! Skydive's own Python client, as it is on PyPI, against `flowtap up`: whoever has scripts for it keeps
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Server, clean, need};

/// The virtual environment, which later runs find again; its name changes with what is in it.
fn python() -> PathBuf {
    need("python3", "python3");
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let build = files.join("build-requirements.txt");
    let requirements = files.join("requirements.txt");
    let read = |path: &Path| std::fs::read_to_string(path).expect("the lock files are there");
    let wanted = read(&build) + &read(&requirements);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skydive-client");
    let python = directory.join("bin/python");
    // Written last: an environment that was not finished has none.
    let finished = directory.join("locked.txt");
    if std::fs::read_to_string(&finished).is_ok_and(|found| found == wanted) {
        return python;
    }
    let _absent = std::fs::remove_dir_all(&directory);
    run(Command::new("python3").args(["-m", "venv"]).arg(&directory));
    let pip = |arguments: &[&str], file: &Path| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]);
        command
            .arg("--require-hashes")
            .args(arguments)
            .arg("-r")
            .arg(file);
        run(&mut command);
    };
    pip(&[], &build);
    // One package comes as source. It is built with what was just installed, not with whatever is newest.
    pip(&["--no-build-isolation"], &requirements);
    std::fs::write(&finished, wanted).expect("the directory is there");
    python
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} (it needs python3-venv, and PyPI or a mirror of it): {told}"
    );
}

/// Runs the Python tests.
fn test(python: &Path, server: &Server, mode: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/test_skydive_client.py");
    let mut command = clean(python.to_str().expect("a path of text"));
    let address = server.http.to_string();
    // Writes no byte code beside the script.
    let output = command.arg("-B").arg(script).args([&address, mode]).output();
    let output = output.expect("python runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode}: {told}");
}

#[test]
fn the_client_of_pypi_works_unchanged() {
    let python = python();
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    test(&python, &server, "all");
    test(&python, &server, "leave");
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");

    let server = Server::start(data.path());
    test(&python, &server, "find");
}

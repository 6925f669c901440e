//! The walls between crates, and the licences of everything we link, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crates of this workspace, lowest first. A crate uses only those of a smaller number.
const LEVELS: [(&str, u32); 8] = [
    ("flowtap-flow", 0),
    ("flowtap-topology", 1),
    ("flowtap-gremlin", 2),
    ("flowtap-collectors", 2),
    ("flowtap-storage", 2),
    ("flowtap-capture", 3),
    ("flowtap-api", 4),
    ("flowtap", 5),
];

/// Foreign crates that only one of ours may name, and what would leak if another did.
const ONLY_UNDER: [(&str, &str); 3] = [
    ("rusqlite", "flowtap-storage"),
    ("axum", "flowtap-api"),
    ("pcap", "flowtap-collectors"),
];

/// Licences that let us ship under Apache-2.0 without asking anyone.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        // One platform: what other systems would need is not built and need not be fetched.
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform=x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Names of our crates with the crates each names in its `Cargo.toml`, for whatever purpose.
fn ours(metadata: &Value) -> BTreeMap<&str, BTreeSet<&str>> {
    let members: BTreeSet<_> = metadata["workspace_members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .filter(|package| members.contains(text(package, "id")))
        .map(|package| {
            let used = package["dependencies"].as_array().expect("dependencies");
            (
                text(package, "name"),
                used.iter().map(|dependency| text(dependency, "name")).collect(),
            )
        })
        .collect()
}

#[test]
fn crates_use_only_what_lies_below() {
    let metadata = metadata();
    let levels = BTreeMap::from(LEVELS);
    let ours = ours(&metadata);
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        levels.keys().collect::<Vec<_>>(),
        "LEVELS names every crate"
    );
    for (name, used) in &ours {
        for lower in used.iter().filter(|dependency| levels.contains_key(*dependency)) {
            assert!(levels[lower] < levels[name], "{name} must not use {lower}");
        }
    }
}

#[test]
fn foreign_crates_stay_behind_their_wall() {
    let metadata = metadata();
    let ours = ours(&metadata);
    for (foreign, owner) in ONLY_UNDER {
        let users: Vec<_> = ours
            .iter()
            .filter(|(_, used)| used.contains(foreign))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(users, [owner], "who may name {foreign}");
    }
}

#[test]
fn licences_are_permissive() {
    let metadata = metadata();
    let refused: Vec<_> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|package| !is_permissive(text(package, "license")))
        .map(|package| {
            format!(
                "{} {}: `{}`",
                text(package, "name"),
                text(package, "version"),
                text(package, "license")
            )
        })
        .collect();
    assert!(refused.is_empty(), "licences to look at:\n{}", refused.join("\n"));
}

/// True if an SPDX expression leaves us a choice from [`LICENCES`]. `/` is how old crates write `OR`.
///
/// `AND` binds tighter than `OR`; one pair of parentheses around a part is understood, which is all
/// that crates use.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    split_outside(&expression, " OR ").into_iter().any(|choice| {
        split_outside(choice, " AND ").into_iter().all(|part| {
            let part = part.trim();
            match part.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
                Some(inner) => is_permissive(inner),
                None => LICENCES.contains(&part),
            }
        })
    })
}

/// Splits at `separator` where no parenthesis is open.
fn split_outside<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ if depth == 0 && text[at..].starts_with(separator) => {
                parts.push(&text[from..at]);
                from = at + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[test]
fn licence_expressions_are_understood() {
    for fine in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "MIT AND (BSD-3-Clause OR GPL-2.0)",
    ] {
        assert!(is_permissive(fine), "{fine}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT AND LGPL-2.1) OR GPL-2.0",
        "(GPL-2.0 OR MIT) AND MPL-2.0",
    ] {
        assert!(!is_permissive(refused), "{refused}");
    }
}

//! Queries and their answers, as data: `tests/golden/*.gremlin`.
//!
//! A line that begins with `> ` is a query; the lines after it, up to an empty one, are its answer:
//! JSON, or `error: …`. `#` begins a comment. With `FLOWTAP_BLESS=1` in the environment the files
//! are rewritten with what the engine says now; read the diff.

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use flowtap_flow::query::Cancel;
use flowtap_gremlin::{Engine, EngineOptions};
use serde_json::Value as Json;

/// An array or object on one line as long as it is short; golden answers are read by people.
fn show(value: &Json, indent: usize) -> String {
    let line = value.to_string();
    if line.len() + indent <= 100 {
        return line;
    }
    let pad = " ".repeat(indent + 2);
    let (open, close, parts): (_, _, Vec<String>) = match value {
        Json::Array(elements) => ("[", "]", elements.iter().map(|e| show(e, indent + 2)).collect()),
        Json::Object(map) => {
            let part = |(key, value): (&String, &Json)| format!("\"{key}\": {}", show(value, indent + 2));
            ("{", "}", map.iter().map(part).collect())
        }
        _ => return line,
    };
    let parts: Vec<String> = parts.into_iter().map(|part| format!("{pad}{part}")).collect();
    format!("{open}\n{}\n{}{close}", parts.join(",\n"), " ".repeat(indent))
}

fn answer(engine: &Engine, query: &str) -> String {
    match engine.run(query, support::at(100_000), &Cancel::default()) {
        Ok(answer) => show(&answer.to_json(), 0),
        Err(error) => format!("error: {error}"),
    }
}

/// The file as it should be: every query followed by its answer.
fn rewrite(engine: &Engine, text: &str) -> String {
    let mut out = String::new();
    let mut in_answer = false;
    for line in text.lines() {
        if let Some(query) = line.strip_prefix("> ") {
            // Writing to a string cannot fail.
            let _ = write!(out, "{line}\n{}\n\n", answer(engine, query));
            in_answer = true;
        } else if line.is_empty() {
            if !in_answer {
                out.push('\n');
            }
            in_answer = false;
        } else if !in_answer {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "gremlin"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_query_gives_its_answer() {
    let engine = support::engine(support::sample(), EngineOptions::default());
    let bless = std::env::var_os("FLOWTAP_BLESS").is_some();
    let mut queries = 0;
    let mut wrong = String::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = rewrite(&engine, &text);
        queries += text.lines().filter(|line| line.starts_with("> ")).count();
        if bless {
            std::fs::write(&path, &expected).unwrap();
        } else if let Some((number, (is, should))) = (1..)
            .zip(text.lines().zip(expected.lines()))
            .find(|(_, (is, should))| is != should)
        {
            writeln!(
                wrong,
                "{}:{number}\n  file:   {is}\n  engine: {should}",
                path.display()
            )
            .unwrap();
        } else if text.trim_end() != expected.trim_end() {
            writeln!(wrong, "{}: lines missing at its end", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(queries > 150, "only {queries} queries found");
}

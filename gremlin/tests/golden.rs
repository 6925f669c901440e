//! Queries and their answers, as data: `tests/golden/*.gremlin` over recorded flows,
//! `tests/golden/graph/*.gremlin` over the fixed graph, its past and flows seen in it. Times of the
//! fixed graph's elements, which were made when the test began, are shown as `"now"`. After `>dot ` the
//! answer is wanted in that form.
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

fn answer(engine: &Engine, query: &str, dot: bool) -> String {
    let answer = engine.run(query, support::at(100_000), &Cancel::default());
    let shown = answer.and_then(|answer| {
        if dot {
            return answer.to_dot().map(|dot| dot.trim_end().to_owned());
        }
        let mut json = answer.to_json();
        hide_times(&mut json);
        Ok(show(&json, 0))
    });
    shown.unwrap_or_else(|error| format!("error: {error}"))
}

/// Whatever is long after the sample's time, in milliseconds, happened now.
fn hide_times(value: &mut Json) {
    let now = support::T + 1_000_000_000..support::T * 10;
    match value {
        Json::Number(time) if time.as_i64().is_some_and(|time| now.contains(&time)) => {
            *value = "now".into();
        }
        Json::Array(elements) => elements.iter_mut().for_each(hide_times),
        Json::Object(map) => map.values_mut().for_each(hide_times),
        _ => {}
    }
}

/// The file as it should be: every query followed by its answer.
fn rewrite(engine: &Engine, text: &str) -> String {
    let mut out = String::new();
    let mut in_answer = false;
    for line in text.lines() {
        if let Some(query) = line.strip_prefix("> ").or(line.strip_prefix(">dot ")) {
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                "{line}\n{}\n\n",
                answer(engine, query, line.starts_with(">dot"))
            );
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

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
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
    check(&engine, "tests/golden", 150);
}

#[test]
fn every_query_of_the_graph_gives_its_answer() {
    let engine = support::graph::graph_engine(EngineOptions::default());
    check(&engine, "tests/golden/graph", 150);
}

fn check(engine: &Engine, folder: &str, at_least: usize) {
    let bless = std::env::var_os("FLOWTAP_BLESS").is_some();
    let mut queries = 0;
    let mut wrong = String::new();
    for path in files(folder) {
        let text = std::fs::read_to_string(&path).expect("a file to read");
        let expected = rewrite(engine, &text);
        queries += text.lines().filter(|line| line.starts_with('>')).count();
        if bless {
            std::fs::write(&path, &expected).expect("a file to write");
        } else if let Some((number, (is, should))) = (1..)
            .zip(text.lines().zip(expected.lines()))
            .find(|(_, (is, should))| is != should)
        {
            let _ = writeln!(
                wrong,
                "{}:{number}\n  file:   {is}\n  engine: {should}",
                path.display()
            );
        } else if text.trim_end() != expected.trim_end() {
            let _ = writeln!(wrong, "{}: lines missing at its end", path.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(queries >= at_least, "only {queries} queries found");
}

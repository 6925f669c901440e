//! The recipes of the README print what it says.

use std::path::Path;
use std::process::Command;

use crate::support::{FLOWTAP, Namespace, Server, need};

/// Each `$` line of the README's indented blocks, with the lines that follow it.
fn recipes() -> Vec<(&'static str, String)> {
    let mut recipes: Vec<(&str, String)> = Vec::new();
    for line in include_str!("../../README.md").lines() {
        match line.strip_prefix("    ") {
            Some(line) if line.starts_with("$ ") => recipes.push((&line[2..], String::new())),
            Some(line) => {
                if let Some((_, output)) = recipes.last_mut() {
                    *output += &format!("{line}\n");
                }
            }
            // A block has ended: what is indented after this belongs to no recipe yet.
            None if !line.is_empty() => recipes.push(("true", String::new())),
            None => {}
        }
    }
    recipes
}

#[test]
fn recipes_print_what_the_readme_says() {
    need("nc", "netcat-openbsd");
    need("tcpdump", "tcpdump");
    need("curl", "curl");
    // A namespace of its own, because the recipes use the default ports.
    let namespace = Namespace::new("readme");
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start_in(namespace.name(), data.path(), &[]);
    let directory = Path::new(FLOWTAP).parent().expect("a file").display();
    let mut run = 0;
    for (recipe, wanted) in recipes().into_iter().filter(|(recipe, _)| *recipe != "true") {
        let script = format!("PATH={directory}:$PATH; {{ {recipe}\n}} 2>&1");
        let output = Command::new("ip")
            .args(["netns", "exec", namespace.name(), "bash", "-c", &script])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("NO_COLOR", "1")
            .output()
            .expect("ip runs");
        let got = String::from_utf8_lossy(&output.stdout);
        assert_eq!(got.trim_end(), wanted.trim_end(), "$ {recipe}");
        run += 1;
    }
    assert!(run > 5, "the recipes were found");
    assert!(server.terminate().0.success());
}

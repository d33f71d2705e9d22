//! `docs/cli.md` is what `--help` says. `UPDATE_DOCS=1 cargo test --release --test cli` writes it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::harness::{Outcome, bare_command};

const INTRODUCTION: &str = "# Command-line reference\n\n\
    Written by `UPDATE_DOCS=1 cargo test --release --test cli` from what `--help` says of each command.\n";

/// The help of a command, and then that of each command under it.
fn reference(command: &[&str], text: &mut String) {
    let help =
        Outcome::of(bare_command(&[command, &["--help"]].concat()).output().unwrap()).exits(0);
    let name = [&["rag-query"], command].concat().join(" ");
    let lines: Vec<&str> = help.stdout.lines().map(str::trim_end).collect();
    let help = lines.join("\n");
    writeln!(text, "\n## `{name}`\n\n```text\n{}\n```", help.trim_end()).unwrap();
    let commands = lines.iter().skip_while(|line| **line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        // A line that goes on from the one above is indented further.
        let name = line.strip_prefix("  ").filter(|line| !line.starts_with(' '));
        let name = name.and_then(|line| line.split_whitespace().next());
        if let Some(name) = name.filter(|name| *name != "help") {
            reference(&[command, &[name]].concat(), text);
        }
    }
}

#[test]
fn the_reference_says_what_help_says() {
    let mut text = INTRODUCTION.to_owned();
    reference(&[], &mut text);
    for command in
        ["index", "search", "models", "models verify", "doctor", "bench", "eval", "completions"]
    {
        assert!(text.contains(&format!("## `rag-query {command}`")), "{command}: {text}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/cli.md is not what --help says; run the tests with UPDATE_DOCS=1"
    );
}

//! Files that are read by programs of the user.
#![cfg(unix)]

use std::fs;

use serde_json::Value;

use crate::harness::{Outcome, Sandbox};

/// A folder of drawings, and what a program makes of them: two pages.
fn drawings(names: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("drawings")).unwrap();
    for name in names {
        sandbox.write(&format!("drawings/{name}"), b"\0\x01binary 4471\0");
    }
    sandbox.write(
        "read.sh",
        "printf 'Máy chiếu số '; printf '%s' \"$1\"; printf '\\n\\f'; tr -d '\\0\\001' <\"$2\"",
    );
    sandbox
}

fn reader(sandbox: &Sandbox, number: &str) -> String {
    format!("dwg=sh '{}' {number} {{}}", sandbox.path("read.sh").display())
}

fn index(sandbox: &Sandbox, args: &[&str]) -> (Outcome, Value) {
    let outcome = sandbox.run(&[&["--json", "index"], args].concat()).exits(0);
    let summary = outcome.json();
    (outcome, summary)
}

#[test]
fn the_output_of_a_program_is_the_text_of_a_file() {
    let sandbox = drawings(&["$(touch pwned); a b.DWG"]);
    let one = reader(&sandbox, "one");
    let (_, summary) = index(&sandbox, &["drawings", "--reader", &one]);
    assert_eq!((&summary["indexed"], &summary["files"]["taken"]), (&1.into(), &1.into()));
    let search = ["search", "--json", "--no-rerank", "4471"];
    let hits = sandbox.run(&search).exits(0).json_lines();
    assert!(hits[0]["text"].as_str().unwrap().contains("binary 4471"), "{hits:#?}");
    assert_eq!(hits[0]["pages"], serde_json::json!([1, 2]));
    assert!(!sandbox.path("pwned").exists(), "no shell reads the name of a file");
    let explained = sandbox.run(&["--reader", &one, "index", "explain", "drawings"]).exits(0);
    assert!(explained.stdout.contains("sh"), "{}", explained.stdout);

    // Nothing has changed; another program may read the file otherwise.
    let (_, again) = index(&sandbox, &["drawings", "--reader", &one]);
    assert_eq!(again["unchanged"], 1);
    let (_, other) = index(&sandbox, &["drawings", "--reader", &reader(&sandbox, "two")]);
    assert_eq!(other["indexed"], 1);
}

/// The index outlives the options of a run.
#[test]
fn what_a_program_read_is_kept_when_it_is_not_named() {
    let sandbox = drawings(&["a.dwg", "b.dwg"]);
    let one = reader(&sandbox, "one");
    index(&sandbox, &["drawings", "--reader", &one]);
    let (outcome, summary) = index(&sandbox, &["drawings"]);
    outcome.tells(&["a.dwg", "b.dwg", "is read by a program that was not named", "--reader"]);
    assert_eq!(summary["removed"], 0);
    let asked = sandbox.run(&["search", "--refresh", "--no-rerank", "4471"]).exits(0);
    assert!(asked.stdout.contains("a.dwg"), "{}", asked.stdout);
    // A file that is gone is gone.
    sandbox.remove("drawings/a.dwg");
    let (_, summary) = index(&sandbox, &["drawings"]);
    assert_eq!(summary["removed"], 1);
    // And the environment names it once for all.
    let mut command = sandbox.command(&["--json", "index", "drawings"]);
    let outcome =
        Outcome::of(command.env("RAG_QUERY_READERS", format!("{one}\nx=cat\n")).output().unwrap());
    assert_eq!(outcome.exits(0).json()["unchanged"], 1);
    let mut command = sandbox.command(&["index", "list"]);
    Outcome::of(command.env("RAG_QUERY_READERS", "").output().unwrap()).exits(0);
}

#[test]
fn a_program_that_fails_is_named_with_what_it_says() {
    let sandbox = drawings(&["a.dwg"]);
    sandbox.write("notes.txt", "Ghi chú.");
    sandbox.write("fails.sh", "echo 'version 2018 is not supported' >&2; exit 4");
    let fails = format!("dwg=sh {} {{}}", sandbox.path("fails.sh").display());
    let args = ["index", "drawings", "notes.txt", "--strict", "--reader"];
    let outcome = sandbox.run(&[&args[..], &[&fails]].concat()).exits(1);
    outcome.tells(&["a.dwg", "`sh` failed: version 2018 is not supported", "--reader"]);
    let outcome = sandbox.run(&[&args[..], &["dwg=/nowhere/dwg2txt {}"]].concat()).exits(1);
    outcome.tells(&["`/nowhere/dwg2txt` cannot be started"]);
    sandbox.run(&[&args[..], &["dwg2txt {}"]].concat()).fails(2, &["EXTENSION=COMMAND"]);
}

//! `--in`, `--type` and `--since`: a part of the index is asked as if there were nothing else.

use std::time::{Duration, SystemTime};

use crate::harness::{ENGLISH, Sandbox};

/// A question, and more notes that answer it than any search takes candidates.
fn crowded() -> Sandbox {
    let sandbox = Sandbox::new();
    for n in 0..120 {
        let text =
            format!("# Note {n}\n\nTokenization splits a text into tokens, says note {n}.\n");
        sandbox.write(&format!("notes/crowd-{n}.md"), text);
    }
    sandbox.run(&["index", "notes"]).exits(0);
    sandbox
}

fn found(sandbox: &Sandbox, selection: &[&str]) -> Vec<String> {
    let args = [selection, &["--top-k", "20", "--json", "search", ENGLISH]].concat();
    let lines = sandbox.run(&args).exits(0).json_lines();
    lines.iter().map(|hit| hit["document"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_not_selected_is_left_out_before_ranking() {
    let sandbox = crowded();
    // A search takes 50 candidates, and the others are lost: not where they are what is selected.
    let everything = found(&sandbox, &[]);
    let lost = "notes/crowd-99.md".to_owned();
    assert!(!everything.contains(&lost), "{everything:?}");
    assert_eq!(found(&sandbox, &["--in", "crowd-99.md"]), [lost]);
    assert_eq!(found(&sandbox, &["--in", "coffee.txt"]), ["notes/coffee.txt"]);
    assert_eq!(found(&sandbox, &["--type", "txt"]), ["notes/coffee.txt"]);
    let both = found(&sandbox, &["--type", ".JSONL", "--type", "txt"]);
    assert_eq!(both.len(), 3, "{both:?}");
    let narrow = found(&sandbox, &["--in", "notes/crowd-7.md", "--in", "crowd-77.md"]);
    assert_eq!(narrow.len(), 2, "{narrow:?}");
    let none = found(&sandbox, &["--in", "*.md", "--in", "crowd-*"]);
    assert_eq!(none.len(), 20);
}

#[test]
fn an_answer_comes_from_the_selection_and_an_empty_one_is_an_error() {
    let sandbox = crowded();
    let args = ["--extractive", "--in", "tokenization.md", "--json", ENGLISH];
    let answered = sandbox.run(&args).exits(0);
    assert!(answered.stderr.contains("of 127 chunks, by --in"), "{answered:#?}");
    for passage in answered.json()["passages"].as_array().unwrap() {
        assert_eq!(passage["document"], "notes/tokenization.md");
    }
    let nothing = sandbox.run(&["--in", "*.xyz", ENGLISH]).exits(1);
    assert!(nothing.stderr.contains("no document of the index is selected"), "{nothing:#?}");
    sandbox.run(&["--since", "yesterday", ENGLISH]).exits(2);
}

#[test]
fn files_are_selected_by_when_they_changed() {
    let sandbox = Sandbox::new();
    let long_ago = SystemTime::now() - Duration::from_hours(400 * 24);
    for name in ["nlp.md", "tokenization.md", "faq.jsonl"] {
        let file = std::fs::File::options().write(true).open(sandbox.path("notes").join(name));
        file.unwrap().set_modified(long_ago).unwrap();
    }
    sandbox.run(&["index", "notes"]).exits(0);
    assert_eq!(found(&sandbox, &["--since", "30d"]), ["notes/coffee.txt"]);
    assert_eq!(found(&sandbox, &["--since", "2001-02-03"]).len(), found(&sandbox, &[]).len());
}

#[test]
fn a_tag_of_the_front_matter_selects_a_document() {
    let sandbox = Sandbox::new();
    let note = |name: &str, matter: &str| {
        let text = format!("---\n{matter}\n---\n\nTokenization splits a text, says {name}.\n");
        sandbox.write(&format!("notes/{name}.md"), text);
    };
    note("law", "tags: [Luật, 2024]\nauthor: An");
    note("tax", "tags:\n  - luật/thuế");
    note("poem", "category: poems\naliases: [luật]");
    sandbox.run(&["index", "notes"]).exits(0);
    let mut lawful = found(&sandbox, &["--tag", "luật"]);
    lawful.sort();
    assert_eq!(lawful, ["notes/law.md", "notes/tax.md"]);
    assert_eq!(found(&sandbox, &["--tag", "poems"]), ["notes/poem.md"]);
    assert_eq!(found(&sandbox, &["--tag", "Luật", "--in", "tax.md"]), ["notes/tax.md"]);
    // An author is no tag.
    let nothing = sandbox.run(&["--tag", "An", ENGLISH]).exits(1);
    assert!(nothing.stderr.contains("`--tag`"), "{nothing:#?}");
    // What is filed elsewhere is found there after the next run.
    note("poem", "category: luật");
    sandbox.run(&["index", "notes"]).exits(0);
    assert_eq!(found(&sandbox, &["--tag", "luật"]).len(), 3);
}

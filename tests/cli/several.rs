//! `--index A --index B`: several indexes are asked as if they were one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::harness::{ENGLISH, Sandbox, VIETNAMESE};

/// An index of each note, and one of all.
fn apart() -> Sandbox {
    let sandbox = Sandbox::indexed();
    for (index, note) in
        [("one", "notes/nlp.md"), ("two", "notes/tokenization.md"), ("rest", "notes/coffee.txt")]
    {
        sandbox.run(&["--index", index, "index", note]).exits(0);
    }
    sandbox.run(&["--index", "rest", "index", "notes/faq.jsonl"]).exits(0);
    sandbox
}

const ALL: [&str; 6] = ["--index", "one", "--index", "two", "--index", "rest"];

#[test]
fn what_is_found_is_what_one_index_of_all_finds() {
    let sandbox = apart();
    for question in [ENGLISH, VIETNAMESE, "byte pair encoding vocabulary", "machine"] {
        let search = |options: &[&str]| {
            let args = [options, &["--json", "--top-k", "7", "search", question]].concat();
            let mut hits = sandbox.run(&args).exits(0).json_lines();
            // The mean token vector, which the reranker subtracts, is that of another sample.
            hits.sort_by_key(|hit| format!("{} {}", hit["document"], hit["heading"]));
            hits
        };
        let (together, apart) = (search(&[]), search(&ALL));
        assert_eq!(apart.len(), together.len(), "{question}");
        for (a, b) in apart.iter().zip(&together) {
            assert_eq!((&a["document"], &a["heading"]), (&b["document"], &b["heading"]));
            for score in ["dense", "bm25", "fused"] {
                let of = |hit: &Value| hit["scores"][score].as_f64().unwrap();
                assert!((of(a) - of(b)).abs() < 1e-5, "{question}: {a} {b}");
            }
            assert!(a["index"].is_string() && b["index"].is_null(), "{a} {b}");
        }
    }
}

#[test]
fn answers_come_from_all_and_sources_say_which() {
    let sandbox = apart();
    let asked = [&ALL[..], &["--extractive", "--top-k", "4", ENGLISH]].concat();
    let answered = sandbox.run(&asked).exits(0);
    assert!(answered.stdout.contains(" · "), "{answered:#?}");
    let json = sandbox.run(&[&asked[..], &["--json"]].concat()).exits(0).json();
    let of = |passage: &Value| passage["index"].as_str().unwrap().to_owned();
    let passages: Vec<String> = json["passages"].as_array().unwrap().iter().map(of).collect();
    let indexes: BTreeSet<&String> = passages.iter().collect();
    assert!(indexes.len() > 1, "{json}");
    // A part of all of them, exactly.
    let narrow = [&ALL[..], &["--json", "--in", "coffee.txt", "search", ENGLISH]].concat();
    let narrow = sandbox.run(&narrow).exits(0).json_lines();
    assert!(narrow.iter().all(|hit| hit["index"] == "rest"), "{narrow:?}");
}

#[test]
fn only_one_index_is_written_to_and_all_must_be_alike() {
    let sandbox = apart();
    let write = [&ALL[..], &["index", "notes"]].concat();
    sandbox.run(&write).fails(1, &["several indexes", "--index"]);
    let missing = ["--index", "one", "--index", "nowhere", ENGLISH];
    sandbox.run(&missing).fails(1, &["nowhere"]);
    sandbox.run(&["--index", "other", "--profile", "tiny-cross", "index", "notes"]).exits(0);
    let unlike = ["--index", "one", "--index", "other", ENGLISH];
    sandbox.run(&unlike).fails(1, &["token vectors", "--rebuild"]);
}

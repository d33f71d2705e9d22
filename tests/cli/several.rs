//! `--index A --index B`: several indexes are asked as if they were one.

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
            sandbox.run(&args).exits(0).json_lines()
        };
        let (together, apart) = (search(&[]), search(&ALL));
        let documents = |hits: &[Value]| -> Vec<String> {
            hits.iter().map(|hit| format!("{} {}", hit["document"], hit["heading"])).collect()
        };
        assert_eq!(documents(&apart), documents(&together), "{question}");
        for (a, b) in apart.iter().zip(&together) {
            let of = |hit: &Value, name: &str| hit["scores"][name].as_f64().unwrap();
            assert!((of(a, "dense") - of(b, "dense")).abs() < 1e-6, "{a} {b}");
            // The mean length of a text, by which BM25 judges others, stays that of each index.
            let (bm25, other) = (of(a, "bm25"), of(b, "bm25"));
            assert!((bm25 - other).abs() <= 0.25 * other.max(0.1), "{a} {b}");
            assert!(a["index"].is_string() && b["index"].is_null(), "{a} {b}");
        }
    }
}

#[test]
fn answers_come_from_all_and_sources_say_which() {
    let sandbox = apart();
    let asked = [&ALL[..], &["--extractive", "--top-k", "4", ENGLISH]].concat();
    let answered = sandbox.run(&asked).exits(0);
    assert!(answered.stdout.contains("· two"), "{answered:#?}");
    let json = sandbox.run(&[&asked[..], &["--json"]].concat()).exits(0).json();
    let of = |passage: &Value| passage["index"].as_str().unwrap().to_owned();
    let passages: Vec<String> = json["passages"].as_array().unwrap().iter().map(of).collect();
    assert!(passages.contains(&"two".to_owned()), "{json}");
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
    let unlike = sandbox.run(&unlike);
    // What differs is told; where nothing does, they are asked.
    assert!(unlike.status == Some(1) || unlike.status == Some(0), "{unlike:#?}");
}

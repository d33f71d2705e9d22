//! An index follows its documents: what has not changed costs nothing, and what is gone is removed.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Sandbox, goldens};

/// Indexes and returns the counts.
fn index(sandbox: &Sandbox, args: &[&str]) -> Value {
    let mut summary = sandbox.run(&[&["--json", "index"], args].concat()).exits(0).json();
    // How many chunks depends on the chunker, not on what is tested here; `accounts.rs` tests the
    // rest.
    for field in ["chunks", "reused", "files", "without_text", "emptied", "unmatched"] {
        summary.as_object_mut().unwrap().remove(field).unwrap();
    }
    summary
}

fn counts(indexed: usize, unchanged: usize, removed: usize) -> Value {
    json!({
        "indexed": indexed,
        "unchanged": unchanged,
        "removed": removed,
        "problems": [],
        "interrupted": false,
    })
}

/// The documents of the index, sorted.
fn documents(sandbox: &Sandbox) -> Vec<String> {
    let hits = sandbox.run(&["search", "--json", "--top-k", "1000", "NLP"]).exits(0).json_lines();
    let mut documents: Vec<String> =
        hits.iter().map(|hit| hit["document"].as_str().unwrap().to_owned()).collect();
    documents.sort();
    documents.dedup();
    documents
}

const NOTES: [&str; 5] = [
    "notes/coffee.txt",
    "notes/faq.jsonl#holiday",
    "notes/faq.jsonl#office-hours",
    "notes/nlp.md",
    "notes/tokenization.md",
];

#[test]
fn a_second_run_finds_nothing_to_do() {
    let sandbox = Sandbox::new();
    assert_eq!(index(&sandbox, &["notes"]), counts(5, 0, 0));
    assert_eq!(documents(&sandbox), NOTES);
    assert_eq!(index(&sandbox, &["notes"]), counts(0, 5, 0));
    // A file is the same file by whatever name of its folder.
    assert_eq!(index(&sandbox, &["./notes/../notes/nlp.md", "notes/nlp.md"]), counts(0, 1, 0));
    assert_eq!(documents(&sandbox), NOTES);
}

#[test]
fn changed_added_and_deleted_documents_are_followed() {
    let sandbox = Sandbox::indexed();
    sandbox.write("notes/nlp.md", "# NLP\n\nA new text about aardvarks.\n");
    sandbox.write("notes/new.txt", "A new document about NLP.\n");
    sandbox.remove("notes/coffee.txt");
    assert_eq!(index(&sandbox, &["notes"]), counts(2, 3, 1));
    let hits = sandbox.run(&["search", "--json", "--top-k", "1000", "NLP"]).exits(0).json_lines();
    let texts = |document: &str| -> Vec<&str> {
        let of = hits.iter().filter(|hit| hit["document"] == document);
        of.map(|hit| hit["text"].as_str().unwrap()).collect()
    };
    assert_eq!(texts("notes/nlp.md"), ["A new text about aardvarks."]);
    assert_eq!(texts("notes/new.txt"), ["A new document about NLP."]);
    assert!(texts("notes/coffee.txt").is_empty());
    assert_eq!(texts("notes/tokenization.md").len(), 2);
    assert_eq!(index(&sandbox, &["notes"]), counts(0, 5, 0));
}

#[test]
fn documents_from_other_places_stay() {
    let sandbox = Sandbox::new();
    // One name begins with the other, but neither folder contains the other.
    fs::create_dir(sandbox.path("notes-2")).unwrap();
    sandbox.write("notes-2/other.md", "# Other\n\nAnother folder about NLP.\n");
    assert_eq!(index(&sandbox, &["notes"]), counts(5, 0, 0));
    assert_eq!(index(&sandbox, &["notes-2"]), counts(1, 0, 0));
    sandbox.remove("notes-2/other.md");
    sandbox.write("notes-2/third.md", "# Third\n\nA third one about NLP.\n");
    assert_eq!(index(&sandbox, &["notes"]), counts(0, 5, 0));
    assert_eq!(index(&sandbox, &["notes-2"]), counts(1, 0, 1));
    assert_eq!(documents(&sandbox), [&["notes-2/third.md"], &NOTES[..]].concat());
}

#[test]
fn a_moved_document_is_found_only_at_its_new_place() {
    let sandbox = Sandbox::indexed();
    fs::create_dir(sandbox.path("notes/moved")).unwrap();
    fs::rename(sandbox.path("notes/nlp.md"), sandbox.path("notes/moved/nlp.md")).unwrap();
    assert_eq!(index(&sandbox, &["notes"]), counts(1, 4, 1));
    let documents = documents(&sandbox);
    assert!(documents.iter().any(|document| document == "notes/moved/nlp.md"), "{documents:?}");
    assert!(!documents.iter().any(|document| document == "notes/nlp.md"), "{documents:?}");
}

#[test]
fn the_lines_of_a_jsonl_file_are_followed_one_by_one() {
    let sandbox = Sandbox::indexed();
    let line = |id: &str, text: &str| json!({ "id": id, "text": text }).to_string() + "\n";
    let faq = |lines: &[String]| sandbox.write("notes/faq.jsonl", lines.concat());
    faq(&[line("one", "The first about NLP."), line("two", "The second about NLP.")]);
    assert_eq!(index(&sandbox, &["notes/faq.jsonl"]), counts(2, 0, 2));
    faq(&[
        line("two", "The second about NLP."),
        line("one", "The first, changed, about NLP."),
        line("three", "A third about NLP."),
    ]);
    assert_eq!(index(&sandbox, &["notes/faq.jsonl"]), counts(2, 1, 0));
    faq(&[line("three", "A third about NLP.")]);
    assert_eq!(index(&sandbox, &["notes"]), counts(0, 4, 2));
    assert!(documents(&sandbox).contains(&"notes/faq.jsonl#three".to_owned()));
}

#[test]
fn a_document_without_text_is_indexed_once() {
    let sandbox = Sandbox::indexed();
    sandbox.write("notes/empty.md", "");
    sandbox.write("notes/blank.txt", "\n \n");
    index(&sandbox, &["notes"]);
    assert_eq!(index(&sandbox, &["notes"])["indexed"], 0);
}

#[test]
fn a_document_that_becomes_empty_is_no_longer_found() {
    let sandbox = Sandbox::indexed();
    sandbox.write("notes/nlp.md", "");
    index(&sandbox, &["notes"]);
    assert!(!documents(&sandbox).contains(&"notes/nlp.md".to_owned()));
}

#[test]
fn passages_fit_into_a_small_window_of_the_embedder() {
    let sandbox = Sandbox::new();
    // The tiny embedder reads 254 tokens, less than a passage may have.
    sandbox.write("notes/long.md", format!("# Long\n\n{}\n", "A sentence about NLP. ".repeat(300)));
    assert_eq!(index(&sandbox, &["notes"]), counts(6, 0, 0));
    assert!(documents(&sandbox).contains(&"notes/long.md".to_owned()));
}

#[test]
fn a_rebuild_holds_only_the_paths_it_was_given() {
    let sandbox = Sandbox::indexed();
    fs::create_dir(sandbox.path("other")).unwrap();
    sandbox.write("other/other.md", "# Other\n\nAnother folder about NLP.\n");
    assert_eq!(index(&sandbox, &["--rebuild", "other"]), counts(1, 0, 0));
    assert_eq!(documents(&sandbox), ["other/other.md"]);
    assert_eq!(index(&sandbox, &["--rebuild", "notes"]), counts(5, 0, 0));
    assert_eq!(documents(&sandbox), NOTES);
}

#[test]
fn an_index_grown_in_steps_finds_what_one_built_at_once_finds() {
    let at_once = Sandbox::indexed();
    let in_steps = Sandbox::new();
    for name in ["tokenization.md", "faq.jsonl", "nlp.md", "coffee.txt"] {
        index(&in_steps, &[&format!("notes/{name}")]);
    }
    // Sums in another order differ in their last bits.
    let rounded = |score: &Value| (score.as_f64().unwrap() * 1e4).round() as i64;
    let hits = |sandbox: &Sandbox| -> Vec<(Value, i64)> {
        let args = ["search", "--json", "--no-rerank", "--top-k", "1000", "What is NLP?"];
        let hits = sandbox.run(&args).exits(0).json_lines();
        hits.iter().map(|hit| (hit["document"].clone(), rounded(&hit["score"]))).collect()
    };
    assert_eq!(hits(&at_once), hits(&in_steps));
}

#[test]
fn ignored_and_hidden_files_are_left_out() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/.ignore", "private*\n");
    sandbox.write("notes/private.md", "# Private\n\nAbout NLP.\n");
    sandbox.write("notes/.hidden.md", "# Hidden\n\nAbout NLP.\n");
    assert_eq!(index(&sandbox, &["notes"]), counts(5, 0, 0));
    assert_eq!(documents(&sandbox), NOTES);
}

#[test]
fn the_projects_own_index_is_used_where_there_is_one() {
    let sandbox = Sandbox::indexed();
    let run = |folder: &str, args: &[&str]| {
        let mut command = sandbox.command(args);
        command.env_remove("RAG_QUERY_INDEX").current_dir(sandbox.path(folder));
        crate::harness::Outcome::of(command.output().unwrap())
    };
    run("", &["search", "NLP"]).exits(0);
    // Elsewhere it is the one in the user's data folder.
    let data = sandbox.path("home/data/rag-query/index");
    run("home", &["search", "NLP"]).fails(1, &[data.to_str().unwrap()]);
    run("home", &["index", "../notes"]).exits(0);
    assert!(data.join("manifest.json").is_file());
    run("home", &["search", "NLP"]).exits(0);
}

/// An embedder that reads more than others, and an entry that asks for it.
#[test]
fn chunks_are_as_large_as_the_embedders_entry_asks() {
    let mut sandbox = Sandbox::new();
    let sentence = "Hà Nội là thủ đô của Việt Nam, và Huế là kinh đô cũ của nước này. ";
    sandbox.write("notes/long.txt", sentence.repeat(40));
    let catalogue = fs::read_to_string(sandbox.path("catalogue.toml")).unwrap();
    let model = goldens().join("tiny-modernbert");
    let mut longest = Vec::new();
    for (profile, chunk_tokens) in [("usual", ""), ("large", "chunk_tokens = 416")] {
        sandbox.write(
            "catalogue.toml",
            format!(
                r#"{catalogue}
                [profiles.{profile}]
                about = "ModernBERT"
                embedder = "tiny-modern"
                reranker = "late-interaction"
                llm = "tiny-llm"
                device = "cpu"
                [models.tiny-modern]
                role = "embedder"
                name = "Tiny ModernBERT"
                licence = "MIT"
                languages = ["vi"]
                source = {{ path = {model:?}, files = ["config.json", "tokenizer.json", "model.safetensors"] }}
                pooling = "mean"
                query_prefix = ""
                passage_prefix = ""
                max_tokens = 512
                {chunk_tokens}
                dimension = 64
                "#
            ),
        );
        sandbox.profile = profile;
        sandbox.run(&["index", "--rebuild", "notes/long.txt"]).exits(0);
        let hits = sandbox.run(&["search", "--json", "Hà Nội"]).exits(0).json_lines();
        let lengths = hits.iter().map(|hit| hit["text"].as_str().unwrap().len());
        longest.push(lengths.max().unwrap());
    }
    assert!(longest[1] * 10 > longest[0] * 12, "{longest:?}");
}

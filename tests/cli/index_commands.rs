//! The commands that maintain an index.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Sandbox, descend};

#[test]
fn list_and_info_show_what_an_index_holds() {
    let sandbox = Sandbox::indexed();
    let listed = sandbox.run(&["index", "list", "--json"]).exits(0).json_lines();
    let names: Vec<&str> = listed.iter().map(|line| line["document"].as_str().unwrap()).collect();
    let root = sandbox.path("notes");
    let name = |name: &str| root.join(name).to_str().unwrap().to_owned();
    assert_eq!(
        names,
        [
            name("coffee.txt"),
            name("faq.jsonl#holiday"),
            name("faq.jsonl#office-hours"),
            name("nlp.md"),
            name("tokenization.md"),
        ]
    );
    let size = fs::metadata(sandbox.path("notes/coffee.txt")).unwrap().len();
    assert_eq!(listed[0]["bytes"], size);
    let chunks: u64 = listed.iter().map(|line| line["chunks"].as_u64().unwrap()).sum();
    let text = sandbox.run(&["index", "list"]).exits(0).stdout;
    assert!(text.lines().any(|line| line.ends_with(" notes/nlp.md")), "{text}");

    let info = sandbox.run(&["index", "info", "--json"]).exits(0).json();
    assert_eq!(info["files"], 4);
    assert_eq!(info["documents"], 5);
    assert_eq!(info["chunks"], chunks);
    assert_eq!(info["dead_rows"], 0);
    assert_eq!(info["embedder"]["id"], "tiny-embedder@local");
    assert!(info["age_seconds"].as_u64().unwrap() < 600);
    let text = sandbox.run(&["index", "info"]).exits(0).stdout;
    assert!(text.contains("documents  5"), "{text}");
    let vietnamese = sandbox.run(&["--lang", "vi", "index", "info"]).exits(0).stdout;
    assert!(vietnamese.contains("tài liệu    5"), "{vietnamese}");
}

#[test]
fn documents_are_removed_whether_or_not_their_files_exist() {
    let sandbox = Sandbox::indexed();
    sandbox.remove("notes/coffee.txt");
    sandbox.run(&["index", "remove", "notes/coffee.txt", "notes/nlp.md"]).exits(0);
    sandbox.run(&["index", "remove", "notes/faq.jsonl#holiday"]).exits(0);
    let left = sandbox.run(&["index", "list"]).exits(0).stdout;
    assert_eq!(left.lines().count(), 2, "{left}");
    sandbox.run(&["index", "verify"]).exits(0);
    sandbox.run(&["index", "remove", "notes/nowhere.md"]).exits(1).tells(&["no documents there"]);
    // A folder, which is then added again.
    assert_eq!(sandbox.run(&["--json", "index", "remove", "notes"]).exits(0).json()["removed"], 2);
    let again = sandbox.run(&["--json", "index", "notes"]).exits(0).json();
    assert_eq!(again["indexed"], 4);
    assert_eq!(again["reused"], again["chunks"]);
    sandbox.run(&["index", "verify"]).exits(0);
}

#[test]
fn no_text_is_embedded_twice() {
    let sandbox = Sandbox::indexed();
    let before = sandbox.run(&["index", "list", "--json"]).exits(0).json_lines();
    let chunks: u64 = before.iter().map(|line| line["chunks"].as_u64().unwrap()).sum();
    // Moved.
    fs::rename(sandbox.path("notes"), sandbox.path("moved")).unwrap();
    sandbox.run(&["index", "remove", "notes"]).exits(0);
    let moved = sandbox.run(&["--json", "index", "moved"]).exits(0).json();
    assert_eq!(moved["chunks"], chunks);
    assert_eq!(moved["reused"], chunks);
    // Changed in one section of several.
    let text = fs::read_to_string(sandbox.path("moved/tokenization.md")).unwrap();
    sandbox.write("moved/tokenization.md", text + "\n## New\n\nA section that is new.\n");
    let changed = sandbox.run(&["--json", "index", "moved"]).exits(0).json();
    assert_eq!(changed["chunks"].as_u64().unwrap(), changed["reused"].as_u64().unwrap() + 1);
    sandbox.run(&["index", "verify"]).exits(0);
}

/// Regression: two equal texts used up one embedding instead of two, so the next text got the wrong
/// one.
#[test]
fn equal_texts_beside_each_other_leave_their_neighbours_alone() {
    let dense = |twins: bool| {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("some")).unwrap();
        if twins {
            sandbox.write("some/a.txt", "The same words in two files.\n");
            sandbox.write("some/b.txt", "The same words in two files.\n");
        }
        sandbox.write("some/c.txt", "Quite another text, about rivers.\n");
        let indexed = sandbox.run(&["--json", "index", "some"]).exits(0).json();
        assert_eq!(indexed["reused"], u64::from(twins));
        let hits = sandbox.run(&["search", "--json", "rivers"]).exits(0).json_lines();
        let hit = hits.iter().find(|hit| hit["document"] == "some/c.txt").unwrap();
        hit["scores"]["dense"].as_f64().unwrap()
    };
    assert!((dense(true) - dense(false)).abs() < 1e-6);
}

#[test]
fn compaction_drops_removed_chunks_and_nothing_else() {
    let sandbox = Sandbox::indexed();
    sandbox.write("notes/coffee.txt", "Tea, from now on.\n");
    sandbox.run(&["index", "notes"]).exits(0);
    sandbox.run(&["index", "remove", "notes/nlp.md"]).exits(0);
    let search = ["search", "--json", "--top-k", "100", "What is tokenization?"];
    let before = sandbox.run(&search).exits(0).stdout;
    let info =
        |field: &str| sandbox.run(&["index", "info", "--json"]).exits(0).json()[field].clone();
    assert!(info("dead_rows").as_u64().unwrap() > 1);
    let sizes = sandbox.run(&["--json", "index", "compact"]).exits(0).json();
    assert!(sizes["after"].as_u64() < sizes["before"].as_u64(), "{sizes}");
    assert_eq!(info("dead_rows"), 0);
    sandbox.run(&["index", "verify"]).exits(0);
    // BM25 no longer counts the removed chunks, so scores change; the passages are the same.
    let passages = |lines: &str| -> Vec<Value> {
        let parse = |line| serde_json::from_str::<Value>(line).unwrap()["text"].clone();
        lines.lines().map(parse).collect()
    };
    let after = sandbox.run(&search).exits(0).stdout;
    let sorted = |lines: &str| {
        let mut texts: Vec<String> = passages(lines).iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(&after), sorted(&before));
    assert_eq!(sandbox.run(&["--json", "index", "notes"]).exits(0).json()["indexed"], 1);
}

#[test]
fn a_dry_run_shows_the_passages_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let shown = sandbox.run(&["index", "--dry-run", "--json", "notes"]).exits(0).json_lines();
    assert!(!sandbox.path("index").exists());
    assert!(shown.iter().all(|passage| passage["tokens"].as_u64().unwrap() <= 254));
    let text = sandbox.run(&["index", "--dry-run", "notes"]).exits(0).stdout;
    assert!(text.contains("notes/nlp.md\n"), "{text}");
    assert!(text.contains("Nhập môn NLP > NLP là gì?"), "{text}");
    let indexed = sandbox.run(&["--json", "index", "notes"]).exits(0).json();
    assert_eq!(indexed["chunks"].as_u64().unwrap(), shown.len() as u64);
    sandbox.run(&["index", "--dry-run", "--rebuild", "notes"]).exits(2);
}

#[test]
fn patterns_choose_the_files_of_folders() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/.ragignore", "coffee.txt\n");
    let index = |args: &[&str]| sandbox.run(&[&["--json", "index"], args].concat()).exits(0).json();
    assert_eq!(index(&["notes", "--include", "*.md", "--exclude", "token*"])["indexed"], 1);
    assert_eq!(index(&["notes"])["indexed"], 3);
    // A run over some of the files says nothing about the others.
    assert_eq!(index(&["notes", "--exclude", "*.jsonl"])["removed"], 0);
    sandbox.run(&["index", "notes", "--include", "{a"]).exits(1).tells(&["{a"]);
}

#[test]
fn a_directory_is_not_written_in_parts() {
    let sandbox = Sandbox::new();
    let index = |args: &[&str]| sandbox.run(&[&["--json", "index", "notes"], args].concat());
    for part in ["1/2", "2/2"] {
        index(&["--shard", part]).fails(2, &["is a directory", "hint: ", "index copy"]);
    }
    assert!(!sandbox.path("index").exists());
    index(&["--shard", "3/2"]).exits(2).tells(&["--shard", "such as 2/3"]);
    index(&["--shard", "1/2", "--rebuild"]).exits(2);
    // Each passage is in one part of the preview.
    let texts = |args: &[&str]| -> Vec<String> {
        let shown = index(&[&["--dry-run"], args].concat()).exits(0).json_lines();
        shown.iter().map(|passage| passage["text"].to_string()).collect()
    };
    let mut parts = ["1/3", "2/3", "3/3"].map(|part| texts(&["--shard", part])).concat();
    let mut all = texts(&[]);
    parts.sort();
    all.sort();
    assert_eq!(parts, all);
    assert_eq!(index(&["--shard", "1/1"]).exits(0).json()["indexed"], 5);
}

#[test]
fn strict_makes_problems_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/broken.jsonl", "{\"id\": \"a\", \"text\": \"Good.\"}\nnonsense\n");
    sandbox.run(&["index", "notes"]).exits(0).tells(&["broken.jsonl", "1 problems"]);
    sandbox.run(&["index", "--strict", "notes"]).exits(1).tells(&["broken.jsonl"]);
}

#[test]
fn several_indexes_have_names() {
    let sandbox = Sandbox::new();
    sandbox.run(&["index", "names"]).exits(0).tells(&["--index @NAME"]);
    sandbox.run(&["--index", "@nấu-ăn", "index", "notes/coffee.txt"]).exits(0);
    sandbox.run(&["--index", "@work", "index", "notes/nlp.md"]).exits(0);
    let found = sandbox.run(&["--index", "@work", "search", "--json", "NLP"]).exits(0);
    assert!(found.json_lines().iter().all(|hit| hit["document"] == "notes/nlp.md"));
    let names = sandbox.run(&["index", "names", "--json"]).exits(0).json_lines();
    let names: Vec<&str> = names.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["nấu-ăn", "work"]);
    for name in ["@", "@../up", "@a/b", "@.hidden"] {
        sandbox.run(&["--index", name, "index", "notes"]).fails(1, &["cannot be the name"]);
    }
}

#[test]
fn an_index_of_the_first_format_says_how_to_upgrade() {
    let sandbox = Sandbox::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/index-format-1");
    for path in descend(&sample) {
        let to = sandbox.path("index").join(path.strip_prefix(&sample).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if path.is_file() {
            fs::copy(&path, to).unwrap();
        }
    }
    for args in [&["search", "tokens"][..], &["index", "notes"], &["index", "verify"]] {
        sandbox.run(args).fails(1, &["has format 1, this program reads format 3", "--rebuild"]);
    }
    sandbox.run(&["index", "--rebuild", "notes"]).exits(0);
    sandbox.run(&["index", "verify"]).exits(0);
    assert!(!sandbox.path("index/generation-1").exists());
}

#[test]
fn a_changed_byte_in_any_file_is_found() {
    let sandbox = Sandbox::indexed();
    let is_lock = |path: &Path| path.extension().is_some_and(|kind| kind == "lock");
    let files = descend(&sandbox.path("index"));
    let files: Vec<_> = files.iter().filter(|path| path.is_file() && !is_lock(path)).collect();
    assert!(files.len() > 9, "{files:?}");
    for file in files {
        let whole = fs::read(file).unwrap();
        // Every byte of a short file, some of a long one; the first and the last in any case.
        let step = whole.len().div_ceil(150);
        for at in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            // A new file, so that a mapping of the old one is not changed.
            fs::remove_file(file).unwrap();
            fs::write(file, &changed).unwrap();
            let outcome = std::panic::catch_unwind(|| {
                rag_query::internals::index::directory::verify(&sandbox.path("index")).map(drop)
            });
            let case = format!("byte {at} of {}", file.display());
            assert!(outcome.unwrap_or_else(|_| panic!("{case}: a panic")).is_err(), "{case}");
        }
        fs::remove_file(file).unwrap();
        fs::write(file, &whole).unwrap();
    }
    sandbox.run(&["index", "verify"]).exits(0).tells(&["the index is intact: 5 documents"]);
}

/// Words are taken from texts in another way than by earlier versions, but nothing has to be embedded
/// again.
#[test]
fn an_index_of_an_earlier_version_has_its_words_taken_again_once() {
    let sandbox = Sandbox::indexed();
    let search = ["search", "--json", "--no-rerank", "Tokenization"];
    let before = sandbox.run(&search).exits(0).stdout;
    let text = fs::read_to_string(sandbox.path("index/manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(manifest["analyzer"].as_u64().unwrap() > 1);
    // The first version did not record it. The checksum covers the fields in their order, on one line.
    let text: String = text.lines().map(str::trim).collect();
    let text = text.replace("\": ", "\":");
    let start = text.find(",\"analyzer\"").unwrap();
    let length = text[start + 1..].find(',').unwrap() + 1;
    let checksum = manifest["checksum"].take().as_str().unwrap().to_owned();
    let bare = text.replace(&text[start..start + length], "").replace(&checksum, "");
    let new = blake3::hash(bare.trim_end().as_bytes()).to_hex();
    let old = bare.replace("\"checksum\":\"\"", &format!("\"checksum\":\"{new}\""));
    sandbox.write("index/manifest.json", old);

    let renewed = sandbox.run(&search).exits(0).tells(&["from an earlier version"]);
    assert_eq!(renewed.stdout, before);
    assert!(!sandbox.run(&search).exits(0).stderr.contains("earlier version"));
    assert_eq!(sandbox.run(&["--json", "index", "notes"]).exits(0).json()["indexed"], 0);
    sandbox.run(&["index", "verify"]).exits(0);
}

//! Every file under the folders is accounted for, and nothing leaves an index without being asked to.

use std::fs;
#[cfg(unix)]
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::harness::Sandbox;

fn index(sandbox: &Sandbox, args: &[&str]) -> Value {
    sandbox.run(&[&["--json", "index"], args].concat()).exits(0).json()
}

/// Names of the indexed documents, as `index list` shows them.
fn listed(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.run(&["index", "list"]).exits(0).stdout;
    let name = |line: &str| line.trim_start().split_once("  ").unwrap().1.to_owned();
    listed.lines().map(name).collect()
}

/// Asserts that each file of a run is counted once.
#[track_caller]
fn adds_up(summary: &Value, found: u64) {
    let files = &summary["files"];
    let number = |field: &str| files[field].as_u64().unwrap();
    let named = |field: &str| files[field].as_array().unwrap().len() as u64;
    let left_out = files["left_out"].as_array().unwrap().iter();
    let left_out: u64 = left_out.map(|group| group["files"].as_u64().unwrap()).sum();
    let sum = number("taken") + number("unchanged") + number("not_reached") + left_out;
    assert_eq!(sum + named("empty") + named("without_text") + named("failed"), found, "{files:#}");
    assert_eq!(number("found"), found, "{files:#}");
}

#[test]
fn the_numbers_add_up_to_all_files() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("notes/build/deep")).unwrap();
    for (name, content) in [
        ("README.vi", &b"Ghi ch\xc3\xba."[..]),
        ("picture.gif", b"GIF89a"),
        ("slides.xyz", b"\0\0"),
        ("empty.md", b""),
        ("script.html", b"<html><script>let a = 1;</script></html>"),
        ("broken.docx", b"PK\x03\x04 no package"),
        (".gitignore", b"build/\n"),
        ("build/a.md", b"x"),
        ("build/deep/b.md", b"x"),
        ("skipped.rst", b"x"),
    ] {
        sandbox.write(&format!("notes/{name}"), content);
    }
    let args = ["notes", "--exclude", "*.rst", "--exclude", "*.nothing"];
    let told = sandbox.run(&[&["index"], &args[..]].concat()).exits(0);
    let told = told.tells(&[
        "14 files: 5 new or changed, 1 empty, 1 without text, 1 not read, 6 left out\n",
        "2 ignored by notes/.gitignore (build/)",
        "1 hidden",
        "1 --exclude *.rst",
        "1 .gif",
        "1 .xyz",
        "   empty: notes/empty.md\n",
        "warning: no text, so nothing can be found in notes/script.html\n",
        "broken.docx",
        "the pattern `*.nothing` matches no file",
    ]);
    // A document without text is not "unchanged", which would mean that it can be found.
    assert!(told.stderr.contains("0 unchanged,") && !told.stderr.contains("not reached"));
    // The second run names what cannot be found again.
    let again = index(&sandbox, &args);
    adds_up(&again, 14);
    assert_eq!(again["files"]["unchanged"], 5);
    assert_eq!(
        again["files"]["without_text"][0],
        sandbox.path("notes/script.html").to_str().unwrap()
    );
    assert_eq!(again["unmatched"][0], "*.nothing");
    let vietnamese = sandbox.run(&["--lang", "vi", "index", "notes"]).exits(0);
    vietnamese.tells(&["14 tệp: 1 mới hoặc thay đổi, 5 không đổi", "bỏ qua: "]);
    sandbox.run(&["index", "--strict", "notes/script.html"]).exits(1).tells(&["no text"]);
    sandbox.run(&["index", "--strict", "notes/empty.md"]).exits(0);
    sandbox.run(&["index", "--dry-run", "notes"]).exits(0).tells(&["14 files: 6 new", "1 .gif"]);
}

#[test]
fn records_without_text_are_named() {
    let sandbox = Sandbox::new();
    let lines =
        "{\"id\": \"full\", \"text\": \"Some text.\"}\n{\"id\": \"bare\", \"text\": \" \"}\n";
    sandbox.write("notes/records.jsonl", lines);
    for _ in 0..2 {
        sandbox.run(&["index", "notes"]).exits(0).tells(&["found in notes/records.jsonl#bare\n"]);
    }
    let summary = index(&sandbox, &["notes"]);
    adds_up(&summary, 5);
    assert_eq!(summary["without_text"].as_array().unwrap().len(), 1);
    assert_eq!(summary["unchanged"], 6);
    sandbox.run(&["index", "--strict", "notes"]).exits(1);
}

#[test]
fn an_emptied_folder_does_not_empty_the_index() {
    let sandbox = Sandbox::indexed();
    let all = listed(&sandbox);
    fs::rename(sandbox.path("notes"), sandbox.path("away")).unwrap();
    fs::create_dir(sandbox.path("notes")).unwrap();
    // What an unmounted drive leaves is no document.
    fs::create_dir(sandbox.path("notes/lost+found")).unwrap();
    sandbox.write("notes/.mount", "x");
    let told = ["`notes` had 5 documents and has none now", "rag-query index remove notes"];
    sandbox.run(&["index", "notes"]).exits(0).tells(&told);
    sandbox.run(&["index", "--strict", "notes"]).exits(1).tells(&told);
    let summary = index(&sandbox, &["notes"]);
    assert_eq!(summary["removed"], 0);
    assert_eq!(summary["emptied"][0]["documents"], 5);
    assert_eq!(listed(&sandbox), all);
    // Nor does a rebuild, which would replace it by less.
    sandbox.write("other.md", "# Other\n\nAbout NLP.\n");
    let rebuilt = sandbox.run(&["index", "--rebuild", "notes", "other.md"]);
    rebuilt.fails(1, &["would lack the 5 documents", "so the old one stays", "index remove"]);
    assert_eq!(listed(&sandbox), all);
    // With the drive back, all is as it was.
    sandbox.remove("notes");
    fs::rename(sandbox.path("away"), sandbox.path("notes")).unwrap();
    assert_eq!(index(&sandbox, &["notes"])["unchanged"], 5);
    // Single files that are deleted are removed, of course.
    sandbox.remove("notes/nlp.md");
    assert_eq!(index(&sandbox, &["notes"])["removed"], 1);
    sandbox.remove("notes");
    fs::create_dir(sandbox.path("notes")).unwrap();
    sandbox.run(&["index", "remove", "notes"]).exits(0);
    sandbox.run(&["index", "--strict", "notes"]).exits(0).tells(&["0 files"]);
}

#[test]
fn a_folder_that_was_named_earlier_is_kept_as_well() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("all/drive")).unwrap();
    sandbox.write("all/own.md", "# Own\n\nAbout NLP.\n");
    sandbox.write("all/gone.md", "# Gone\n\nAbout NLP.\n");
    sandbox.write("all/drive/far.md", "# Far\n\nAbout NLP.\n");
    index(&sandbox, &["all/drive"]);
    index(&sandbox, &["all"]);
    sandbox.remove("all/drive");
    sandbox.remove("all/gone.md");
    let summary = index(&sandbox, &["all"]);
    assert_eq!((&summary["removed"], &summary["emptied"][0]["documents"]), (&1.into(), &1.into()));
    assert_eq!(listed(&sandbox), ["all/drive/far.md", "all/own.md"]);
    // `compact` keeps the memory of it.
    sandbox.run(&["index", "compact"]).exits(0);
    sandbox.run(&["index", "all"]).exits(0).tells(&["`all/drive` had 1 documents"]);
}

#[test]
fn a_filter_is_no_deletion_but_an_ignore_rule_is_one() {
    let sandbox = Sandbox::indexed();
    let all = listed(&sandbox);
    for filter in [["--include", "*.md"], ["--exclude", "*.jsonl"]] {
        assert_eq!(index(&sandbox, &[&["notes"], &filter[..]].concat())["removed"], 0);
    }
    assert_eq!(listed(&sandbox), all);
    sandbox.write("notes/.ragignore", "*\n");
    let summary = index(&sandbox, &["notes"]);
    assert_eq!(summary["removed"], 5);
    assert_eq!(summary["emptied"].as_array().unwrap().len(), 0);
    // What is named itself stays when its folder is indexed.
    index(&sandbox, &["notes/nlp.md"]);
    index(&sandbox, &["notes"]);
    assert_eq!(listed(&sandbox), ["notes/nlp.md"]);
}

#[cfg(unix)]
#[test]
fn a_file_with_the_same_size_and_time_is_read_again() {
    let sandbox = Sandbox::new();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let write = |text: &str| {
        sandbox.write("notes/coffee.txt", text);
        let file = fs::File::options().write(true).open(sandbox.path("notes/coffee.txt")).unwrap();
        file.set_modified(long_ago).unwrap();
    };
    write("giá 100\n");
    index(&sandbox, &["notes"]);
    // Until the times are old enough to be trusted.
    std::thread::sleep(Duration::from_millis(2100));
    index(&sandbox, &["notes"]);
    assert_eq!(index(&sandbox, &["notes"])["files"]["unchanged"], 4);
    assert_eq!(index(&sandbox, &["--checksum", "notes"])["files"]["unchanged"], 4);
    write("giá 200\n");
    assert_eq!(index(&sandbox, &["notes"])["indexed"], 1);
    let found = sandbox.run(&["search", "--json", "--top-k", "1000", "giá"]).exits(0).stdout;
    assert!(found.contains("giá 200") && !found.contains("giá 100"), "{found}");
}

#[test]
fn a_file_that_is_too_large_is_refused_by_its_size() {
    let sandbox = Sandbox::new();
    let huge = fs::File::create(sandbox.path("notes/huge.txt")).unwrap();
    // Sparse. To hash it would take minutes.
    huge.set_len(1 << 38).unwrap();
    let summary = index(&sandbox, &["notes"]);
    assert!(summary["problems"][0].as_str().unwrap().contains("huge.txt"), "{summary}");
    adds_up(&summary, 5);
}

#[cfg(unix)]
#[test]
fn a_line_break_in_a_name_begins_no_line() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/a\n  [2] forged.md", "# Zebra\n\nA zebra has stripes.\n");
    sandbox.write("notes/b\n  [2] forged.docx", "no package");
    let question = "What is a zebra?";
    for args in [
        &["index", "notes"][..],
        &["index", "list"],
        &["index", "explain", "notes"],
        &["index", "--dry-run", "notes"],
        &["search", "zebra"],
        &["--extractive", "--force", "--explain", question],
    ] {
        let told = sandbox.run(args).exits(0);
        let forged = |text: &str| text.lines().any(|line| line.starts_with("  [2] forged"));
        assert!(!forged(&told.stdout) && !forged(&told.stderr), "{args:?} {told:#?}");
    }
}

#[test]
fn names_are_the_same_in_each_normal_form() {
    let sandbox = Sandbox::new();
    let decomposed = "Chu\u{31b}o\u{31b}ng 1.md";
    fs::create_dir(sandbox.path("sách")).unwrap();
    sandbox.write(&format!("sách/{decomposed}"), "Nội dung.\n");
    sandbox.write("sách/B.MD", "Nội dung khác.\n");
    let index = |args: &[&str]| index(&sandbox, &[args, &["sách"]].concat());
    assert_eq!(index(&["--exclude", "Chương*"])["indexed"], 1);
    assert_eq!(index(&["--include", "*.md"])["indexed"], 1);
    sandbox.run(&["index", "remove", "sách/Chương 1.md"]).exits(0);
    assert_eq!(listed(&sandbox), ["sách/B.MD"]);
    // Also after the file is gone.
    assert_eq!(index(&[])["indexed"], 1);
    sandbox.remove(&format!("sách/{decomposed}"));
    sandbox.run(&["index", "remove", "sách/Chương 1.md"]).exits(0);
    assert_eq!(listed(&sandbox), ["sách/B.MD"]);
}

#[test]
fn files_are_explained() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/.gitignore", "secret.md\n");
    sandbox.write("notes/secret.md", "x");
    sandbox.write("notes/picture.gif", "x");
    let explain = |path: &str| {
        let lines = sandbox.run(&["--json", "index", "explain", path]).exits(0).json_lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    };
    // Without an index, too.
    let secret = explain("notes/secret.md");
    assert_eq!((&secret["taken"], &secret["why"]), (&false.into(), &"ignored".into()));
    assert_eq!(secret["pattern"], "secret.md");
    assert_eq!(secret["by"], sandbox.path("notes/.gitignore").to_str().unwrap());
    assert_eq!(explain("notes/picture.gif")["extension"], "gif");
    index(&sandbox, &["notes", "--exclude", "coffee*"]);
    let note = explain("notes/nlp.md");
    assert_eq!((&note["reader"], &note["encoding"]), (&"Markdown".into(), &"UTF-8".into()));
    assert!(note["letters"].as_u64().unwrap() > 100, "{note}");
    assert_eq!(note["chunks"], note["indexed_chunks"]);
    // By the patterns with which its folder was indexed.
    assert_eq!(explain("notes/coffee.txt")["why"], "excluded");
    assert_eq!(explain("notes/coffee.txt")["indexed_chunks"], Value::Null);
    assert_eq!(explain("notes/faq.jsonl")["documents"], 2);
    let text = sandbox.run(&["index", "explain", "notes"]).exits(0).stdout;
    assert!(text.contains("notes/secret.md\n   left out: ignored by notes/.gitignore"), "{text}");
    assert!(text.contains("notes/faq.jsonl\n   JSON Lines, UTF-8, 2 documents, "), "{text}");
    let text = sandbox.run(&["--lang", "vi", "index", "explain", "notes/nlp.md"]).exits(0).stdout;
    assert!(text.contains("trong chỉ mục: "), "{text}");
    sandbox.run(&["index", "explain", "nowhere"]).fails(1, &["cannot find nowhere"]);
}

#[test]
fn a_question_may_bring_the_index_up_to_date_first() {
    let sandbox = Sandbox::new();
    index(&sandbox, &["notes", "--exclude", "*.jsonl"]);
    fs::create_dir(sandbox.path("more")).unwrap();
    sandbox.write("more/far.md", "# Far\n\nA zebra about NLP.\n");
    index(&sandbox, &["more"]);
    let search = || sandbox.run(&["search", "--refresh", "--json", "--top-k", "1000", "NLP"]);
    let documents = || -> Vec<String> {
        let hits = search().exits(0).json_lines();
        let mut names: Vec<String> =
            hits.iter().map(|hit| hit["document"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let before = ["more/far.md", "notes/coffee.txt", "notes/nlp.md", "notes/tokenization.md"];
    assert_eq!(documents(), before);
    // With nothing to do, nothing is written or said.
    let modified = || fs::metadata(sandbox.path("index/generation-1/lexical/meta.json")).unwrap();
    let written = modified().modified().unwrap();
    let told = search().exits(0);
    assert!(!told.stderr.contains("new or changed"), "{told:#?}");
    sandbox.write("notes/new.md", "# New\n\nAnother zebra about NLP.\n");
    sandbox.remove("notes/coffee.txt");
    search().exits(0).tells(&["1 documents", "1 removed"]);
    assert!(modified().modified().unwrap() > written);
    let after = ["more/far.md", "notes/new.md", "notes/nlp.md", "notes/tokenization.md"];
    assert_eq!(documents(), after);
    // A folder that is not there keeps its documents.
    fs::rename(sandbox.path("more"), sandbox.path("away")).unwrap();
    search().exits(0).tells(&["`more` had 1 documents", "index remove more"]);
    assert_eq!(documents(), after);
    sandbox.run(&["--extractive", "--refresh", "--force", "What is NLP?"]).exits(0);
}

/// A folder is followed while it changes, until a signal; a search beside it sees what is new.
#[cfg(unix)]
#[test]
fn a_watched_folder_is_followed() {
    use std::process::Stdio;
    use std::time::Instant;
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["index", "--watch", "notes"]);
    let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let mut has = |words: &str, is_there: bool| {
        let is_right = || {
            // All passages, since the question itself is printed too.
            let found = sandbox.run(&["search", "--json", "--no-rerank", "--top-k", "1000", "NLP"]);
            found.stdout.contains(words) == is_there && found.status == Some(0)
        };
        while !is_right() {
            assert!(begun.elapsed() < Duration::from_mins(2), "{words}: {is_there}");
            assert_eq!(child.try_wait().unwrap(), None, "it still runs");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    has("coffee machine", true);
    sandbox.write("notes/new.md", "# New\n\nThe zeppelin lands at dusk.\n");
    has("zeppelin", true);
    sandbox.write("notes/new.md", "# New\n\nThe balloon lands at dawn.\n");
    has("balloon", true);
    fs::remove_file(sandbox.path("notes/new.md")).unwrap();
    has("balloon", false);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

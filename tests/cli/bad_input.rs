//! Damaged files, wrong files, missing files: a clear error or sensible handling, the right exit code,
//! and nothing lost.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{ENGLISH, Outcome, Sandbox, VIETNAMESE, descend};

/// Every command that reads an index.
const READERS: [&[&str]; 2] = [&["search", ENGLISH], &["--extractive", ENGLISH]];

#[test]
fn an_index_of_another_embedder_names_both_and_the_way_out() {
    let sandbox = Sandbox::indexed();
    let both = ["tiny-embedder@local", "tiny-other-embedder@local", "hint: ", "--rebuild"];
    let other = ["--profile", "tiny-other"];
    for args in [READERS[0], READERS[1], &["index", "notes"]] {
        sandbox.run(&[&other, args].concat()).fails(1, &both);
    }
    // The way out works, and the first embedder's index was untouched until then.
    sandbox.run(READERS[0]).exits(0);
    sandbox.run(&[&other[..], &["index", "--rebuild", "notes"]].concat()).exits(0);
    sandbox.run(&[&other, READERS[0]].concat()).exits(0);
}

#[test]
fn an_index_without_token_vectors_does_not_serve_late_interaction() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--profile", "tiny-cross", "index", "notes"]).exits(0);
    sandbox.run(READERS[0]).fails(1, &["token vectors", "hint: "]);
    sandbox.run(&[&["--no-rerank"], READERS[0]].concat()).exits(0);
    sandbox.run(&[&["--profile", "tiny-cross"], READERS[0]].concat()).exits(0);
}

/// Damages a fresh index, and checks that readers say so, that a rebuild repairs it, and that no
/// document is lost on the way.
#[track_caller]
fn damaged(damage: impl FnOnce(&Sandbox), parts: &[&str]) {
    let sandbox = Sandbox::indexed();
    let whole = sandbox.run(READERS[0]).exits(0);
    damage(&sandbox);
    for args in READERS {
        sandbox.run(args).fails(1, parts).tells(&["hint: ", "index --rebuild"]);
    }
    let doctor = sandbox.run(&["doctor"]).exits(1);
    assert!(doctor.stdout.contains("index     ❌"), "{doctor:#?}");
    sandbox.run(&["index", "--rebuild", "notes"]).exits(0);
    assert_eq!(sandbox.run(READERS[0]).exits(0).stdout, whole.stdout);
}

#[test]
fn truncated_vectors() {
    for length in [0, 5, 100] {
        damaged(
            |sandbox| sandbox.truncate(&sandbox.data("vectors.i8"), length),
            &["the index is damaged", "vectors.i8"],
        );
    }
}

#[test]
fn truncated_token_vectors() {
    damaged(
        |sandbox| sandbox.truncate(&sandbox.data("tokens.codes"), 1000),
        &["the index is damaged", "tokens.codes"],
    );
}

#[test]
fn vectors_of_something_else() {
    damaged(
        |sandbox| sandbox.write(&sandbox.data("vectors.i8"), [b'x'; 10_000]),
        &["the index is damaged", "vectors.i8"],
    );
}

#[test]
fn missing_vectors() {
    damaged(|sandbox| sandbox.remove(&sandbox.data("vectors.i8")), &["vectors.i8"]);
}

#[test]
fn a_truncated_manifest() {
    damaged(
        |sandbox| sandbox.truncate("index/manifest.json", 40),
        &["the index is damaged", "manifest.json"],
    );
    damaged(
        |sandbox| sandbox.truncate("index/manifest.json", 0),
        &["the index is damaged", "manifest.json"],
    );
}

/// Replaces a part of the manifest that must be there.
fn edit_manifest(sandbox: &Sandbox, from: &str, to: &str) {
    let manifest = fs::read_to_string(sandbox.path("index/manifest.json")).unwrap();
    assert!(manifest.contains(from), "{manifest}");
    sandbox.write("index/manifest.json", manifest.replace(from, to));
}

#[test]
fn a_manifest_with_hostile_values() {
    for (from, to) in [
        ("generation-1", "../../somewhere"),
        ("generation-1", "generation-1/.."),
        ("\"dimension\": 64", "\"dimension\": 0"),
        ("\"dimension\": 64", "\"dimension\": 65"),
        ("\"dimension\": 64", "\"dimension\": 4611686018427387904"),
        ("\"dimension\": 64", "\"dimension\": 18446744073709551615"),
        ("\"dimension\": 64", "\"dimension\": -1"),
    ] {
        damaged(|sandbox| edit_manifest(sandbox, from, to), &["the index is damaged"]);
    }
    damaged(
        |sandbox| sandbox.write("index/manifest.json", vec![b' '; 1 << 20]),
        &["manifest.json"],
    );
    damaged(|sandbox| sandbox.write("index/manifest.json", "[".repeat(10_000)), &["manifest.json"]);
}

#[test]
fn an_index_of_another_format() {
    damaged(
        |sandbox| edit_manifest(sandbox, "\"format\": 3", "\"format\": 99"),
        &["has format 99, this program reads format 3"],
    );
}

#[test]
fn deleted_lexical_files() {
    damaged(|sandbox| sandbox.remove(&sandbox.data("lexical")), &["lexical"]);
    damaged(|sandbox| sandbox.remove(&sandbox.data("lexical/meta.json")), &["lexical"]);
}

/// The files that tantivy made in the index of a sandbox.
fn lexical_files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = descend(&sandbox.path(&sandbox.data("lexical")));
    let is_data = |path: &PathBuf| !path.file_name().unwrap().to_str().unwrap().starts_with('.');
    let files: Vec<PathBuf> = files.into_iter().filter(is_data).collect();
    assert!(files.len() >= 6, "{files:?}");
    files
}

/// Damages each lexical file in several ways, and searches. `check` says what may come of it.
fn with_each_lexical_file(damage: impl Fn(&[u8]) -> Vec<Vec<u8>>, check: impl Fn(&str, Outcome)) {
    let sandbox = Sandbox::indexed();
    for file in lexical_files(&sandbox) {
        let whole = fs::read(&file).unwrap();
        for damaged in damage(&whole) {
            // A new file each time, as after a copy that was cut off.
            fs::remove_file(&file).unwrap();
            fs::write(&file, &damaged).unwrap();
            let case =
                format!("{} with {} of {} bytes", file.display(), damaged.len(), whole.len());
            println!("{case}");
            check(&case, sandbox.run(READERS[0]));
        }
        fs::remove_file(&file).unwrap();
        fs::write(&file, &whole).unwrap();
    }
    sandbox.run(READERS[0]).exits(0);
}

#[test]
fn truncated_lexical_files() {
    let cut = |whole: &[u8]| {
        let lengths = (0..16)
            .map(|part| whole.len() * part / 16)
            .chain([10, whole.trim_ascii_end().len() - 1]);
        lengths.map(|length| whole[..length].to_vec()).collect()
    };
    with_each_lexical_file(cut, |case, outcome| {
        assert_eq!(outcome.status, Some(1), "{case}: {outcome:#?}");
        outcome.fails(1, &["index", "hint: ", "--rebuild"]);
    });
}

#[test]
fn changed_bytes_in_lexical_files() {
    let flip = |whole: &[u8]| {
        let flipped = |at: usize| {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 0x80;
            bytes
        };
        (0..24).map(|part| flipped(whole.len() * part / 24)).collect()
    };
    with_each_lexical_file(flip, |case, outcome| {
        assert_eq!(outcome.status, Some(1), "{case}: {outcome:#?}");
        outcome.fails(1, &["index", "hint: ", "--rebuild"]);
    });
}

#[test]
fn a_truncated_model_is_named() {
    for (file, args) in [
        ("models/tiny-xlm-roberta/model.safetensors", READERS[0]),
        ("models/tiny-xlm-roberta/tokenizer.json", READERS[0]),
        ("models/tiny-xlm-roberta/config.json", READERS[0]),
        ("models/tiny-llama/model.gguf", &[ENGLISH]),
        (
            "models/tiny-xlm-roberta-classifier/model.safetensors",
            &["--profile", "tiny-cross", "search", ENGLISH],
        ),
        ("models/tiny-llama/model.safetensors", &["--profile", "tiny-cross", ENGLISH]),
    ] {
        let sandbox = Sandbox::indexed();
        let whole = fs::metadata(sandbox.path(file)).unwrap().len();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        for length in [0, 6, whole / 2, whole - 1] {
            sandbox.truncate(file, length);
            sandbox.run(args).fails(1, &[name]);
        }
    }
}

#[test]
fn a_missing_model_is_named() {
    for (file, args) in [
        ("models/tiny-xlm-roberta/tokenizer.json", READERS[0]),
        ("models/tiny-llama/model.gguf", &[ENGLISH]),
        (
            "models/tiny-xlm-roberta-classifier/config.json",
            &["--profile", "tiny-cross", "search", ENGLISH],
        ),
    ] {
        let sandbox = Sandbox::indexed();
        sandbox.remove(file);
        sandbox.run(args).fails(1, &[sandbox.path(file).to_str().unwrap()]);
    }
}

#[test]
fn an_llm_that_is_not_a_model() {
    let sandbox = Sandbox::indexed();
    sandbox.write("noise.gguf", (0..=255u8).cycle().take(100_000).collect::<Vec<_>>());
    sandbox.run(&["--llm", "noise.gguf", ENGLISH]).fails(1, &["noise.gguf"]);
    sandbox.run(&["--llm", "nowhere.gguf", ENGLISH]).fails(1, &["nowhere.gguf"]);
    sandbox.run(&["--llm", "notes", ENGLISH]).fails(1, &["notes"]);
}

#[test]
fn a_missing_profile_or_catalogue() {
    let sandbox = Sandbox::indexed();
    sandbox.run(&["--profile", "nobody", ENGLISH]).fails(1, &["nobody", "demo"]);
    sandbox.run(&["--catalogue", "nowhere.toml", ENGLISH]).fails(1, &["nowhere.toml"]);
    sandbox.write("broken.toml", "[profiles.tiny\n");
    sandbox.run(&["--catalogue", "broken.toml", ENGLISH]).fails(1, &["broken.toml"]);
}

#[test]
fn unreadable_documents_are_reported_and_the_others_go_on() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/latin1.md", b"# Caf\xe9\n\nNo UTF-8.\n");
    sandbox.write("notes/binary.txt", b"\0\0\0\x01\x02");
    sandbox.write("notes/old.doc", b"\xd0\xcf\x11\xe0");
    sandbox.write("notes/broken.docx", b"PK no zip");
    sandbox.write(
        "notes/half.jsonl",
        "{\"id\": 1, \"text\": \"A whole record about walruses.\"}\n{\"id\": 2, \"te\n",
    );
    let problems =
        ["latin1.md", "binary.txt", "old.doc", "broken.docx", "half.jsonl`, line 2", "5 problems"];
    sandbox.run(&["index", "notes"]).exits(0).tells(&problems);
    let hits =
        sandbox.run(&["search", "--json", "--top-k", "50", "walruses"]).exits(0).json_lines();
    let documents: Vec<_> = hits.iter().map(|hit| hit["document"].as_str().unwrap()).collect();
    assert!(documents.contains(&"notes/half.jsonl#1"), "{documents:?}");
    assert!(documents.contains(&"notes/nlp.md"), "{documents:?}");
    assert!(
        !documents.iter().any(|name| name.contains("latin1") || name.contains("binary")),
        "{documents:?}"
    );
}

#[test]
fn a_hostile_pdf_takes_down_only_its_reader() {
    let sandbox = Sandbox::new();
    // Deeper than any stack: the process that reads it cannot go on.
    sandbox.write("notes/deep.pdf", format!("%PDF-1.7\n1 0 obj\n{}", "<</A ".repeat(1 << 20)));
    sandbox.write("notes/pages.pdf", include_bytes!("../fixtures/hai-trang.pdf"));
    sandbox.run(&["index", "notes"]).exits(0).tells(&["deep.pdf", "1 problems"]);
    let question = "chữ quốc ngữ và lịch sử";
    let hits = sandbox.run(&["search", "--json", "--top-k", "50", question]).exits(0).json_lines();
    let hit = hits.iter().find(|hit| hit["document"] == "notes/pages.pdf").expect("it is found");
    assert_eq!(hit["pages"], serde_json::json!([1, 2]), "{hit}");
    assert!(hit.get("lines").is_none(), "{hit}");
    let shown = sandbox.run(&["search", "--lang", "vi", "--top-k", "50", question]).exits(0).stdout;
    assert!(shown.contains("notes/pages.pdf (trang 1–2)"), "{shown}");
}

#[test]
fn a_document_that_becomes_unreadable_stays_as_it_was() {
    let sandbox = Sandbox::indexed();
    let before = sandbox.run(READERS[0]).exits(0).stdout;
    sandbox.write("notes/tokenization.md", b"\xff\xff\xff");
    sandbox.run(&["index", "notes"]).exits(0).tells(&[
        "tokenization.md",
        "1 problems",
        "0 removed",
    ]);
    assert_eq!(sandbox.run(READERS[0]).exits(0).stdout, before);
}

#[cfg(unix)]
#[test]
fn dangling_links_do_no_harm() {
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("nowhere.md", sandbox.path("notes/link.md")).unwrap();
    sandbox.run(&["index", "notes"]).exits(0);
    sandbox.run(READERS[0]).exits(0);
    sandbox.run(&["index", "notes/link.md"]).fails(1, &["notes/link.md"]);
}

#[test]
fn paths_that_cannot_be_indexed_are_reported_before_work_starts() {
    let sandbox = Sandbox::new();
    sandbox.write("photo.gif", "PNG");
    sandbox.run(&["index", "nowhere"]).fails(1, &["nowhere"]);
    sandbox.run(&["index", "notes", "photo.gif"]).fails(1, &["photo.gif"]);
    assert!(!sandbox.path("index").exists());
}

#[test]
fn invalid_utf8_and_empty_lines_on_standard_input() {
    let sandbox = Sandbox::indexed();
    let mut input = b"\n  \n\xff\xfe token \xc3\n\r\n".to_vec();
    input.extend(VIETNAMESE.as_bytes());
    for args in [&["--json", "--extractive"][..], &["search", "--json", "--top-k", "1"]] {
        let lines = sandbox.run_with_stdin(args, &input).exits(0).json_lines();
        let questions: Vec<_> =
            lines.iter().map(|line| line["question"].as_str().unwrap()).collect();
        assert_eq!(questions, ["\u{fffd}\u{fffd} token \u{fffd}", VIETNAMESE]);
    }
    for input in ["", "\n\n\n"] {
        let outcome = sandbox.run_with_stdin(&[], input).exits(0);
        assert_eq!(outcome.stdout, "");
    }
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_not_utf8_is_a_usage_error() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::indexed();
    let mut command = sandbox.command(&[]);
    command.arg(std::ffi::OsStr::from_bytes(b"to\xffken"));
    Outcome::of(command.output().unwrap()).exits(2);
}

/// Runs a command whose output nobody reads.
fn with_closed(mut command: Command, stdout: bool, stderr: bool) -> Outcome {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    command.stdout(if stdout { closed() } else { Stdio::piped() });
    command.stderr(if stderr { closed() } else { Stdio::piped() });
    Outcome::of(command.output().unwrap())
}

#[test]
fn a_closed_pipe_is_success() {
    let sandbox = Sandbox::indexed();
    for args in [
        READERS[0],
        READERS[1],
        &["--max-tokens", "8", ENGLISH],
        &["search", "--json", "--top-k", "50", ENGLISH],
        &["models", "list"],
        &["doctor"],
        &["completions", "bash"],
        &["--help"],
    ] {
        with_closed(sandbox.command(args), true, false).exits(0);
    }
}

#[test]
fn a_closed_standard_error_is_no_reason_to_stop() {
    let sandbox = Sandbox::indexed();
    for args in [READERS[0], READERS[1], &["--max-tokens", "8", ENGLISH], &["index", "notes"]] {
        let outcome = with_closed(sandbox.command(args), false, true).exits(0);
        assert_eq!(outcome.stdout.is_empty(), args[0] == "index", "{args:?}: {outcome:#?}");
        with_closed(sandbox.command(args), true, true).exits(0);
    }
    with_closed(sandbox.command(&["--index", "nowhere", ENGLISH]), false, true).exits(1);
}

#[test]
fn a_reader_that_leaves_after_one_line() {
    let sandbox = Sandbox::indexed();
    let many = "token\n".repeat(5000);
    sandbox.write("questions", many);
    let mut child = sandbox
        .command(&["search", "--quiet", "--json", "--top-k", "50"])
        .stdin(File::open(sandbox.path("questions")).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let outcome = Outcome::of(child.wait_with_output().unwrap()).exits(0);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn an_index_that_cannot_be_written_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    sandbox
        .run(&["--index", "file/index", "index", "notes"])
        .fails(1, &["cannot write file/index", "hint: "]);
    sandbox.run(&["--index", "file", "index", "notes"]).fails(1, &["file", "hint: "]);
    // Nor can there be an index.
    sandbox.run(&["--index", "file/index", ENGLISH]).fails(1, &["there is no index in file/index"]);
    sandbox.run(&["--index", "file", ENGLISH]).fails(1, &["there is no index in file"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let sandbox = Sandbox::indexed();
    let mut command = sandbox.command(READERS[0]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    Outcome::of(command.output().unwrap()).exits(1).tells(&["error: "]);
}

#[cfg(unix)]
#[test]
fn a_read_only_index_can_be_searched() {
    let sandbox = Sandbox::indexed();
    for args in READERS {
        let outcome = Outcome::of(sandbox.command_of_a_reader(args).output().unwrap()).exits(0);
        assert!(!outcome.stdout.is_empty(), "{outcome:#?}");
    }
}

#[cfg(unix)]
#[test]
fn a_read_only_index_is_not_written() {
    let sandbox = Sandbox::indexed();
    sandbox.write("notes/new.md", "# New\n\nSomething new about tokens.\n");
    for args in [&["index", "notes"][..], &["index", "--rebuild", "notes"]] {
        let outcome = Outcome::of(sandbox.command_of_a_reader(args).output().unwrap());
        outcome.fails(1, &["cannot write", "index", "hint: ", "permissions"]);
    }
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let sandbox = Sandbox::indexed();
    let lock = File::options().write(true).open(sandbox.path("index/.rag-query.lock")).unwrap();
    lock.lock().unwrap();
    for args in [&["index", "notes"][..], &["index", "--rebuild", "notes"]] {
        sandbox.run(args).fails(1, &["another process is writing to the index", "hint: "]);
    }
    sandbox.run(READERS[0]).exits(0);
    // Closing it would not do: a process that another test is just starting may hold a copy.
    lock.unlock().unwrap();
    sandbox.run(&["index", "notes"]).exits(0);
}

#[test]
fn a_failed_rebuild_leaves_the_old_index_in_use() {
    let sandbox = Sandbox::indexed();
    let before = sandbox.run(READERS[0]).exits(0).stdout;
    let embedder = sandbox.path("models/tiny-xlm-roberta/model.safetensors");
    fs::rename(&embedder, sandbox.path("kept")).unwrap();
    sandbox.run(&["index", "--rebuild", "notes"]).fails(1, &["model.safetensors"]);
    sandbox.run(&["index", "--rebuild", "nowhere"]).fails(1, &["nowhere"]);
    fs::rename(sandbox.path("kept"), &embedder).unwrap();
    assert_eq!(sandbox.run(READERS[0]).exits(0).stdout, before);
    // What the failed rebuild left is removed by the next one that succeeds.
    sandbox.run(&["index", "--rebuild", "notes"]).exits(0);
    assert_eq!(sandbox.run(READERS[0]).exits(0).stdout, before);
    let generations = fs::read_dir(sandbox.path("index")).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("generation-")
    });
    assert_eq!(generations.count(), 1);
}

#[cfg(unix)]
#[test]
fn an_indexing_run_that_is_killed_leaves_the_old_index_in_use() {
    let sandbox = Sandbox::indexed();
    let before = sandbox.run(READERS[0]).exits(0).stdout;
    for n in 0..200 {
        sandbox
            .write(&format!("notes/more-{n}.md"), format!("# Note {n}\n\nMore about token {n}.\n"));
    }
    let mut child =
        sandbox.command(&["index", "--rebuild", "notes"]).stderr(Stdio::null()).spawn().unwrap();
    // It is at work as soon as the next generation has a folder.
    while !sandbox.path("index/generation-2/lexical").exists() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(sandbox.data(""), "index/generation-1/");
    assert_eq!(sandbox.run(READERS[0]).exits(0).stdout, before);
    sandbox.run(&["index", "notes"]).exits(0).tells(&["200 documents"]);
}

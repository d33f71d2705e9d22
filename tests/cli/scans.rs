//! Scans and pictures: what is recognized, what is kept of it, and what is said where it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Outcome, Sandbox, skipped};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scans").join(name)
}

/// A sandbox with a folder `scans` of these fixtures.
fn with(names: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("scans")).unwrap();
    for name in names {
        fs::copy(fixture(name), sandbox.path(&format!("scans/{name}"))).unwrap();
    }
    sandbox
}

/// Runs a command that recognizes, with the programs in `folder` alone.
fn recognizing(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Outcome {
    let mut command = sandbox.command(args);
    Outcome::of(command.env("PATH", folder).env("RAG_QUERY_OCR", "auto").output().unwrap())
}

/// A folder with a `tesseract` that takes a moment to say the same of every page, and notes each.
#[cfg(unix)]
fn fake_tesseract(sandbox: &Sandbox, languages: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let folder = sandbox.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $1 in\n--version) echo 'tesseract 5.3.0';;\n--list-langs) printf 'List:\\n{languages}\\n';;\n\
         *) /bin/cat >/dev/null; echo page >>{}; printf 'Số hiệu 4471\\ncủa máy chiếu.\\n\\n~\\n';;\nesac\n",
        sandbox.path("pages").display()
    );
    // Written by another process: see `Sandbox::command_of_a_reader`.
    sandbox.write("script", script);
    let program = folder.join("tesseract");
    assert!(
        Command::new("cp").arg(sandbox.path("script")).arg(&program).status().unwrap().success()
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn without_tesseract_scans_are_named_with_the_command_that_installs_it() {
    let sandbox = with(&["page.png", "two-pages.pdf"]);
    let nothing = sandbox.path("home");
    let outcome = recognizing(&sandbox, &nothing, &["index", "scans", "notes"]).exits(0);
    outcome.tells(&["page.png` is a picture", "two-pages.pdf", "tesseract", "install"]);
    recognizing(&sandbox, &nothing, &["index", "--strict", "scans"]).exits(1);
    let off = recognizing(&sandbox, &nothing, &["--ocr", "off", "index", "scans"]).exits(0);
    off.tells(&["page.png` is a picture", "`--ocr off`"]);
}

#[cfg(unix)]
#[test]
fn a_language_without_data_is_named() {
    let sandbox = with(&["page.png"]);
    let bin = fake_tesseract(&sandbox, "eng");
    let outcome = recognizing(&sandbox, &bin, &["index", "scans"]).exits(0);
    outcome.tells(&["page.png", "no data for the language `vie`"]);
    recognizing(&sandbox, &bin, &["--ocr-languages", "eng", "index", "--strict", "scans"]).exits(0);
    let hostile = recognizing(&sandbox, &bin, &["--ocr-languages", "../x", "index", "scans"]);
    hostile.exits(2);
}

/// Recognizing a page takes seconds, so it happens once for each content.
#[cfg(unix)]
#[test]
fn what_was_recognized_is_kept_and_said() {
    let sandbox = with(&["page.png", "two-pages.pdf"]);
    let bin = fake_tesseract(&sandbox, "eng\\nvie");
    let pages = || fs::read_to_string(sandbox.path("pages")).unwrap().lines().count();
    recognizing(&sandbox, &bin, &["index", "--strict", "scans"]).exits(0);
    assert_eq!(pages(), 3);
    fs::rename(sandbox.path("scans/two-pages.pdf"), sandbox.path("scans/renamed.pdf")).unwrap();
    recognizing(&sandbox, &bin, &["index", "--rebuild", "scans"]).exits(0);
    assert_eq!(pages(), 3, "nothing is recognized twice");
    let search = ["search", "--json", "--no-rerank", "4471 máy chiếu"];
    let hits = sandbox.run(&search).exits(0).json_lines();
    assert!(hits.iter().all(|hit| hit["recognized"] == true), "{hits:#?}");
    // The lines of a paragraph are one, and dirt is no text.
    assert_eq!(
        hits[0]["text"].as_str().unwrap().lines().next(),
        Some("Số hiệu 4471 của máy chiếu.")
    );
    let shown = sandbox.run(&["search", "--no-rerank", "4471 máy chiếu"]).exits(0).stdout;
    assert!(shown.contains("[recognized]"), "{shown}");
}

#[test]
fn vietnamese_scans_are_read_with_their_tone_marks() {
    let languages = Command::new("tesseract").arg("--list-langs").output();
    let has = |output: &std::process::Output| {
        let text = [&output.stdout[..], &output.stderr].concat();
        String::from_utf8_lossy(&text).lines().any(|line| line == "vie")
    };
    if !languages.as_ref().is_ok_and(has) {
        let test = "vietnamese_scans_are_read_with_their_tone_marks";
        skipped(test, "tesseract with Vietnamese");
        return;
    }
    let sandbox = with(&["page.png", "two-pages.pdf", "fax.tiff"]);
    for name in ["page.png", "two-pages.pdf", "fax.tiff"] {
        let file = format!("scans/{name}");
        let mut command = sandbox.command(&["--json", "index", "--dry-run", "--strict", &file]);
        let outcome = Outcome::of(command.env("RAG_QUERY_OCR", "auto").output().unwrap()).exits(0);
        let passages = outcome.json_lines();
        let text: Vec<&str> = passages.iter().map(|one| one["text"].as_str().unwrap()).collect();
        let text = text.concat();
        for words in ["Quyết định số 4471 về mượn thiết bị", "Tiền đặt cọc là 250.000 đồng"]
        {
            assert!(text.contains(words), "{name}: {text}");
        }
        if name.ends_with("pdf") {
            assert!(text.matches("4471").count() >= 2, "{text}");
            assert_eq!(passages.last().unwrap()["pages"][1], 2, "the second page is there too");
        }
    }
}

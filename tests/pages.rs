//! What the pages in Markdown say about this repository holds: their links lead somewhere, and the
//! tests and scripts that they name exist.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder whose names end in `.{extension}`.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// The pages at the root and in `docs/`, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let at_root = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        at_root.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    pages.extend(files(&root().join("docs"), "md"));
    pages
        .into_iter()
        .map(|page| {
            let text = fs::read_to_string(&page).unwrap();
            (page, text)
        })
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains(':') {
                let target = page.parent().unwrap().join(file);
                if !target.exists() {
                    broken.push(format!("{} → {link}", page.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn tests_named_in_the_pages_exist() {
    let sources = [files(&root().join("src"), "rs"), files(&root().join("tests"), "rs")].concat();
    let functions: BTreeSet<String> = sources
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let named = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            named.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let is_test = |name: &&str| {
        name.matches('_').count() > 3 && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let named: Vec<&str> = quoted(&page).filter(is_test).collect();
    assert!(named.len() > 5, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|name| !functions.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn scripts_and_sources_named_in_the_pages_exist() {
    let folders = ["benches/", "ci/", "examples/", "fuzz/", "models/", "src/", "tests/"];
    let mut missing = Vec::new();
    for (page, text) in pages() {
        for command in quoted(&text) {
            let Some(path) = command.split_whitespace().next() else { continue };
            let is_path = folders.iter().any(|folder| path.starts_with(folder));
            let is_pattern = path.contains(['*', '<', '…']);
            if is_path && !is_pattern && !root().join(path).exists() {
                missing.push(format!("{}: {command}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

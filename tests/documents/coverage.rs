//! Documents by producers other than ours: what another reader finds in them is in some passage.
//!
//! `benches/coverage fixtures` makes them, and beside each a file of the words that pandoc, pdftotext
//! or the producer's own library reads in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rag_query::internals::chunks::{ChunkSettings, chunk};
use rag_query::internals::documents;
use unicode_normalization::UnicodeNormalization;

/// How often each word occurs.
type Words = BTreeMap<String, usize>;

fn add_words(text: &str, words: &mut Words) {
    let text: String = text.nfc().collect::<String>().to_lowercase();
    // Raised digits are note marks.
    let is_word = |c: char| c.is_alphabetic() || c.is_ascii_digit();
    for word in text.split(|c| !is_word(c)).filter(|word| !word.is_empty()) {
        *words.entry(word.to_owned()).or_default() += 1;
    }
}

/// The words of all passages, with the headings above them.
fn ours(path: &Path) -> Words {
    let mut words = Words::new();
    for document in documents::read(path) {
        let document = document.unwrap_or_else(|error| panic!("{error}"));
        let count = |text: &str| text.split_whitespace().count();
        for chunk in chunk(&document, &ChunkSettings::default(), &count) {
            add_words(&document.text[chunk.span], &mut words);
            chunk.headings.iter().for_each(|heading| add_words(heading, &mut words));
        }
    }
    words
}

fn theirs(path: &Path) -> Words {
    let listed = fs::read_to_string(format!("{}.words", path.display())).unwrap();
    let word = |line: &str| {
        let (word, count) = line.split_once(' ').unwrap();
        (word.to_owned(), count.parse().unwrap())
    };
    listed.lines().map(word).collect()
}

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/coverage");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension != "words")).collect()
}

#[test]
fn what_other_readers_find_is_in_some_passage() {
    let samples = samples();
    assert!(samples.len() > 20, "the documents are missing");
    let mut faults = Vec::new();
    for path in samples {
        let found = ours(&path);
        let expected = theirs(&path);
        let lacking = |(word, &count): (&String, &usize)| {
            let lost = count.saturating_sub(found.get(word).copied().unwrap_or(0));
            (lost > 0).then(|| format!("{word} ({lost} of {count})"))
        };
        let missing: Vec<String> = expected.iter().filter_map(lacking).collect();
        if !missing.is_empty() {
            faults.push(format!("{}: {}", path.display(), missing.join(", ")));
        }
    }
    assert!(faults.is_empty(), "words are in no passage:\n{}", faults.join("\n"));
}

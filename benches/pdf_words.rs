//! What our PDF reader makes of files, compared word by word with `pdftotext` (poppler):
//! `cargo bench --bench pdf_words -- FILE.pdf…`
//!
//! Words are runs of letters and digits, composed. "errors" is the edit distance in words
//! (insertions, deletions, substitutions) divided by the number of words that `pdftotext` finds; a
//! different reading order of tables and notes counts as errors too. "lost" ignores the order: the
//! share of `pdftotext`'s words that are missing, among all words and among those with marks alone,
//! which shows whether tone marks survive.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use unicode_normalization::UnicodeNormalization;

fn main() -> Result<()> {
    let files = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    for file in files {
        compare(&file).with_context(|| format!("cannot compare {file}"))?;
    }
    Ok(())
}

fn compare(file: &str) -> Result<()> {
    let begin = Instant::now();
    let reference = Command::new("pdftotext").args([file, "-"]).output();
    let reference = reference.context("is poppler-utils installed?")?;
    ensure!(reference.status.success(), "pdftotext failed");
    let theirs = begin.elapsed();
    let begin = Instant::now();
    let document = rag_query::internals::documents::read(Path::new(file))
        .next()
        .context("nothing in it")??;
    let ours = begin.elapsed();

    let expected = words(&String::from_utf8_lossy(&reference.stdout));
    let found = words(&document.text);
    let errors = distance(&expected, &found) as f64 / expected.len().max(1) as f64;
    let marked: Vec<String> = expected.iter().filter(|word| !word.is_ascii()).cloned().collect();
    println!(
        "{file}: {} words, {} found; errors {:.2} %; lost {:.2} %, of {} words with marks {:.2} %; \
         {ours:.0?} against {theirs:.0?}",
        expected.len(),
        found.len(),
        100.0 * errors,
        100.0 * lost(&expected, &found),
        marked.len(),
        100.0 * lost(&marked, &found),
    );
    Ok(())
}

fn words(text: &str) -> Vec<String> {
    let text: String = text.nfc().collect();
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The share of `expected` that is not in `found`, whatever the order.
fn lost(expected: &[String], found: &[String]) -> f64 {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in found {
        *left.entry(word).or_default() += 1;
    }
    let missing = expected.iter().filter(|word| match left.get_mut(word.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    missing.count() as f64 / expected.len().max(1) as f64
}

/// The edit distance in words.
fn distance(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, word) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

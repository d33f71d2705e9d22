//! Reads every document under some paths and says what came of it:
//! `cargo bench --bench documents -- PATH…`
//!
//! For each extension: how many files and documents, how much text, how many chunks, how many
//! documents show places, and the time. Then every error, and every document that looks wrong: text
//! without a chunk, or letters that could not be decoded. For a look at a new reader, and at an old
//! one after a change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rag_query::internals::chunks::{ChunkSettings, chunk};
use rag_query::internals::documents::{self, Document, Filter};

/// A document with more text than this, in bytes, has a chunk.
const MIN_TEXT: usize = 200;

#[derive(Default)]
struct Sums {
    files: usize,
    documents: usize,
    bytes: usize,
    chunks: usize,
    placed: usize,
    errors: usize,
    time: Duration,
}

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    ensure!(!paths.is_empty(), "name files or folders to read");
    let walk = documents::walk(&paths, &Filter::default())?;
    let mut remarks: Vec<String> = walk.problems.iter().map(ToString::to_string).collect();
    let mut by_extension: BTreeMap<String, Sums> = BTreeMap::new();
    for file in &walk.files {
        let extension = file.extension().map_or(String::new(), |it| format!(".{}", it.display()));
        let sums = by_extension.entry(extension).or_default();
        sums.files += 1;
        let begin = Instant::now();
        for document in documents::read(file) {
            match document {
                Ok(document) => remarks.extend(sums.add(&document)),
                Err(error) => {
                    sums.errors += 1;
                    remarks.push(error.to_string());
                }
            }
        }
        sums.time += begin.elapsed();
    }
    println!("extension    files documents       KiB    chunks  placed errors       time");
    for (extension, sums) in &by_extension {
        println!(
            "{extension:<10} {:>7} {:>9} {:>9} {:>9} {:>7} {:>6} {:>10.1?}",
            sums.files,
            sums.documents,
            sums.bytes >> 10,
            sums.chunks,
            sums.placed,
            sums.errors,
            sums.time
        );
    }
    println!("{} files left out", walk.left_out.files());
    for remark in remarks {
        println!("{remark}");
    }
    Ok(())
}

impl Sums {
    /// Counts a document, and says what looks wrong with it.
    fn add(&mut self, document: &Document) -> Option<String> {
        let chunks = chunk(document, &ChunkSettings::default(), &count);
        self.documents += 1;
        self.bytes += document.text.len();
        self.chunks += chunks.len();
        self.placed += usize::from(chunks.iter().any(|chunk| chunk.place.is_some()));
        let id = &document.id;
        if chunks.is_empty() && document.text.len() > MIN_TEXT {
            return Some(format!("`{id}`: {} bytes of text, but no chunk", document.text.len()));
        }
        let lost = document.text.matches('\u{fffd}').count();
        (lost > 0).then(|| format!("`{id}`: {lost} letters could not be decoded"))
    }
}

/// About as many tokens as a real tokenizer counts.
fn count(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum()
}

//! Indexes folders, as `rag-query index` does.
//!
//! ```text
//! cargo run --release --example index_folder -- demo /tmp/notes-index index/notes
//! ```
//!
//! A second run reads only what has changed.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, ensure};
use rag_query::{Filter, Indexer, Location, Models, Start, walk};

fn main() -> Result<()> {
    // PDF files and chat templates are read in processes of their own, which this program becomes.
    if rag_query::serve_job().is_some() {
        return Ok(());
    }
    let mut arguments = std::env::args_os().skip(1);
    let usage = "usage: index_folder PROFILE INDEX PATH…";
    let profile = arguments.next().context(usage)?;
    let index = Location::Directory(arguments.next().context(usage)?.into());
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    ensure!(!paths.is_empty(), usage);

    // Describes the profile's three models and loads none of them.
    let models = Models::of_profile(&profile.to_string_lossy())?;

    let walk = walk(&paths, &Filter::new(&[], &[])?)?;
    let writer = index.write(models.index_settings.clone(), Start::Update)?;
    let stop = AtomicBool::new(false);
    let mut progress = |_| {};
    // The embedder is loaded here; the LLM is not.
    let embedder = models.embedder.get()?;
    let summary =
        Indexer::new(writer, embedder, Start::Update, &stop, &mut progress).update(&walk)?;

    for problem in &summary.problems {
        eprintln!("{problem}");
    }
    println!(
        "{} documents are new or changed, {} are as they were; {} new chunks",
        summary.indexed, summary.unchanged, summary.chunks
    );
    Ok(())
}

//! `rag-query index`: builds or updates an index.

use std::time::Instant;

use anyhow::Result;

use super::args::IndexArgs;
use super::exit::Exit;
use super::setup::Setup;
use crate::index::IndexWriter;
use crate::indexing::Indexer;
use crate::ingest;
use crate::terminal::time;

pub fn run(setup: &Setup, args: &IndexArgs) -> Result<Exit> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    let models = setup.models()?;
    let start = Instant::now();
    // Before the embedder is loaded: a path or an index that cannot be used is said at once.
    let walk = ingest::walk(&args.paths)?;
    let writer = IndexWriter::open(&setup.index_dir, models.index_settings.clone(), args.rebuild)?;
    let step = terminal.begin(lang.loading_models(false));
    let loading = Instant::now();
    let embedder = models.embedder.get()?;
    step.done_in(loading.elapsed());
    let bar = terminal.bar(0, false).with_message(lang.indexing());
    let indexer = Indexer::new(writer, embedder, args.rebuild);
    let summary = indexer.update(&args.paths, &walk, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let summary = summary?;
    for problem in &summary.problems {
        terminal.warn(problem);
    }
    if setup.global.json {
        terminal.print_json(&summary)?;
    }
    let took = time(start.elapsed());
    terminal.say(&lang.indexed(&summary, &took, &setup.index_dir.display().to_string()));
    Ok(Exit::Answered)
}

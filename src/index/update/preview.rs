//! Previews what an update would read, without an index.

use anyhow::Result;

use super::files::{FileEvent, FilePlan, threads};
use super::in_order::in_order;
use crate::chunks::ChunkSettings;
use crate::documents::Walk;
use crate::embedding::Embedder;
use crate::index::{Ledger, Passage};

/// Chunks the documents in `walk` as [`super::Indexer::update`] would, and passes each with its
/// passages to `show`, in order. Returns the problems.
pub fn preview(
    walk: &Walk,
    settings: &ChunkSettings,
    embedder: &Embedder,
    show: &mut dyn FnMut(&str, &[Passage]) -> Result<()>,
) -> Result<Vec<String>> {
    let FilePlan { jobs, mut problems, .. } = FilePlan::new(walk, &Ledger::default());
    let count = |text: &str| embedder.count_tokens(text);
    in_order(
        &jobs,
        threads(),
        |job, events| job.read(settings, &count, events),
        |_, event| match event {
            FileEvent::Changed { id, passages, .. } => show(&id, &passages),
            FileEvent::Problem(error) => {
                problems.push(error.to_string());
                Ok(())
            }
            FileEvent::Unchanged { .. } | FileEvent::SameBytes(_) | FileEvent::End(_) => Ok(()),
        },
    )?;
    let mut all: Vec<String> = walk.problems.iter().map(ToString::to_string).collect();
    all.append(&mut problems);
    Ok(all)
}

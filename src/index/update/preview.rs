//! Previews what an update would read, without an index.

use anyhow::Result;

use super::account::{FileAccount, Outcome};
use super::files::{FileEvent, FilePlan, threads};
use super::in_order::in_order;
use crate::chunks::ChunkSettings;
use crate::documents::{Programs, Walk};
use crate::embedding::Embedder;
use crate::index::{Ledger, Passage};

/// What an update would leave out, and why.
pub struct Previewed {
    /// What could not be read.
    pub problems: Vec<String>,
    /// What would become of every file.
    pub files: FileAccount,
}

/// Chunks the documents in `walk` as [`super::Indexer::update`] would, and passes each with its
/// passages to `show`, in order.
pub fn preview(
    walk: &Walk,
    settings: &ChunkSettings,
    embedder: &Embedder,
    programs: &Programs,
    show: &mut dyn FnMut(&str, &[Passage]) -> Result<()>,
) -> Result<Previewed> {
    let FilePlan { jobs, problems, mut files, .. } = FilePlan::new(walk, &Ledger::default(), false);
    let mut all: Vec<String> = walk.problems.iter().map(ToString::to_string).collect();
    all.extend(problems);
    let count = |text: &str| embedder.count_tokens(text);
    let mut outcome = Outcome::default();
    in_order(
        &jobs,
        threads(),
        |job, events| job.read(settings, &count, programs, events),
        |job, event| {
            match event {
                FileEvent::Changed { id, passages, .. } => {
                    outcome.has_new_text |= !passages.is_empty();
                    show(&id, &passages)?;
                }
                FileEvent::Problem(error) => {
                    outcome.has_problem = true;
                    all.push(error.to_string());
                }
                FileEvent::End(_) => {
                    files.add(&job.id, job.size, std::mem::take(&mut outcome).fate());
                }
                FileEvent::Unchanged { .. } | FileEvent::SameBytes(_) => {}
            }
            anyhow::Ok(())
        },
    )?;
    Ok(Previewed { problems: all, files })
}

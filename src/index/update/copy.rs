//! From one index to another: chunks with all that was computed for them, and what was read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use crate::index::{DocumentState, Index, IndexError, IndexWriter};

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Documents that were copied.
    pub documents: usize,
    /// Chunks that they have.
    pub chunks: usize,
    /// Documents that the target had, as the source has them.
    pub unchanged: usize,
    /// Whether it was stopped before its end; the same copy again goes on from there.
    pub interrupted: bool,
}

/// Copies what `source` holds to `target`, until `stop` is set; what the target has of other
/// documents stays. `watch` is told how many chunks are done.
pub fn copy(
    source: &dyn Index,
    mut target: Box<dyn IndexWriter>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(usize),
) -> Result<Copied> {
    let ledger = source.ledger()?;
    let mut copied = Copied::default();
    // Chunks that are still to come, of each document that is copied.
    let mut lacking: BTreeMap<&String, (u64, &DocumentState)> = BTreeMap::new();
    for (id, state) in ledger.documents() {
        if target.ledger().documents().get(id) == Some(state) {
            copied.unchanged += 1;
        } else {
            target.remove_document(id);
            lacking.insert(id, (state.chunks, state));
        }
    }
    for (id, (_, state)) in lacking.extract_if(.., |_, (chunks, _)| *chunks == 0) {
        target.finish_document(id, state.clone());
        copied.documents += 1;
    }
    let mut seen = 0;
    let outcome = source.each_chunk(&mut |chunk| {
        if stop.load(Ordering::SeqCst) {
            copied.interrupted = true;
            return Err(IndexError::Stopped);
        }
        seen += 1;
        watch(seen);
        let id = &chunk.passage.document;
        let Some((chunks, state)) = lacking.get_mut(id) else { return Ok(()) };
        target.add(&chunk.passage, &chunk.vector, &chunk.tokens)?;
        copied.chunks += 1;
        *chunks -= 1;
        if *chunks == 0 {
            target.finish_document(id, state.clone());
            copied.documents += 1;
            lacking.remove(id);
        }
        Ok(())
    });
    match outcome {
        Err(IndexError::Stopped) => {
            for id in lacking.keys() {
                target.abandon_document(id);
            }
            target.commit()?;
        }
        outcome => {
            outcome?;
            if let Some((id, (chunks, _))) = lacking.iter().next() {
                anyhow::bail!(
                    "the source lacks {chunks} chunks of {id}; check it with `rag-query index verify`"
                );
            }
            for (path, state) in ledger.files() {
                target.finish_file(path, state.clone());
            }
            target.publish()?;
        }
    }
    target.finish()?;
    Ok(copied)
}

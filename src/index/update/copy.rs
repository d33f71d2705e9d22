//! Copies one index to another: its ledger, and chunks with everything that was computed for them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use crate::index::{DocumentState, Index, IndexWriter};

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Documents that were copied.
    pub documents: usize,
    /// Chunks that they have.
    pub chunks: usize,
    /// Documents that the target had already.
    pub unchanged: usize,
    /// Whether the copy was stopped before its end; a second one continues from there.
    pub interrupted: bool,
}

/// Copies what `source` holds to `target`, until `stop` is set. Other documents of the target stay.
/// `watch` is called with the number of chunks that are done.
pub fn copy(
    source: &dyn Index,
    mut target: Box<dyn IndexWriter>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(usize),
) -> Result<Copied> {
    let ledger = source.ledger()?;
    let mut copied = Copied::default();
    // The number of chunks that are still missing of each document.
    let mut missing: BTreeMap<&String, (u64, &DocumentState)> = BTreeMap::new();
    for (id, state) in ledger.documents() {
        if target.ledger().documents().get(id) == Some(state) {
            copied.unchanged += 1;
        } else {
            target.remove_document(id);
            missing.insert(id, (state.chunks, state));
        }
    }
    for (id, (_, state)) in missing.extract_if(.., |_, (chunks, _)| *chunks == 0) {
        target.finish_document(id, state.clone());
        copied.documents += 1;
    }
    let mut seen = 0;
    source.each_chunk(&mut |chunk| {
        if stop.load(Ordering::SeqCst) {
            copied.interrupted = true;
            return Ok(ControlFlow::Break(()));
        }
        seen += 1;
        watch(seen);
        let id = &chunk.passage.document;
        let Some((chunks, state)) = missing.get_mut(id) else {
            return Ok(ControlFlow::Continue(()));
        };
        target.add(&chunk.passage, &chunk.vector, &chunk.tokens)?;
        copied.chunks += 1;
        *chunks -= 1;
        if *chunks == 0 {
            target.finish_document(id, state.clone());
            copied.documents += 1;
            missing.remove(id);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if copied.interrupted {
        for id in missing.keys() {
            target.abandon_document(id);
        }
        target.commit()?;
    } else {
        if let Some((id, (chunks, _))) = missing.iter().next() {
            anyhow::bail!(
                "the source lacks {chunks} chunks of {id}; check it with `rag-query index verify`"
            );
        }
        for (path, state) in ledger.files() {
            target.finish_file(path, state.clone());
        }
        target.publish()?;
    }
    target.finish()?;
    Ok(copied)
}

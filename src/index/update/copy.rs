//! Copies an index: its ledger, and its chunks with all computed vectors.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use crate::index::{DocumentState, Index, IndexWriter};

/// The outcome of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Documents copied.
    pub documents: usize,
    /// Chunks of the copied documents.
    pub chunks: usize,
    /// Documents the target already had.
    pub unchanged: usize,
    /// Whether the copy was interrupted; another run resumes it.
    pub interrupted: bool,
}

/// Copies the contents of `source` to `target` until `stop` is set. Other documents of the target
/// are kept. `watch` receives the number of chunks processed so far.
pub fn copy(
    source: &dyn Index,
    mut target: Box<dyn IndexWriter>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(usize),
) -> Result<Copied> {
    target.settings().check_codes(source.settings())?;
    let ledger = source.ledger()?;
    let mut copied = Copied::default();
    // Chunks still missing, per document.
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
        for (path, state) in ledger.roots() {
            target.record_root(path, state.clone());
        }
        target.publish()?;
    }
    target.finish()?;
    Ok(copied)
}

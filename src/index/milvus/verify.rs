//! Verifies an index on a server: every chunk against its keys and hashes, and all chunks against
//! the ledger.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::address::Address;
use super::chunks::{ChunkRow, TokenVectors};
use super::keys::{checksum, chunk_key, document_key, text_key};
use super::reader::MilvusIndex;
use super::server::Server;
use crate::index::{Index, IndexError, Ledger, Notify};

/// Verifies the index at `address` completely. Fails on the first fault found.
pub fn verify(address: &Address, notify: &Notify) -> Result<Box<dyn Index>, IndexError> {
    let index = MilvusIndex::open(address, notify)?;
    let (server, names) = (&index.server, &index.names);
    let ledger = index.ledger()?;
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = 0;
    server.each_page(names, &mut |rows| {
        let tokens: Vec<TokenVectors> = rows.iter().map(ChunkRow::token_vectors).collect();
        let packed = server.tokens_of(names, &tokens)?;
        for (row, packed) in rows.into_iter().zip(packed) {
            check_row(server, &row, &packed)?;
            *found.entry(row.passage.document).or_default() += 1;
            count += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if count != index.chunk_count() {
        let counted = index.chunk_count();
        return Err(server.damaged(format!("it has {count} chunks, and the server says {counted}")));
    }
    check_ledger(server, &ledger, found)?;
    Ok(Box::new(index))
}

fn check_row(server: &Server, row: &ChunkRow, tokens: &[u8]) -> Result<(), IndexError> {
    let passage = &row.passage;
    if row.id != chunk_key(passage)
        || row.text != text_key(passage)
        || row.document != document_key(&passage.document)
    {
        return Err(server.damaged(format!(
            "chunk {} of {} is of another text than its key",
            row.id, passage.document
        )));
    }
    if row.checksum != checksum(&row.vector, tokens) {
        return Err(server.damaged(format!(
            "the vectors of chunk {} of {} are not what was written",
            row.id, passage.document
        )));
    }
    Ok(())
}

/// Compares the number of chunks found for each document with the ledger.
fn check_ledger(
    server: &Server,
    ledger: &Ledger,
    mut found: BTreeMap<String, u64>,
) -> Result<(), IndexError> {
    for (id, state) in ledger.documents() {
        let found = found.remove(id).unwrap_or(0);
        if state.hash.is_empty() {
            return Err(server.damaged(format!(
                "{id} was not finished; run `rag-query index` on its folder again"
            )));
        }
        if found != state.chunks {
            let chunks = state.chunks;
            return Err(server.damaged(format!("{id} has {found} chunks, not {chunks}")));
        }
    }
    match found.into_iter().next() {
        Some((id, _)) => {
            Err(server.damaged(format!("it has chunks of {id}, which it does not know")))
        }
        None => Ok(()),
    }
}

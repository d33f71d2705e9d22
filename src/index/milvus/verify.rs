//! Whether an index on a server is whole: every chunk against its keys and hashes, and all of them
//! against what the ledger says.

use std::collections::BTreeMap;

use super::address::Address;
use super::reader::MilvusIndex;
use super::schema::{checksum, chunk_key, document_key, text_key};
use crate::index::{Index, IndexError, Notify};

/// Checks the index at `address` whole. The first thing that is wrong is the error.
pub fn verify(address: &Address, notify: &Notify) -> Result<Box<dyn Index>, IndexError> {
    let index = MilvusIndex::open(address, notify)?;
    let (server, names) = (&index.server, &index.names);
    let ledger = index.ledger()?;
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = 0;
    server.each_page(names, &mut |rows| {
        let sizes: Vec<(i64, usize)> = rows.iter().map(|row| (row.id, row.token_bytes)).collect();
        let tokens = server.tokens_of(names, &sizes)?;
        for (row, tokens) in rows.into_iter().zip(tokens) {
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
            if row.checksum != checksum(&row.vector, &tokens) {
                return Err(server.damaged(format!(
                    "the vectors of chunk {} of {} are not what was written",
                    row.id, passage.document
                )));
            }
            *found.entry(row.passage.document).or_default() += 1;
            count += 1;
        }
        Ok(())
    })?;
    if count != index.chunk_count() {
        let counted = index.chunk_count();
        return Err(server.damaged(format!("it has {count} chunks, and the server says {counted}")));
    }
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
        None => Ok(Box::new(index)),
    }
}

//! Chunks and their token vectors on the server.

use std::collections::HashMap;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use milvus::v2::error::{Error, Result as Answered};
use milvus::v2::types::FieldData;

use super::collections::{MAX_TEXT, unused};
use super::error::MilvusError;
use super::keys::{checksum, chunk_key, document_key, text_key, token_key};
use super::names::CollectionNames;
use super::requests::{KEYS, field, is_empty, numbers, one_of, texts};
use super::server::Server;
use super::terms;
use crate::index::{IndexError, Passage};

/// Bytes of token vectors per row. Divisible by three, so that Base64 fills a text field: 49,140 /
/// 3 · 4 = 65,520.
const PART: usize = 49_140;
/// Token-vector rows per message: at 65,520 bytes each, about 3 MiB of the client's 4 MiB limit.
const TOKEN_ROWS: usize = 48;
/// Chunks per response, to stay below the client's 4 MiB limit.
const PAGE: usize = 128;

#[derive(Debug, Clone)]
pub struct ChunkRow {
    /// See [`chunk_key`].
    pub id: i64,
    /// See [`document_key`].
    pub document: i64,
    /// See [`text_key`].
    pub text: i64,
    /// Size of its packed token vectors in bytes.
    pub token_bytes: usize,
    /// See [`checksum`].
    pub checksum: i64,
    pub passage: Passage,
    /// Embedding, `[dim]`.
    pub vector: Vec<f32>,
}

impl ChunkRow {
    /// The row of a chunk, given its packed token vectors.
    pub fn new(passage: &Passage, vector: &[f32], tokens: &[u8]) -> Self {
        Self {
            id: chunk_key(passage),
            document: document_key(&passage.document),
            text: text_key(passage),
            token_bytes: tokens.len(),
            checksum: checksum(vector, tokens),
            passage: passage.clone(),
            vector: vector.to_vec(),
        }
    }

    /// The handle to its token vectors.
    pub fn token_vectors(&self) -> TokenVectors {
        TokenVectors { chunk: self.id, bytes: self.token_bytes }
    }
}

/// Identifies a chunk's token vectors, which are stored in rows of [`PART`] bytes.
#[derive(Debug, Clone, Copy)]
pub struct TokenVectors {
    pub chunk: i64,
    pub bytes: usize,
}

impl TokenVectors {
    fn keys(self) -> impl Iterator<Item = i64> {
        (0..self.bytes.div_ceil(PART)).map(move |part| token_key(self.chunk, part))
    }
}

/// A chunk to be written.
pub struct NewChunk {
    pub row: ChunkRow,
    /// Packed token vectors.
    pub tokens: Vec<u8>,
}

/// Fields needed to score and display a row.
pub const SCORED: [&str; 4] = ["id", "token_bytes", "passage", "dense"];
/// All fields except the search terms.
const WHOLE: [&str; 7] =
    ["id", "document_key", "text_key", "token_bytes", "checksum", "passage", "dense"];

/// Decodes the rows of a response with the fields of [`SCORED`] or [`WHOLE`].
pub fn rows(fields: &[FieldData]) -> Answered<Vec<ChunkRow>> {
    if is_empty(fields) {
        return Ok(Vec::new());
    }
    let (ids, sizes) = (numbers(fields, "id")?, numbers(fields, "token_bytes")?);
    let passages = texts(fields, "passage")?;
    let vectors = field(fields, "dense")?.as_float_vectors();
    let vectors =
        vectors.ok_or_else(|| Error::MalformedResponse("dense has no vectors".to_owned()))?;
    let others = ["document_key", "text_key", "checksum"].map(|name| numbers(fields, name).ok());
    let other = |column: usize, row: usize| {
        others[column].and_then(|values| values.get(row)).copied().unwrap_or(0)
    };
    let short = || Error::MalformedResponse("its fields differ in length".to_owned());
    ids.iter()
        .enumerate()
        .map(|(row, &id)| {
            Ok(ChunkRow {
                id,
                document: other(0, row),
                text: other(1, row),
                checksum: other(2, row),
                token_bytes: usize::try_from(*sizes.get(row).ok_or_else(short)?).unwrap_or(0),
                passage: serde_json::from_str(passages.get(row).ok_or_else(short)?)?,
                vector: vectors.get(row).ok_or_else(short)?.clone(),
            })
        })
        .collect()
}

/// All calls block and are safe to retry.
impl Server {
    /// Writes chunks with their terms and token vectors.
    pub fn put_chunks(
        &self,
        names: &CollectionNames,
        chunks: &[NewChunk],
    ) -> Result<(), MilvusError> {
        if chunks.is_empty() {
            return Ok(());
        }
        // Token vectors first, so that any visible chunk has them.
        self.put_tokens(names, chunks)?;
        let numbers = |name: &str, of: &dyn Fn(&ChunkRow) -> i64| {
            FieldData::int64(name, chunks.iter().map(|chunk| of(&chunk.row)).collect())
        };
        let mut passages = Vec::with_capacity(chunks.len());
        let mut words = Vec::with_capacity(chunks.len());
        for NewChunk { row, .. } in chunks {
            let json = serde_json::to_string(&row.passage).expect("a passage is plain data");
            let words_of_chunk = terms::words(&row.passage.text_to_search());
            let bytes = json.len().max(words_of_chunk.len());
            if bytes > MAX_TEXT {
                let document = row.passage.document.clone();
                return Err(MilvusError::TooLong { document, bytes, limit: MAX_TEXT });
            }
            passages.push(json);
            words.push(words_of_chunk);
        }
        let documents = chunks.iter().map(|chunk| chunk.row.passage.document.clone()).collect();
        let vectors = chunks.iter().map(|chunk| chunk.row.vector.clone()).collect();
        let columns = [
            numbers("id", &|row| row.id),
            numbers("document_key", &|row| row.document),
            FieldData::varchar("document", documents),
            numbers("text_key", &|row| row.text),
            FieldData::varchar("passage", passages),
            FieldData::varchar("words", words),
            FieldData::float_vector("dense", vectors),
            numbers("token_bytes", &|row| i64::try_from(row.token_bytes).unwrap_or(i64::MAX)),
            numbers("checksum", &|row| row.checksum),
        ];
        self.put(&names.chunks(), &columns)
    }

    fn put_tokens(&self, names: &CollectionNames, chunks: &[NewChunk]) -> Result<(), MilvusError> {
        let mut parts: Vec<(i64, String)> = Vec::new();
        for NewChunk { row, tokens } in chunks {
            let bodies = tokens.chunks(PART).map(|part| BASE64_STANDARD.encode(part));
            parts.extend(row.token_vectors().keys().zip(bodies));
        }
        for parts in parts.chunks(TOKEN_ROWS) {
            let (keys, bodies) = parts.iter().cloned().unzip();
            let columns = [
                FieldData::int64("id", keys),
                FieldData::varchar("body", bodies),
                unused(parts.len()),
            ];
            self.put(&names.tokens(), &columns)?;
        }
        Ok(())
    }

    /// Removes chunks and their token vectors.
    pub fn delete_chunks(
        &self,
        names: &CollectionNames,
        chunks: &[TokenVectors],
    ) -> Result<(), MilvusError> {
        let keys: Vec<i64> = chunks.iter().map(|tokens| tokens.chunk).collect();
        self.delete(&names.chunks(), &keys)?;
        let parts: Vec<i64> = chunks.iter().flat_map(|tokens| tokens.keys()).collect();
        if parts.is_empty() { Ok(()) } else { self.delete(&names.tokens(), &parts) }
    }

    /// The chunks of the given documents, each with its document's key.
    pub fn chunks_of(
        &self,
        names: &CollectionNames,
        documents: &[i64],
    ) -> Result<Vec<(i64, TokenVectors)>, MilvusError> {
        let mut found = Vec::new();
        for keys in documents.chunks(KEYS) {
            let filter = one_of("document_key", keys);
            let fields = ["id", "document_key", "token_bytes"];
            let answer = self.query(&names.chunks(), &filter, &fields)?;
            let fields = answer.get_output_fields();
            if is_empty(fields) {
                continue;
            }
            let column = |name| numbers(fields, name).map_err(|error| self.malformed(error));
            let (documents, sizes) = (column("document_key")?, column("token_bytes")?);
            for ((&chunk, &document), &size) in column("id")?.iter().zip(documents).zip(sizes) {
                let bytes = usize::try_from(size).unwrap_or(0);
                found.push((document, TokenVectors { chunk, bytes }));
            }
        }
        Ok(found)
    }

    /// The chunks whose text is one of those given.
    pub fn chunks_with(
        &self,
        names: &CollectionNames,
        texts: &[i64],
    ) -> Result<Vec<ChunkRow>, MilvusError> {
        let mut found = Vec::new();
        for keys in texts.chunks(PAGE) {
            let filter = one_of("text_key", keys);
            let answer = self.query(&names.chunks(), &filter, &WHOLE)?;
            let rows = rows(answer.get_output_fields());
            found.extend(rows.map_err(|error| self.malformed(error))?);
        }
        Ok(found)
    }

    /// Chunks by key, in any order; missing ones are skipped.
    pub fn chunks(
        &self,
        names: &CollectionNames,
        keys: &[i64],
    ) -> Result<Vec<ChunkRow>, MilvusError> {
        let mut found = Vec::new();
        for keys in keys.chunks(PAGE) {
            let answer = self.get(&names.chunks(), keys, &WHOLE)?;
            let rows = rows(answer.get_output_fields());
            found.extend(rows.map_err(|error| self.malformed(error))?);
        }
        Ok(found)
    }

    /// The `limit` chunks with the smallest keys: a random sample (keys are hashes), yet
    /// reproducible.
    pub fn first_chunks(
        &self,
        names: &CollectionNames,
        limit: usize,
    ) -> Result<Vec<ChunkRow>, IndexError> {
        let mut found: Vec<ChunkRow> = Vec::new();
        self.pages(&names.chunks(), &WHOLE, PAGE, &mut |fields| {
            found.extend(rows(fields).map_err(|error| self.malformed(error))?);
            let is_enough = found.len() >= limit;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        found.sort_unstable_by_key(|row| row.id);
        found.truncate(limit);
        Ok(found)
    }

    /// Passes all chunks to `take` in pages until it breaks; ordered by key, so that copies of
    /// equal indexes are equal.
    pub fn each_page(
        &self,
        names: &CollectionNames,
        take: &mut dyn FnMut(Vec<ChunkRow>) -> Result<ControlFlow<()>, IndexError>,
    ) -> Result<(), IndexError> {
        self.pages(&names.chunks(), &WHOLE, PAGE, &mut |fields| {
            let mut page = rows(fields).map_err(|error| self.malformed(error))?;
            page.sort_unstable_by_key(|row| row.id);
            take(page)
        })
    }

    /// The packed token vectors of `chunks`, in the same order.
    pub fn tokens_of(
        &self,
        names: &CollectionNames,
        chunks: &[TokenVectors],
    ) -> Result<Vec<Vec<u8>>, IndexError> {
        let keys: Vec<i64> = chunks.iter().flat_map(|tokens| tokens.keys()).collect();
        let mut parts: HashMap<i64, Vec<u8>> = HashMap::new();
        for keys in keys.chunks(TOKEN_ROWS) {
            let answer = self.get(&names.tokens(), keys, &["id", "body"])?;
            let fields = answer.get_output_fields();
            if is_empty(fields) {
                continue;
            }
            let malformed = |error| self.malformed(error);
            let ids = numbers(fields, "id").map_err(malformed)?;
            for (&id, body) in ids.iter().zip(texts(fields, "body").map_err(malformed)?) {
                let bytes = BASE64_STANDARD.decode(body);
                let bytes = bytes.map_err(|_| self.damaged("token vectors that are no Base64"))?;
                parts.insert(id, bytes);
            }
        }
        let whole = |tokens: &TokenVectors| {
            let parts = tokens.keys().filter_map(|key| parts.get(&key));
            let packed = parts.flatten().copied().collect::<Vec<u8>>();
            if packed.len() == tokens.bytes {
                Ok(packed)
            } else {
                Err(self.damaged(format!("chunk {} lacks token vectors", tokens.chunk)))
            }
        };
        chunks.iter().map(whole).collect()
    }

    pub fn chunk_count(&self, names: &CollectionNames) -> Result<usize, IndexError> {
        self.count(&names.chunks(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_token_vectors_fits_a_text_field() {
        assert!(PART.div_ceil(3) * 4 <= MAX_TEXT && PART.is_multiple_of(3));
        let keys = |bytes| TokenVectors { chunk: 7, bytes }.keys().count();
        assert_eq!([0, 1, PART, PART + 1].map(keys), [0, 1, 1, 2]);
    }
}

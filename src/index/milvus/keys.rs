//! Row keys: hashes of what a row identifies, so that inserts are idempotent.

use crate::index::Passage;

/// Hashes the parts of a key to a positive number. Among 10⁹ keys, the probability of a collision
/// is 5 %; `index verify` would detect one.
pub fn key(parts: &[&[u8]]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(bytes) & i64::MAX
}

/// The key of a chunk: the same chunk of the same document always gets the same key.
pub fn chunk_key(passage: &Passage) -> i64 {
    let (start, end) = passage.span;
    let span = [(start as u64).to_le_bytes(), (end as u64).to_le_bytes()].concat();
    key(&[passage.document.as_bytes(), &span, passage.text_to_embed().as_bytes()])
}

pub fn document_key(id: &str) -> i64 {
    key(&[id.as_bytes()])
}

/// The key of an embedded text.
pub fn text_key(passage: &Passage) -> i64 {
    key(&[passage.text_to_embed().as_bytes()])
}

/// The key of a ledger entry.
pub fn entry_key(kind: i64, name: &str) -> i64 {
    key(&[&kind.to_le_bytes(), name.as_bytes()])
}

/// The key of one part of a chunk's token vectors.
pub fn token_key(chunk: i64, part: usize) -> i64 {
    key(&[&chunk.to_le_bytes(), &(part as u64).to_le_bytes()])
}

/// A hash of the vectors computed for a chunk.
pub fn checksum(vector: &[f32], tokens: &[u8]) -> i64 {
    let vector: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    key(&[&vector, tokens])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_parts_apart_and_are_positive() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_ne!(key(&[b"a"]), key(&[b"a", b""]));
        assert_eq!(key(&[b"a"]), key(&[b"a"]));
        assert!((0..1000u32).all(|n| key(&[&n.to_le_bytes()]) >= 0));
    }
}

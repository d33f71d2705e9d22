//! Collection names of an index.
//!
//! An index `notes` is an alias `notes` for the current generation, which has three collections:
//! `notes_g1` holds the chunks, `notes_g1_ledger` the ledger and settings, and `notes_g1_tokens`
//! the token vectors, if any. A rebuild fills the next generation and moves the alias.

/// The collections of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionNames {
    /// The name of the index.
    pub alias: String,
    /// Counted from 1.
    pub generation: u32,
}

impl CollectionNames {
    pub fn new(alias: &str, generation: u32) -> Self {
        Self { alias: alias.to_owned(), generation }
    }

    /// The generation of index `alias` whose chunks are in `collection`; `None` if the name is not
    /// one of ours.
    pub fn from_chunks(alias: &str, collection: &str) -> Option<Self> {
        let generation = collection.strip_prefix(alias)?.strip_prefix("_g")?.parse().ok()?;
        Some(Self::new(alias, generation))
    }

    pub fn chunks(&self) -> String {
        format!("{}_g{}", self.alias, self.generation)
    }

    /// The collection of documents, files, settings and statistics.
    pub fn ledger(&self) -> String {
        format!("{}_ledger", self.chunks())
    }

    /// The collection of token vectors.
    pub fn tokens(&self) -> String {
        format!("{}_tokens", self.chunks())
    }

    pub fn all(&self) -> [String; 3] {
        [self.chunks(), self.ledger(), self.tokens()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_read_from_the_name() {
        let twelfth = CollectionNames::new("notes", 12);
        assert_eq!(CollectionNames::from_chunks("notes", &twelfth.chunks()), Some(twelfth));
        for other in ["notes", "notes_g", "notes_gx", "other_g1", "notes_g1_ledger"] {
            assert_eq!(CollectionNames::from_chunks("notes", other), None, "{other}");
        }
    }
}

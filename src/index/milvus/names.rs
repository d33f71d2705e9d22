//! What the collections of an index are called.
//!
//! An index `notes` is the alias `notes` of a generation, three collections: `notes_g1` has the
//! chunks, `notes_g1_ledger` what was read and with which settings, and `notes_g1_tokens` the
//! token vectors, if there are any. A rebuild fills the next generation and moves the alias.

/// The collections of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionNames {
    /// The name of the index.
    pub alias: String,
    /// Counted from 1.
    pub generation: u32,
}

impl CollectionNames {
    /// Generation `generation` of the index `alias`.
    pub fn new(alias: &str, generation: u32) -> Self {
        Self { alias: alias.to_owned(), generation }
    }

    /// The generation of the index `alias` whose chunks are in `collection`; `None` if that is not
    /// a name of ours.
    pub fn from_chunks(alias: &str, collection: &str) -> Option<Self> {
        let generation = collection.strip_prefix(alias)?.strip_prefix("_g")?.parse().ok()?;
        Some(Self::new(alias, generation))
    }

    pub fn chunks(&self) -> String {
        format!("{}_g{}", self.alias, self.generation)
    }

    /// Documents, files, settings and statistics.
    pub fn ledger(&self) -> String {
        format!("{}_ledger", self.chunks())
    }

    /// Token vectors.
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

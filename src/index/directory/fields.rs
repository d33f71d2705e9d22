//! The tantivy schema of a chunk.

use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, TokenizerManager};

use crate::text::analyze::{TermKind, TermTokenizer};

/// Handles to the schema's fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// Id of the chunk's document.
    pub document: Field,
    /// Words of headings and text, with diacritics.
    pub exact: Field,
    /// The same words without diacritics.
    pub folded: Field,
    /// Pairs of adjacent words, without diacritics.
    pub pairs: Field,
    /// Row of the chunk in the vector file.
    pub row: Field,
    /// The [`crate::index::Passage`] as JSON.
    pub passage: Field,
}

impl Fields {
    /// The field that holds terms of this kind.
    pub(crate) fn of_kind(&self, kind: TermKind) -> Field {
        match kind {
            TermKind::Exact => self.exact,
            TermKind::Folded => self.folded,
            TermKind::Pairs => self.pairs,
        }
    }
}

pub(crate) fn schema() -> (Schema, Fields) {
    let text = |tokenizer: &str| {
        TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer(tokenizer)
                .set_index_option(IndexRecordOption::WithFreqs),
        )
    };
    let mut schema = Schema::builder();
    let fields = Fields {
        document: schema.add_text_field("document", STRING),
        exact: schema.add_text_field("exact", text("exact")),
        folded: schema.add_text_field("folded", text("folded")),
        pairs: schema.add_text_field("pairs", text("pairs")),
        row: schema.add_u64_field("row", FAST),
        passage: schema.add_text_field("passage", STORED),
    };
    (schema.build(), fields)
}

pub(crate) fn tokenizers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    for (name, kind) in
        [("exact", TermKind::Exact), ("folded", TermKind::Folded), ("pairs", TermKind::Pairs)]
    {
        manager.register(name, TextAnalyzer::from(TermTokenizer(kind)));
    }
    manager
}

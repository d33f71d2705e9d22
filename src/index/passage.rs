//! A chunk as stored in the index.

use serde::{Deserialize, Serialize};

use crate::documents::{Markup, Place};

/// Identifies a chunk within one open index; meaningless in any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChunkId {
    /// Which of several indexes asked as one has it; 0 in a single one.
    pub index: u8,
    /// Its place or key there.
    pub key: u64,
}

impl ChunkId {
    /// A chunk of a single index.
    pub fn new(key: u64) -> Self {
        Self { index: 0, key }
    }
}

/// The part of a chunk that is shown to the user and given to the LLM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Absolute path, or `path#id` for a line of a JSONL file.
    pub document: String,
    /// Headings above the chunk, outermost first.
    pub headings: Vec<String>,
    /// The name of its file in words, where that stands for a title. It is embedded like a heading,
    /// but not shown: the document is shown beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Words about the document that are only searched for: those of its file's name and of the
    /// file's list of keywords.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keywords: String,
    /// Lines, pages, rows, …, if the file has them.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Byte span in the document's text.
    pub span: (usize, usize),
    /// The text of that span. If it is the later part of a table, the table's header row is above it.
    pub text: String,
    /// Markup of the text.
    pub format: Markup,
    /// The name of its index, where several are asked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Whether the text, or part of it, was recognized in a picture.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recognized: bool,
}

impl Passage {
    /// The headings in one line, `A > B`.
    pub fn heading(&self) -> String {
        self.headings.join(" > ")
    }

    /// The text of [`Self::span`] alone, without a header row that is repeated above it.
    pub fn text_of_span(&self) -> &str {
        let repeated = self.text.len().saturating_sub(self.span.1.saturating_sub(self.span.0));
        self.text.get(repeated..).unwrap_or(&self.text)
    }

    /// Input of the embedder and the reranker: the headings in one line, then the text.
    pub fn text_to_embed(&self) -> String {
        let headings: Vec<&str> =
            self.name.iter().chain(&self.headings).map(String::as_str).collect();
        match headings.is_empty() {
            true => self.text.clone(),
            false => format!("{}\n{}", headings.join(" > "), self.text),
        }
    }

    /// What the terms of the lexical search are taken from: everything that is said about the chunk,
    /// then its text.
    pub fn text_to_search(&self) -> String {
        match self.keywords.is_empty() {
            true => self.text_to_embed(),
            false => format!("{}\n{}", self.keywords, self.text_to_embed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_embedded_and_keywords_only_searched_for() {
        let passage = Passage {
            headings: vec!["Liên hệ".to_owned()],
            name: Some("Nguyễn Văn An".to_owned()),
            keywords: "anh An".to_owned(),
            text: "ĐT: 0912 345 678".to_owned(),
            ..Passage::default()
        };
        assert_eq!(passage.heading(), "Liên hệ");
        assert_eq!(passage.text_to_embed(), "Nguyễn Văn An > Liên hệ\nĐT: 0912 345 678");
        assert_eq!(passage.text_to_search(), format!("anh An\n{}", passage.text_to_embed()));
        let bare = Passage { text: "x".to_owned(), ..Passage::default() };
        assert_eq!(bare.text_to_search(), "x");
        let json = serde_json::to_string(&bare).unwrap();
        assert!(!json.contains("keywords") && !json.contains("name"), "{json}");
    }
}

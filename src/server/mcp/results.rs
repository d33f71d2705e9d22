//! What tools return: short, with the place of everything, so that an agent can cite it.

use rmcp::schemars::{self, JsonSchema};
use serde::Serialize;

use crate::answer::{Answer, ReadPassage, Reason};
use crate::documents::Place;
use crate::index::Passage;
use crate::retrieval::Hit;
use crate::server::service::{LlmState, Status};

/// Where a passage is in its document.
#[derive(Debug, Serialize, JsonSchema)]
pub struct At {
    /// line, page, row, slide or second
    unit: &'static str,
    first: u32,
    last: u32,
}

impl At {
    fn of(place: Place) -> Self {
        let unit = match place {
            Place::Lines(..) => "line",
            Place::Pages(..) => "page",
            Place::Rows(..) => "row",
            Place::Slides(..) => "slide",
            Place::Seconds(..) => "second",
        };
        let (first, last) = place.ends();
        Self { unit, first, last }
    }
}

/// A passage that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Found {
    /// For `get` and `multi_get`
    document_id: String,
    /// Headings above the passage
    heading: String,
    at: Option<At>,
    text: String,
    /// Comparable only within one search
    score: f32,
}

impl From<&Hit> for Found {
    fn from(hit: &Hit) -> Self {
        let passage = &hit.passage;
        Self {
            document_id: passage.document.clone(),
            heading: passage.heading(),
            at: passage.place.map(At::of),
            text: passage.text.clone(),
            score: hit.score,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SearchResult {
    /// How likely the documents are to answer the question, 0 to 1
    pub relevance: f32,
    pub passages: Vec<Found>,
}

/// A passage of a document.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Part {
    /// From 1
    n: usize,
    heading: String,
    at: Option<At>,
    text: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DocumentResult {
    pub document_id: String,
    /// How many passages the document has
    pub count: usize,
    pub passages: Vec<Part>,
    /// Ask again with this `from` for the rest; null if this is the end
    pub next: Option<usize>,
}

impl DocumentResult {
    /// The passages from number `from` on, at least one, and no more than `room` characters; what is
    /// taken is subtracted from it.
    pub fn new(document_id: String, all: &[Passage], from: usize, room: &mut usize) -> Self {
        let from = from.clamp(1, all.len().max(1));
        let mut passages = Vec::new();
        for (n, passage) in (from..).zip(&all[(from - 1).min(all.len())..]) {
            let size = passage.text.chars().count();
            if size > *room && !passages.is_empty() {
                break;
            }
            *room = room.saturating_sub(size);
            let (heading, at) = (passage.heading(), passage.place.map(At::of));
            passages.push(Part { n, heading, at, text: passage.text.clone() });
        }
        let next = Some(from + passages.len()).filter(|next| *next <= all.len());
        Self { document_id, count: all.len(), passages, next }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DocumentsResult {
    pub documents: Vec<DocumentResult>,
    /// Ids of documents that match, but had no room
    pub left_out: Vec<String>,
}

/// A passage that an answer was written from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceResult {
    /// `[n]` in the answer
    n: usize,
    document_id: String,
    heading: String,
    at: Option<At>,
    cited: bool,
}

impl From<&ReadPassage> for SourceResult {
    fn from(passage: &ReadPassage) -> Self {
        let source = &passage.source;
        Self {
            n: source.n,
            document_id: source.document_id.clone(),
            heading: source.heading.clone(),
            at: source.place.map(At::of),
            cited: passage.cited,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct AnswerResult {
    /// Whether the documents answer the question
    answered: bool,
    /// Empty if not
    answer: String,
    /// Why the answer is missing or cut off
    reason: Option<String>,
    sources: Vec<SourceResult>,
    /// Sentences for which no support was found in the sources
    unsupported: Vec<String>,
    relevance: f32,
}

impl From<&Answer> for AnswerResult {
    fn from(answer: &Answer) -> Self {
        let reason = answer.reason.map(|reason| match reason {
            Reason::EmptyIndex => "the index is empty",
            Reason::NoMatch | Reason::LowRelevance => "the documents say nothing about this",
            Reason::NotInPassages => {
                "the LLM read the passages and judges that they do not answer this"
            }
            Reason::Interrupted => "it was stopped",
            Reason::MaxTokens => "it was cut off at the limit of tokens",
            Reason::ContentFilter => "the LLM server's content filter cut it off",
        });
        Self {
            answered: answer.answered,
            answer: answer.answer.clone(),
            reason: reason.map(str::to_owned),
            sources: answer.passages.iter().map(SourceResult::from).collect(),
            unsupported: answer.unsupported.iter().map(|one| one.text.clone()).collect(),
            relevance: answer.relevance.probability,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct StatusResult {
    version: String,
    profile: String,
    index: String,
    documents: usize,
    passages: usize,
    llm: String,
    /// `not_loaded`, `loading`, `loaded` or `remote`
    llm_state: &'static str,
}

impl From<Status> for StatusResult {
    fn from(status: Status) -> Self {
        Self {
            version: status.version.to_owned(),
            profile: status.profile,
            index: status.index,
            documents: status.documents,
            passages: status.chunks,
            llm: status.llm.name,
            llm_state: match status.llm.state {
                LlmState::NotLoaded => "not_loaded",
                LlmState::Loading => "loading",
                LlmState::Loaded => "loaded",
                LlmState::Remote => "remote",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_document_comes_in_parts_and_none_is_lost() {
        let passage = |text: &str| Passage { text: text.to_owned(), ..Passage::default() };
        let all: Vec<Passage> = ["aaaa", "bbbb", "cccc"].map(passage).into();
        let get = |from, mut room| {
            let part = DocumentResult::new("x".to_owned(), &all, from, &mut room);
            let texts: Vec<String> = part.passages.iter().map(|part| part.text.clone()).collect();
            (texts.join(""), part.next)
        };
        assert_eq!(get(1, 100), ("aaaabbbbcccc".to_owned(), None));
        assert_eq!(get(1, 9), ("aaaabbbb".to_owned(), Some(3)));
        assert_eq!(get(3, 9), ("cccc".to_owned(), None));
        assert_eq!(get(2, 0), ("bbbb".to_owned(), Some(3)), "there is always progress");
        assert_eq!(get(0, 4), ("aaaa".to_owned(), Some(2)));
        assert_eq!(get(99, 4), ("cccc".to_owned(), None));
    }
}

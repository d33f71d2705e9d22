//! What goes over the socket.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, Event};
use crate::index::Selection;
use crate::retrieval::{Hit, Retrieval};
use crate::server::Asked;
use crate::terminal::exit::Failure;

/// Size limit of a line in bytes.
pub const MAX_LINE: u64 = 16 << 20;

/// What a client wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Ask(Box<Asked>),
    Search { question: String, top_k: usize, selection: Selection },
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said<'a> {
    Event(Event<'a>),
    Answered(Box<Reply>),
    Found(Box<Retrieval>),
    Failed(Failure),
}

/// An answer with what `--json` leaves out, and the dialogue that it ends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    answer: Answer,
    hits: Vec<Hit>,
    /// The ids of the documents that the answer cites, then of those it read.
    documents: [Vec<String>; 2],
    dialogue: Dialogue,
}

impl Reply {
    pub fn new(mut answer: Answer, dialogue: Dialogue) -> Self {
        let hits = std::mem::take(&mut answer.hits);
        let cited = answer.citations.iter().map(|citation| citation.document_id.clone());
        let read = answer.passages.iter().map(|passage| passage.source.document_id.clone());
        let documents = [cited.collect(), read.collect()];
        Self { answer, hits, documents, dialogue }
    }

    pub fn into_parts(self) -> (Answer, Dialogue) {
        let Self { mut answer, hits, documents: [cited, read], dialogue } = self;
        answer.hits = hits;
        for (citation, id) in answer.citations.iter_mut().zip(cited) {
            citation.document_id = id;
        }
        for (passage, id) in answer.passages.iter_mut().zip(read) {
            passage.source.document_id = id;
        }
        (answer, dialogue)
    }
}

/// The socket of the server whose configuration has this key.
pub fn socket(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.sock"))
}
